//! One entry, behind its [`Gate`].
//!
//! This is the room of the store that needs `unsafe`: the content is read by many and replaced by one, without a lock.
//! That the two never meet is the gate's promise, and all that the proofs here lean on:
//! 1. who is in (an [`Entrance::In`] that has not left) sees content that nobody changes;
//! 2. who has a claim is alone with the content.

#![allow(unsafe_code)]

use std::{cell::UnsafeCell, mem};

use super::{
    super::{key::CacheKey, value::Stored},
    gate::{Ask, Entrance, Gate, Revealed},
};

/// What lies in a slot.
pub(super) struct Entry {
    pub(super) key: CacheKey,
    pub(super) stored: Stored,
}

/// Room for one entry, in two cache lines that are fetched together.
#[derive(Default)]
#[repr(C, align(128))]
pub(super) struct Slot {
    gate: Gate,
    entry: UnsafeCell<Option<Entry>>,
}

// SAFETY: the content is shared by those who are in, which needs `Entry: Sync`, and moved by the one who has a claim,
// which may be another thread than the one that brought it: `Entry: Send`. Both hold (see below). The gate keeps the two
// apart, and orders them: `publish` before `enter`, every `leave` before the claim of the last.
unsafe impl Sync for Slot {}

const _: () = {
    assert!(cfg!(any(millstream_loom, millstream_shuttle)) || size_of::<Slot>() == 128);
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Entry>();
};

impl Slot {
    /// Takes the slot, if it is empty.
    pub(super) fn claim(&self) -> Option<Claim<'_>> {
        self.gate.claim().then(|| Claim { slot: self })
    }

    /// Goes in.
    ///
    /// # Errors
    /// There is nothing of that; what was found closed, and left last, comes with it.
    #[inline]
    pub(super) fn enter(&self, ask: Ask) -> Result<Visit<'_>, Option<Emptied<'_>>> {
        self.fetch();
        match self.gate.enter(ask) {
            Entrance::In => Ok(Visit { slot: self }),
            Entrance::Stray => Err(self.leave()),
            Entrance::Barred => Err(None),
        }
    }

    /// Has the second cache line fetched with the first: what comes after the gate's exchange would begin to wait for it
    /// only then.
    #[inline]
    fn fetch(&self) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: nothing is read or written: it is a hint to the processor, for an address within the slot.
            unsafe { _mm_prefetch::<_MM_HINT_T0>((&raw const *self).cast::<i8>().wrapping_add(64)) };
        }
    }

    /// Takes what is there, if it is what one asks for and nobody looks at it.
    #[inline]
    pub(super) fn seize(&self, ask: Ask) -> Option<Emptied<'_>> {
        // 2: `seize` hands the claim to us.
        self.gate.seize(ask).then(|| self.empty())
    }

    #[inline]
    fn leave(&self) -> Option<Emptied<'_>> {
        // 2: `leave` hands the claim to us.
        self.gate.leave().then(|| self.empty())
    }

    /// For the one that has a claim on a full slot.
    fn empty(&self) -> Emptied<'_> {
        // SAFETY: 2, by the callers.
        let entry = unsafe { &mut *self.entry.get() }.take();
        Emptied { entry: entry.expect("what was open is full"), claim: Claim { slot: self } }
    }
}

/// An empty slot that is the caller's, until this is filled or dropped.
#[must_use]
pub(super) struct Claim<'a> {
    slot: &'a Slot,
}

impl<'a> Claim<'a> {
    /// Puts the entry in, hidden; the caller is its visitor.
    pub(super) fn fill(self, entry: Entry, check: u16) -> Visit<'a> {
        let slot = self.slot;
        // SAFETY: 2: the claim is ours until `publish`.
        unsafe { *slot.entry.get() = Some(entry) };
        slot.gate.publish(check);
        // Not given back: it was turned into the visit.
        mem::forget(self);
        Visit { slot }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.slot.gate.vacate();
    }
}

/// What was in a slot, and the slot, which nobody else can take before the claim is dropped.
pub(super) struct Emptied<'a> {
    pub(super) entry: Entry,
    pub(super) claim: Claim<'a>,
}

/// Somebody looks at the entry. Ends with [`leave`](Self::leave): only dropped, it would keep the slot for good.
#[must_use]
pub(super) struct Visit<'a> {
    slot: &'a Slot,
}

impl<'a> Visit<'a> {
    #[inline]
    pub(super) fn entry(&self) -> &Entry {
        // SAFETY: 1: we are in, since leaving takes the visit.
        unsafe { &*self.slot.entry.get() }.as_ref().expect("what is open is full")
    }

    /// Whether this closed it, and nobody else.
    pub(super) fn close(&self) -> bool {
        self.slot.gate.close()
    }

    /// Opens what was published hidden, if nobody has closed it, and leaves. `Err`: it was closed, and what it was is
    /// ours if we were the last to leave.
    pub(super) fn reveal_and_leave(self) -> Result<(), Option<Emptied<'a>>> {
        match self.slot.gate.reveal_and_leave() {
            Revealed::Open => Ok(()),
            Revealed::Closed => Err(None),
            // 2: with that the claim is ours.
            Revealed::Emptied => Err(Some(self.slot.empty())),
        }
    }

    /// Leaves, with the content if the slot is closed and this was the last to leave.
    #[inline]
    pub(super) fn leave(self) -> Option<Emptied<'a>> {
        self.slot.leave()
    }
}
