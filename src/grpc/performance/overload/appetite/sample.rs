//! The median of what some of many have used.
//!
//! Those who come find a seat, as long as there is one, and keep it until they leave, or have been idle for so long that
//! what they have used has faded: then another may have it.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::usage::{COARSE_BITS, Usage};

/// What some of many have used: a word for each seat, 0 when it is free.
///
/// Nobody waits: a seat is taken, written and left by one exchange, and where that fails it is left for the next look.
#[derive(Debug)]
pub(crate) struct Sample<const SEATS: usize>([AtomicU64; SEATS]);

/// Bits of a seat that say who has it; above them is the usage.
const OWNER_BITS: u32 = u64::BITS - COARSE_BITS;

/// One of those that a sample is of. Two of one number (one in 2^24) have one seat between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(u64);

impl Owner {
    pub(crate) fn new(number: u64) -> Self {
        Self(number % ((1 << OWNER_BITS) - 1) + 1)
    }

    fn sign(self, usage: Usage) -> u64 {
        usage.coarse() << OWNER_BITS | self.0
    }

    fn has(self, seat: u64) -> bool {
        seat & ((1 << OWNER_BITS) - 1) == self.0
    }
}

impl<const SEATS: usize> Default for Sample<SEATS> {
    fn default() -> Self {
        Self([(); SEATS].map(|()| AtomicU64::new(0)))
    }
}

impl<const SEATS: usize> Sample<SEATS> {
    /// Somebody writes down what it has used, if it has a seat or finds one, and gets the median of all who have; of an
    /// even number the lesser one.
    pub(super) fn median_with(&self, owner: Owner, usage: Usage, now: Duration) -> Usage {
        let mut seated = [Usage::default(); SEATS];
        let (mut count, mut mine) = (0, None);
        for seat in &self.0 {
            let word = seat.load(Relaxed);
            let theirs = Usage::from_coarse(word >> OWNER_BITS);
            if owner.has(word) {
                mine = Some((seat, word));
            } else if word == 0 || theirs.is_gone(now) {
                mine = mine.or(Some((seat, word)));
            } else {
                seated[count] = theirs;
                count += 1;
            }
        }
        if let Some((seat, word)) = mine {
            // Where somebody else was quicker, there will be another look.
            let _ = seat.compare_exchange(word, owner.sign(usage), Relaxed, Relaxed);
            seated[count] = usage;
            count += 1;
        }
        let seated = &mut seated[..count];
        seated.sort_unstable_by(|one, other| one.order(*other));
        seated[(count - 1) / 2]
    }

    /// Somebody leaves.
    pub(crate) fn leave(&self, owner: Owner) {
        for seat in &self.0 {
            let word = seat.load(Relaxed);
            if owner.has(word) {
                // It was taken as one that has gone: then there is nothing to leave.
                let _ = seat.compare_exchange(word, 0, Relaxed, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_go_to_those_who_come_when_others_have_gone_or_left() {
        let sample = Sample::<2>::default();
        let (now, later) = (Duration::from_secs(100), Duration::from_secs(130));
        let [one, two, three] = [1, 2, 3].map(Owner::new);
        let used = |ms: f64, now| Usage::of(ms * 1e6, now);
        sample.median_with(one, used(10.0, now), now);
        sample.median_with(two, used(30.0, now), now);
        let close = |found: Usage, expected: Usage| (0.99..1.01).contains(&found.times(expected));
        let median = sample.median_with(three, used(90.0, now), now);
        assert!(close(median, used(10.0, now)), "{median:?}: there is no seat for a third");
        sample.leave(one);
        let median = sample.median_with(three, used(90.0, now), now);
        assert!(close(median, used(30.0, now)), "{median:?}");
        let median = sample.median_with(one, used(5.0, later), later);
        assert!(close(median, used(5.0, later)), "{median:?}: the others have been idle for half a minute");
    }
}
