//! The gate of a berth: who may look at what is in it, and who may change it, in one word.
//!
//! ```text
//!         claim            publish          close              last visitor leaves
//!  Empty ───────▶ Claimed ─────────▶ Open ──────────▶ Closed ──────────────────────▶ Claimed
//!    ▲               │                                                             (by that visitor)
//!    └───────────────┘
//!          vacate
//! ```
//! *Visitors* are counted in the same word. Who enters an open gate may look at the content until it leaves, whatever
//! happens meanwhile: it can be closed, but it is not emptied before the last visitor has left, and that visitor is the
//! one that empties it. So nothing is reclaimed later than needed, and nothing is kept for a stopped thread but the one
//! content that it is looking at.
//!
//! **Nobody waits.** Every method is a bounded number of steps, or a loop in which an attempt fails only because another
//! thread's went through. A thread that is stopped between any two of them keeps one berth from being used anew.
//!
//! **Strays.** A visitor counts itself first and looks at the state that it found second. One that came too late (the
//! gate was closed, or is being filled with something else) leaves at once; its count may lie over any state in
//! between, which is why states change under counts that are kept, and why a stray that leaves a closed gate last
//! empties it like any other.
//!
//! **What is SeqCst.** Who publishes a flight and who looks for it have to agree on what came first: `publish`, and the load
//! that `enter` begins with, are in one order with the words of the [`table`](super::table). On x86-64 that costs nothing,
//! since each is a locked instruction or a plain load anyway. What is weaker says what it pairs with.
//!
//! **Exclusion.** A claim is exclusive: it begins with an exchange, from a state that has no content or no visitors, to
//! one in which nobody enters. The table's berths build on that.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

use crate::platform::atomic::AtomicU64;

/// Set while somebody fills or empties the berth; with [`FULL`] it means closed.
const SHUT: u64 = 1 << 32;
/// There is content.
const FULL: u64 = 1 << 33;
const STATE: u64 = SHUT | FULL;
const VISITORS: u64 = (1 << 32) - 1;
/// The top 16 bits tell contents apart before anybody enters.
const CHECK_SHIFT: u32 = 48;

/// See the module.
#[derive(Default)]
pub(super) struct Gate(AtomicU64);

impl Gate {
    /// Takes an empty berth for oneself.
    pub(super) fn claim(&self) -> bool {
        let mut word = self.0.load(Relaxed);
        while word & STATE == 0 {
            // Acquire: pairs with `vacate`, after which the content is the claimer's to write.
            match self.0.compare_exchange(word, word | SHUT, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Lets visitors into a claimed berth that has been filled. Pairs with `enter`.
    pub(super) fn publish(&self, check: u16) {
        self.0.fetch_add(FULL - SHUT + (u64::from(check) << CHECK_SHIFT), SeqCst);
    }

    /// Gives a claimed berth back, emptied. Release: pairs with `claim`.
    pub(super) fn vacate(&self) {
        self.0.fetch_and(VISITORS, Release);
    }

    /// Goes in, if what is there is what one asks for.
    #[inline]
    pub(super) fn enter(&self, ask: Ask) -> Entrance {
        // To spare the berths of others a write.
        if !ask.admits(self.0.load(SeqCst)) {
            return Entrance::Barred;
        }
        // Acquire: pairs with `publish`, whose release sequence later visitors continue.
        if ask.admits(self.0.fetch_add(1, Acquire)) { Entrance::In } else { Entrance::Stray }
    }

    /// A visitor closes the berth that it is in. True: it did, and nobody else.
    pub(super) fn close(&self) -> bool {
        // The state is open or closed, and no other while there are visitors.
        self.0.fetch_or(SHUT, SeqCst) & SHUT == 0
    }

    /// A visitor, or a stray, leaves. True: the berth was closed and this was the last; it is now claimed by the caller,
    /// who empties it and [`vacate`](Self::vacate)s.
    #[must_use]
    #[inline]
    pub(super) fn leave(&self) -> bool {
        // Release: pairs with the exchange below in the last one to leave.
        self.empties(self.0.fetch_sub(1, Release) - 1)
    }

    /// Whether the berth was left closed and without visitors, and is the caller's now.
    #[inline]
    fn empties(&self, word: u64) -> bool {
        if word & VISITORS != 0 || word & (SHUT | FULL) != SHUT | FULL {
            return false;
        }
        // Fails if somebody strays in: that one is the last, then. Acquire: pairs with every `leave` before, each of
        // which continues the release sequences of the others.
        self.0.compare_exchange(word, SHUT, AcqRel, Relaxed).is_ok()
    }
}

/// What a visitor looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// What was published with this check, and is open.
    Open(u16),
    AnythingOpen,
}

impl Ask {
    #[inline]
    fn admits(self, word: u64) -> bool {
        let check = match self {
            Self::Open(check) => Some(check),
            Self::AnythingOpen => None,
        };
        word & STATE == FULL && check.is_none_or(|check| (word >> CHECK_SHIFT) as u16 == check)
    }
}

/// What came of going in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entrance {
    In,
    /// Counted, and has to leave without looking.
    Stray,
    Barred,
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    const CHECK: u16 = 0xBEEF;

    fn open() -> Gate {
        let gate = Gate::default();
        assert!(gate.claim());
        gate.publish(CHECK);
        gate
    }

    #[test]
    fn a_gate_goes_round_and_is_emptied_by_the_last_to_leave() {
        let gate = open();
        assert!(!gate.claim());
        assert_eq!(gate.enter(Ask::Open(CHECK)), Entrance::In);
        assert_eq!(gate.enter(Ask::AnythingOpen), Entrance::In);
        assert!(gate.close());
        assert!(!gate.close());
        assert_eq!(gate.enter(Ask::Open(CHECK)), Entrance::Barred);
        assert!(!gate.leave());
        assert!(gate.leave());
        assert!(!gate.claim());
        gate.vacate();
        assert!(gate.claim());
    }

    #[test]
    fn another_check_stays_outside() {
        assert_eq!(open().enter(Ask::Open(1)), Entrance::Barred);
        assert_eq!(Gate::default().enter(Ask::AnythingOpen), Entrance::Barred);
    }

    #[test]
    fn a_stray_on_an_empty_berth_holds_nobody_up() {
        let gate = Gate::default();
        // Stopped between counting itself and looking.
        gate.0.fetch_add(1, Relaxed);
        assert!(gate.claim());
        gate.publish(CHECK);
        assert_eq!(gate.enter(Ask::Open(CHECK)), Entrance::In);
        assert!(gate.close());
        assert!(!gate.leave());
        // It goes on, and is the last.
        assert!(gate.leave());
        gate.vacate();
        assert!(gate.claim());
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
