//! One entry, or none: a pointer, with what it says beside.
//!
//! ```text
//!         claim            fill               reveal
//!  Empty ───────▶ Claimed ──────▶ Hidden(entry) ──────▶ Open(entry)
//!    ▲             │   ▲               │                  │ │
//!    └─────────────┘   └───────────────┴──────────────────┘ └──▶ Hidden(another)
//!        vacate                 close, seize                 replace
//! ```
//! Each of these is one exchange. An entry is one *node*, made for one slot and never changed; who looks at it does so under
//! a [`Hazard`], and can be stopped there without being in anybody's way: the slot may be emptied and filled meanwhile,
//! and only the node stays until nobody looks (see [`hazards`](super::hazards)).
//!
//! **A node is in a slot once.** As long as somebody points at it, it is not freed, and so its address is not another's: who
//! exchanges it for something else under a [`Visit`] exchanges what it has looked at. [`Slot::seize`] comes without a
//! visit, and takes what it finds.
//!
//! **A claim is exclusive**: it begins with an exchange to a state that is nobody else's to leave.
//!
//! **All is SeqCst** but for the first look: [`Store::resize`](super::Store::resize) moves entries, and has to agree with
//! those who publish, reveal and close meanwhile on what came first, and so have two who store for the same key: these are
//! in the one order that [`Generation`](super::table::Generation) counts on. On x86-64 that costs nothing, since each is a
//! locked instruction or a plain load anyway.

#![allow(unsafe_code)]

use std::{
    mem::{self, offset_of},
    ptr::{self, NonNull},
    sync::atomic::Ordering::{Relaxed, SeqCst},
};

use bytes::Bytes;

use super::{
    super::{key::CacheKey, stats::Counters, value::Stored},
    hazards::{Hazard, Hazards, Unlinked},
    nodes::{Node, Owned, Sole},
};
use crate::platform::atomic::AtomicPtr;

/// What is stored for a key. In this order, what a hit looks at is together.
#[repr(C)]
pub(super) struct Entry {
    pub(super) key: CacheKey,
    pub(super) stored: Stored,
}

impl AsRef<[u8]> for Entry {
    fn as_ref(&self) -> &[u8] {
        self.stored.data()
    }
}

const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Entry>();
    assert!(align_of::<Node<Entry>>() >= 4);
    // What a hit looks at lies in two cache lines, on whichever multiple of 16 the heap puts the node.
    assert!(Node::<Entry>::BEFORE_VALUE + offset_of!(Entry, stored) + Stored::BRIEF_END <= 2 * 64 - 48);
};

/// Beside the pointer: the entry is found only by those who look for what is hidden, too.
const HIDDEN: usize = 1;

/// Where the check lies in a word: where addresses of user space have nothing, since none is beyond 2^48 that was not asked
/// for, and what aarch64 puts into pointers comes above. Elsewhere there is none.
const CHECK_SHIFT: u32 = if HAS_CHECK { 48 } else { 0 };
const HAS_CHECK: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// A node, whether it is hidden, and eight bits of its key beside those of its tag: so who looks for another key, and finds
/// the same tag (one in six look-ups in a full set), does not have to get that entry from memory to tell.
type Word = *mut Node<Entry>;

/// Of a key; see [`Word`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Check(usize);

impl Check {
    #[inline]
    pub(super) fn of(key: &CacheKey) -> Self {
        // Tags are the bits below.
        let bits = (key.placement() >> 8) as u8;
        Self((usize::from(bits) << CHECK_SHIFT) & Self::ALL)
    }

    #[inline]
    fn in_word(word: Word) -> Self {
        Self(word.addr() & Self::ALL)
    }

    /// All of its bits.
    const ALL: usize = if HAS_CHECK { 255 << CHECK_SHIFT } else { 0 };
}

/// No node has this address: theirs are multiples of four.
const CLAIMED: Word = ptr::without_provenance_mut(2);

/// See the module.
pub(super) struct Slot(AtomicPtr<Node<Entry>>);

/// What one looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Open,
    OpenOrHidden,
}

impl Ask {
    /// The node that a slot has, if it is what one looks for.
    #[inline]
    fn admits(self, word: Word) -> Option<NonNull<Node<Entry>>> {
        let hidden = word.addr() & HIDDEN != 0;
        if word == CLAIMED || hidden && self == Self::Open {
            return None;
        }
        node(word)
    }
}

fn node(word: Word) -> Option<NonNull<Node<Entry>>> {
    NonNull::new(word.map_addr(|address| address & !(HIDDEN | Check::ALL)))
}

fn hidden(word: Word) -> Word {
    word.map_addr(|address| address | HIDDEN)
}

fn open(word: Word) -> Word {
    word.map_addr(|address| address & !HIDDEN)
}

impl Default for Slot {
    fn default() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }
}

impl Slot {
    /// Takes the slot, if it is empty.
    pub(super) fn claim(&self) -> Option<Claim<'_>> {
        // Relaxed: the exchange tells.
        let claimed = self.0.load(Relaxed).is_null() && self.turn(ptr::null_mut(), CLAIMED);
        // Made only then: it gives back what it claims when it is dropped.
        claimed.then(|| Claim { slot: self })
    }

    /// Looks at what is there, if it is what one looks for, and its key may be that one.
    #[inline(always)]
    pub(super) fn look<'a>(
        &'a self,
        ask: Ask,
        check: Option<Check>,
        hazards: &'a Hazards<Entry>,
    ) -> Option<Visit<'a>> {
        let admitted = |word| {
            let may_be_its = check.is_none_or(|check| Check::in_word(word) == check);
            may_be_its.then(|| ask.admits(word)).flatten()
        };
        let mut word = self.0.load(SeqCst);
        let mut node = admitted(word)?;
        Node::prefetch(node);
        let hazard = hazards.hazard();
        loop {
            hazard.point_at(node.as_ptr());
            let now = self.0.load(SeqCst);
            if now == word {
                return Some(Visit { slot: self, word: open(word), node, looking: hazard });
            }
            word = now;
            node = admitted(word)?;
        }
    }

    /// What is there is looked at soon, if its key may be that one.
    pub(super) fn prefetch(&self, check: Check) {
        // Relaxed: nothing is looked at.
        let word = self.0.load(Relaxed);
        if Check::in_word(word) == check
            && let Some(node) = Ask::Open.admits(word)
        {
            Node::prefetch_whole(node);
        }
    }

    /// Takes what is there, if it is what one looks for.
    pub(super) fn seize(&self, ask: Ask) -> Option<Emptied<'_>> {
        // Relaxed: the exchange tells.
        let word = self.0.load(Relaxed);
        let node = ask.admits(word)?;
        self.turn(word, CLAIMED).then(|| self.emptied(node))
    }

    #[inline]
    fn turn(&self, from: Word, to: Word) -> bool {
        self.0.compare_exchange(from, to, SeqCst, Relaxed).is_ok()
    }

    /// For the one that has turned it into a claim.
    fn emptied(&self, node: NonNull<Node<Entry>>) -> Emptied<'_> {
        // SAFETY: the exchange has taken it out, and it was there.
        Emptied { entry: unsafe { Unlinked::new(node) }, claim: Claim { slot: self } }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(node) = Ask::OpenOrHidden.admits(self.0.load(Relaxed)) {
            // SAFETY: what is in a slot is the slot's, and whoever looks at it borrows the slot.
            drop(unsafe { Owned::from_raw(node).into_sole() });
        }
    }
}

/// A slot that is the caller's, until this is filled or dropped.
#[must_use]
pub(super) struct Claim<'a> {
    slot: &'a Slot,
}

impl<'a> Claim<'a> {
    /// Puts the entry in, hidden.
    pub(super) fn fill(self, entry: Fresh, hazards: &'a Hazards<Entry>) -> Visit<'a> {
        let slot = self.slot;
        let hazard = entry.held(hazards);
        let (word, node) = entry.into_word();
        slot.0.store(hidden(word), SeqCst);
        // Not given back: it was turned into the visit.
        mem::forget(self);
        Visit { slot, word, node, looking: hazard }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.slot.0.store(ptr::null_mut(), SeqCst);
    }
}

/// An entry that is to be stored, in its node, which nobody has seen.
pub(super) struct Fresh(Sole<Entry>);

impl Fresh {
    /// In the caller, where the entry is made.
    #[inline(always)]
    pub(super) fn new(entry: Entry) -> Self {
        Self(Sole::new(entry))
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.0
    }

    /// Before others find it: so it is not freed as long as this is held, whoever takes it out of its slot.
    fn held<'a>(&self, hazards: &'a Hazards<Entry>) -> Hazard<'a, Entry> {
        let hazard = hazards.hazard();
        hazard.hold(self.0.as_raw().as_ptr());
        hazard
    }

    /// What a slot has that has it, open.
    fn word(&self) -> Word {
        let Check(check) = Check::of(&self.0.key);
        self.0.as_raw().as_ptr().map_addr(|address| {
            assert_eq!(address & Check::ALL, 0, "an address of user space beyond 2^48");
            address | check
        })
    }

    fn into_word(self) -> (Word, NonNull<Node<Entry>>) {
        (self.word(), self.leave())
    }

    /// Leaves it to the slot that has it. Does not look at it: unless somebody holds it, it may have been freed by now.
    fn leave(self) -> NonNull<Node<Entry>> {
        self.0.into_owned().as_raw()
    }
}

/// What was in a slot, and the slot, which nobody else can take before the claim is dropped.
#[must_use]
pub(super) struct Emptied<'a> {
    pub(super) entry: Unlinked<Entry>,
    pub(super) claim: Claim<'a>,
}

/// Somebody looks at the entry that is, or was, in a slot.
#[must_use]
pub(super) struct Visit<'a> {
    slot: &'a Slot,
    /// What the slot has, or had, when the entry is open.
    word: Word,
    node: NonNull<Node<Entry>>,
    /// Points at the node.
    looking: Hazard<'a, Entry>,
}

impl<'a> Visit<'a> {
    #[inline]
    pub(super) fn entry(&self) -> &Entry {
        // SAFETY: the hazard points at it, and has since it was in the slot: so it is not freed.
        unsafe { Node::value(self.node) }
    }

    #[inline]
    pub(super) fn counters(&self) -> &'a Counters {
        self.looking.counters()
    }

    /// What the entry's bytes are shared by.
    #[inline]
    pub(super) fn bytes(&self) -> &Bytes {
        // SAFETY: as in `entry`.
        unsafe { Node::bytes(self.node) }
    }

    /// Takes it out, hidden or not, if it is still there.
    pub(super) fn close(&self) -> Option<Emptied<'a>> {
        // Hidden first: it may be revealed in between, and is not hidden again.
        let closed = [hidden(self.word), self.word].into_iter().any(|word| self.slot.turn(word, CLAIMED));
        closed.then(|| self.slot.emptied(self.node))
    }

    /// Puts another in its place, open, if it is still there, and open.
    pub(super) fn replace(&self, entry: Fresh) -> Result<Unlinked<Entry>, Fresh> {
        if !self.slot.turn(self.word, entry.word()) {
            return Err(entry);
        }
        entry.leave();
        // SAFETY: the exchange has taken it out, and it was there.
        Ok(unsafe { Unlinked::new(self.node) })
    }

    /// The same, hidden.
    pub(super) fn replace_hidden(
        &self,
        entry: Fresh,
        hazards: &'a Hazards<Entry>,
    ) -> Result<(Visit<'a>, Unlinked<Entry>), Fresh> {
        let hazard = entry.held(hazards);
        if !self.slot.turn(self.word, hidden(entry.word())) {
            return Err(entry);
        }
        let (word, node) = entry.into_word();
        let visit = Visit { slot: self.slot, word, node, looking: hazard };
        // SAFETY: the exchange has taken it out, and it was there.
        Ok((visit, unsafe { Unlinked::new(self.node) }))
    }

    /// Opens what was put in hidden, if nobody has taken it out: whether it is open.
    pub(super) fn reveal(&self) -> bool {
        self.slot.turn(hidden(self.word), self.word)
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
#[cfg(all(test, not(millstream_loom)))]
mod tests;
