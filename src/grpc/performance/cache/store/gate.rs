//! The gate of a slot: who may look at what is in it, and who may change it, in one word.
//!
//! ```text
//!         claim            publish            reveal           close              last visitor leaves
//!  Empty ───────▶ Claimed ─────────▶ Hidden ─────────▶ Open ──────────▶ Closed ──────────────────────▶ Claimed
//!    ▲               │                  │                │                ▲                   (by that visitor)
//!    └───────────────┘                  └────────────────┼────────────────┘                             ▲
//!          vacate                             close      └──────────────────────────────────────────────┘
//!                                                               seize, while nobody is in
//! ```
//! *Visitors* are counted in the same word. Who enters an open gate may look at the content until it leaves, whatever
//! happens meanwhile: it can be closed, but it is not emptied before the last visitor has left, and that visitor is the
//! one that empties it. So nothing is reclaimed later than needed, and nothing is kept for a stopped thread but the one
//! content that it is looking at.
//!
//! **Nobody waits.** Every method is a bounded number of steps, or a loop in which an attempt fails only because another
//! thread's went through. A thread that is stopped between any two of them keeps one slot from being used anew.
//!
//! **Strays.** A visitor counts itself first and looks at the state that it found second. One that came too late (the
//! gate was closed, or is being filled with something else) leaves at once; its count may lie over any state in
//! between, which is why states change under counts that are kept, and why a stray that leaves a closed gate last
//! empties it like any other.
//!
//! **What is SeqCst.** [`Store::resize`](super::Store::resize) moves entries, and has to agree with those who publish,
//! reveal and close meanwhile on what came first: these, and the load that `enter` begins with are in the one order that
//! [`Generation`](super::table::Generation) counts on. On x86-64 that costs nothing, since each is a locked instruction or
//! a plain load anyway. What is weaker says what it pairs with.
//!
//! **Exclusion.** A claim is exclusive: it begins with an exchange, from a state that has no content or no visitors, to
//! one in which nobody enters. [`Slot`](super::slot::Slot) builds on that.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

use crate::platform::atomic::AtomicU64;

/// Set while somebody fills or empties the slot; with [`FULL`] it means closed.
const SHUT: u64 = 1 << 32;
/// There is content.
const FULL: u64 = 1 << 33;
/// There is content that is found only by those who look for what is hidden, too.
const HIDDEN: u64 = 1 << 34;
const STATE: u64 = SHUT | FULL | HIDDEN;
const VISITORS: u64 = (1 << 32) - 1;
/// The top 16 bits tell contents apart before anybody enters.
const CHECK_SHIFT: u32 = 48;

/// See the module.
#[derive(Default)]
pub(in super::super) struct Gate(AtomicU64);

impl Gate {
    /// Takes an empty slot for oneself.
    pub(in super::super) fn claim(&self) -> bool {
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

    /// Lets visitors into a claimed slot that has been filled, hidden; the publisher is in, too. Pairs with `enter`.
    pub(in super::super) fn publish(&self, check: u16) {
        self.0.fetch_add((FULL | HIDDEN) - SHUT + 1 + (u64::from(check) << CHECK_SHIFT), SeqCst);
    }

    /// Gives a claimed slot back, emptied. Release: pairs with `claim`.
    pub(in super::super) fn vacate(&self) {
        self.0.fetch_and(VISITORS, Release);
    }

    /// Goes in, if what is there is what one asks for.
    #[inline]
    pub(in super::super) fn enter(&self, ask: Ask) -> Entrance {
        // To spare the slots of others a write.
        if !ask.admits(self.0.load(SeqCst)) {
            return Entrance::Barred;
        }
        // Acquire: pairs with `publish`, whose release sequence later visitors and `reveal` continue.
        if ask.admits(self.0.fetch_add(1, Acquire)) { Entrance::In } else { Entrance::Stray }
    }

    /// A visitor closes the slot that it is in. True: it did, and nobody else.
    pub(in super::super) fn close(&self) -> bool {
        // The state is open, hidden or closed, and no other while there are visitors.
        self.0.fetch_or(SHUT, SeqCst) & SHUT == 0
    }

    /// Takes what is there, if it is what one asks for and nobody is in, as if one had closed it and left.
    #[must_use]
    pub(in super::super) fn seize(&self, ask: Ask) -> bool {
        let word = self.0.load(Relaxed);
        // Acquire, in SeqCst: as in `leave`.
        ask.admits(word)
            && word & VISITORS == 0
            && self.0.compare_exchange(word, SHUT, SeqCst, Relaxed).is_ok()
    }

    /// The publisher opens what it has published hidden, if nobody has closed it meanwhile, and leaves in either case.
    #[must_use]
    pub(in super::super) fn reveal_and_leave(&self) -> Revealed {
        // Hidden until its publisher comes here, once. Release, in SeqCst: as in `leave`.
        let word = self.0.fetch_sub(HIDDEN + 1, SeqCst) - (HIDDEN + 1);
        match word & SHUT == 0 {
            true => Revealed::Open,
            false if self.empties(word) => Revealed::Emptied,
            false => Revealed::Closed,
        }
    }

    /// A visitor, or a stray, leaves. True: the slot was closed and this was the last; it is now claimed by the caller,
    /// who empties it and [`vacate`](Self::vacate)s.
    #[must_use]
    #[inline]
    pub(in super::super) fn leave(&self) -> bool {
        // Release: pairs with the exchange below in the last one to leave.
        self.empties(self.0.fetch_sub(1, Release) - 1)
    }

    /// Whether the slot was left closed and without visitors, and is the caller's now.
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
pub(in super::super) enum Ask {
    /// What was published with this check, and is open.
    Open(u16),
    /// The same, also where it is hidden.
    OpenOrHidden(u16),
    AnythingOpen,
    /// Whatever is there.
    Anything,
}

impl Ask {
    #[inline]
    fn admits(self, word: u64) -> bool {
        let (barred, check) = match self {
            Self::Open(check) => (SHUT | HIDDEN, Some(check)),
            Self::OpenOrHidden(check) => (SHUT, Some(check)),
            Self::AnythingOpen => (SHUT | HIDDEN, None),
            Self::Anything => (SHUT, None),
        };
        word & (barred | FULL) == FULL && check.is_none_or(|check| (word >> CHECK_SHIFT) as u16 == check)
    }
}

/// What came of opening what was hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Revealed {
    Open,
    /// Somebody had closed it, and others are in.
    Closed,
    /// Somebody had closed it; it is claimed by the caller, as after [`Gate::leave`].
    Emptied,
}

/// What came of going in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Entrance {
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

    fn hidden() -> Gate {
        let gate = Gate::default();
        assert!(gate.claim());
        gate.publish(CHECK);
        gate
    }

    fn open() -> Gate {
        let gate = hidden();
        assert_eq!(gate.reveal_and_leave(), Revealed::Open);
        gate
    }

    #[test]
    fn a_gate_goes_round_and_is_emptied_by_the_last_to_leave() {
        let gate = open();
        assert!(!gate.claim());
        assert_eq!(gate.enter(Ask::Open(CHECK)), Entrance::In);
        assert_eq!(gate.enter(Ask::Anything), Entrance::In);
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
    fn another_check_stays_outside_and_what_is_hidden_is_found_by_those_who_look_for_it() {
        assert_eq!(open().enter(Ask::Open(1)), Entrance::Barred);
        let gate = hidden();
        assert_eq!(gate.enter(Ask::Open(CHECK)), Entrance::Barred);
        assert_eq!(gate.enter(Ask::OpenOrHidden(CHECK)), Entrance::In);
        assert!(!gate.leave());
        assert_eq!(gate.reveal_and_leave(), Revealed::Open);
        assert_eq!(gate.enter(Ask::Open(CHECK)), Entrance::In);
    }

    #[test]
    fn what_was_closed_while_it_was_hidden_is_emptied_by_the_last_to_leave() {
        let gate = hidden();
        assert_eq!(gate.enter(Ask::OpenOrHidden(CHECK)), Entrance::In);
        assert!(gate.close());
        assert_eq!(gate.reveal_and_leave(), Revealed::Closed);
        assert!(gate.leave());
        gate.vacate();

        assert!(gate.claim());
        gate.publish(CHECK);
        assert!(gate.close());
        assert_eq!(gate.reveal_and_leave(), Revealed::Emptied);
        gate.vacate();
        assert!(gate.claim());
    }

    #[test]
    fn an_open_slot_is_seized_while_nobody_is_in() {
        assert!(!hidden().seize(Ask::AnythingOpen));
        let gate = open();
        assert!(!gate.seize(Ask::Open(1)));
        assert_eq!(gate.enter(Ask::Open(CHECK)), Entrance::In);
        assert!(!gate.seize(Ask::Open(CHECK)));
        assert!(!gate.leave());
        assert!(gate.seize(Ask::Open(CHECK)));
        assert_eq!(gate.enter(Ask::Anything), Entrance::Barred);
        assert!(!gate.seize(Ask::AnythingOpen));
        gate.publish(CHECK);
        assert_eq!(gate.reveal_and_leave(), Revealed::Open);
        assert!(gate.seize(Ask::AnythingOpen));
    }

    #[test]
    fn a_stray_on_an_empty_slot_holds_nobody_up() {
        let gate = Gate::default();
        // Stopped between counting itself and looking.
        gate.0.fetch_add(1, Relaxed);
        assert!(gate.claim());
        gate.publish(CHECK);
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
