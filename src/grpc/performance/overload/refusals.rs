//! When those who are refused are to come again.
//!
//! Who is refused is told the time in which what waits will have drained. Where half of all that comes is refused,
//! that drain serves half of them: the others would only be refused once more. So the hint grows with the share that is
//! refused, to the time in which capacity for all of them has passed; under a steady overload that is past the deadline
//! of most, and their clients, told so, do not try in vain.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

/// The weight of one message in the share, as a divisor: some hundred messages are remembered.
const WEIGHT: f32 = 64.0;
/// At most so large: a hint grows to twenty times the drain, and no more.
const MOST: f32 = 0.95;
/// Hints are spread over so much of themselves, so that who was refused together does not come back together.
const SPREAD: f64 = 0.5;
/// The least that a client is told to wait.
const LEAST: Duration = Duration::from_millis(1);

/// The share of the messages that came lately which were refused, as bits of an `f32`.
#[derive(Debug, Default)]
pub(crate) struct RefusedShare(AtomicU32);

impl RefusedShare {
    /// A message was accepted, or refused.
    pub(crate) fn decided(&self, refused: bool) {
        let share = f32::from_bits(self.0.load(Relaxed));
        let verdict = if refused { 1.0 } else { 0.0 };
        // While nothing is refused, nothing is written: no cache line moves.
        if share > 0.0 || refused {
            let updated = share + (verdict - share) / WEIGHT;
            self.0.store(if updated < f32::EPSILON { 0 } else { updated.to_bits() }, Relaxed);
        }
    }

    /// A message that counts as accepted was refused after all.
    pub(crate) fn revoked(&self) {
        let share = f32::from_bits(self.0.load(Relaxed));
        self.0.store((share + 1.0 / WEIGHT).min(1.0).to_bits(), Relaxed);
    }

    /// From 0 to 1.
    pub(crate) fn get(&self) -> f32 {
        f32::from_bits(self.0.load(Relaxed))
    }

    /// When to come again, if what waits drains in `drain`. `chance`, from 0 to 1, is this message's own.
    pub(crate) fn retry_after(&self, drain: Duration, chance: f64) -> Duration {
        let served = 1.0 - f64::from(self.get().min(MOST));
        drain.mul_f64((1.0 + SPREAD * chance) / served).max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Duration = Duration::from_millis(20);

    #[test]
    fn the_hint_grows_with_the_share_that_is_refused_and_shrinks_again() {
        let share = RefusedShare::default();
        assert_eq!(share.retry_after(DRAIN, 0.0), DRAIN);
        (0..1000).for_each(|n| share.decided(n % 2 == 0));
        let hint = share.retry_after(DRAIN, 0.0);
        assert!(hint.abs_diff(2 * DRAIN) < DRAIN / 10, "{hint:?}");
        (0..10_000).for_each(|_| share.decided(true));
        assert!(share.retry_after(DRAIN, 1.0) < 31 * DRAIN, "bounded");
        (0..10_000).for_each(|_| share.decided(false));
        assert_eq!(share.retry_after(DRAIN, 0.0), DRAIN);
    }

    #[test]
    fn a_message_that_is_refused_later_counts_once() {
        let share = RefusedShare::default();
        for (refused, of) in [(1, 1), (1, 2), (1, 4)] {
            for message in 0..10_000 {
                share.decided(false);
                if message % of < refused {
                    share.revoked();
                }
            }
            let (found, expected) = (share.get(), refused as f32 / of as f32);
            assert!((found - expected).abs() < 0.02, "{found} in place of {expected}");
        }
    }

    #[test]
    fn hints_are_spread_and_never_nothing() {
        let share = RefusedShare::default();
        assert_eq!(share.retry_after(DRAIN, 1.0), DRAIN * 3 / 2);
        assert_eq!(share.retry_after(Duration::ZERO, 0.5), LEAST);
    }
}
