//! What waiting awake has won lately, and so whether it is worth a try.
//!
//! Who finds nothing to do may look again and again for a while, instead of going to sleep. It wins when something comes
//! in that while: nobody has to wake it, which costs the waker some 15 µs of a system call, and itself some 40 until it
//! runs. It loses the whole while when nothing comes. So one loss is worth several wins, and where losses prevail nobody
//! looks any more, but for a try now and then that finds out whether the times have changed.

use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// A balance that losses draw down faster than wins fill it. Below zero it counts the chances that are still to be let
/// pass. Races cost accuracy only.
pub(super) struct Credit(AtomicI32);

impl Credit {
    pub(super) const MOST: i32 = 32;
    pub(super) const LOSS: i32 = 8;
    pub(super) const LET_PASS: i32 = -64;

    /// As if everything had been won so far.
    pub(super) fn full() -> Self {
        Self(AtomicI32::new(Self::MOST))
    }

    /// Whether to look at all.
    pub(super) fn allows(&self) -> bool {
        let balance = self.0.load(Relaxed);
        if balance < 0 {
            self.0.store(balance + 1, Relaxed);
        }
        balance >= 0
    }

    /// What came of it.
    pub(super) fn settle(&self, won: bool) {
        self.settle_at(won, Self::LOSS);
    }

    /// The same, where a loss costs as much as so many wins spare.
    pub(super) fn settle_at(&self, won: bool, loss: i32) {
        let balance = self.0.load(Relaxed);
        let settled = match won {
            true => (balance + 1).min(Self::MOST),
            false if balance < loss => Self::LET_PASS,
            false => balance - loss,
        };
        if settled != balance {
            self.0.store(settled, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wins_most_of_the_time_goes_on_and_what_loses_is_tried_now_and_then() {
        let credit = Credit::full();
        for chance in 0..1000 {
            assert!(credit.allows(), "one loss in ten, at chance {chance}");
            credit.settle(chance % 10 != 0);
        }
        let tries = (0..1000).filter(|_| credit.allows()).inspect(|_| credit.settle(false)).count();
        assert!((10..=30).contains(&tries), "{tries} tries in 1,000 chances");
    }
}
