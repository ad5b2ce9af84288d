//! The desk of one thread at one pool: a berth that its tenant uses with plain loads and stores, and others by force.
//!
//! ```text
//!  the tenant, all the time            another, when all else is empty      the pool, once it is closed
//!  busy = true                         state |= SEIZED                      state |= CLOSED
//!  ─ light barrier ─                   ─ heavy barrier ─                    ─ heavy barrier ─
//!  state == OCCUPIED? then take        not busy? then take or leave         not busy? then take
//!  or leave                            state &= !SEIZED
//!  busy = false
//!  ─ light barrier, if it left ─
//!  state has CLOSED? then take
//! ```
//! **The tenant and others are never in the berth together.** Of `busy` and the bit in `state` one at least is seen by
//! the other side, since between the write and the read of each lies a [`barrier`] of a pair. The tenant that finds its
//! desk seized works at the shelf, as if it had none; who finds the tenant busy goes elsewhere. Nobody waits. A tenant that
//! is stopped while it is busy, or somebody who is stopped while the desk is seized, keeps one instance from the others.
//! Two do not seize a desk at a time: `SEIZED` is set by one.
//!
//! **Nothing stays at a closed desk.** If who closes finds the tenant busy, what the tenant leaves is the tenant's to take
//! back: it looks once more after it has left something, and of that look and what was found busy one at least sees the
//! other, as above. Nobody checks out of a closed pool, so whoever takes there takes by an exchange, and two may try.
//!
//! **A tenant that leaves** leaves the instance where it is. Others seize the desk without a barrier then, and the next
//! thread that needs a desk moves in, with what is there.

#![allow(unsafe_code)]

use std::{
    marker::PhantomData,
    ptr::NonNull,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crossbeam::utils::CachePadded;

use super::{
    berth::Berth,
    stats::{Counters, Event, Writers},
};
use crate::platform::{
    atomic::{AtomicBool, AtomicU32},
    barrier,
    contain::drop_logged,
};

/// A thread is the tenant.
const OCCUPIED: u32 = 1;
/// Somebody else is at the berth.
const SEIZED: u32 = 2;
/// Nothing is to stay here any more.
const CLOSED: u32 = 4;
/// There is no berth: nobody may use it.
const BARE: u32 = 8;

/// See the module. Padded, since it is written all the time by its tenant, and by hardly anybody else.
pub(super) struct Desk<T>(CachePadded<Furniture<T>>);

struct Furniture<T> {
    state: AtomicU32,
    /// Written by the tenant alone.
    busy: AtomicBool,
    berth: Berth<T>,
    counters: Counters,
}

impl<T> Desk<T> {
    /// With the caller as its tenant, and with what is in the slot that it stands for, if it stands for one.
    pub(super) fn new(slot: Option<Option<Box<T>>>) -> Self {
        Self(CachePadded::new(Furniture {
            state: AtomicU32::new(if slot.is_some() { OCCUPIED } else { OCCUPIED | BARE }),
            busy: AtomicBool::new(false),
            berth: Berth::new(slot.flatten()),
            counters: Counters::default(),
        }))
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Whether the caller is the tenant now; not while it is another's, or seized.
    pub(super) fn occupy(&self) -> bool {
        let state = &self.0.state;
        // Relaxed, here and on failure: the exchange tells.
        let mut now = state.load(Relaxed);
        while now & (OCCUPIED | SEIZED) == 0 {
            // Acquire: pairs with `vacate`, and with the end of `seized`.
            match state.compare_exchange(now, now | OCCUPIED, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(changed) => now = changed,
            }
        }
        false
    }

    /// The tenant goes.
    pub(super) fn vacate(&self) {
        // Release: pairs with `occupy` and `seized`.
        self.0.state.fetch_and(!OCCUPIED, Release);
    }

    /// Takes what is there, by force; `None` also if somebody is at it.
    pub(super) fn steal(&self) -> Option<Box<T>> {
        if self.0.berth.is_free() {
            return None; // To spare the barrier.
        }
        self.seized(Berth::take).flatten()
    }

    /// Leaves a value, by force, if nothing is there.
    pub(super) fn lodge(&self, value: Box<T>) -> Result<(), Box<T>> {
        // Relaxed: a desk is bare for good.
        if !self.0.berth.is_free() || self.0.state.load(Relaxed) & BARE != 0 {
            return Err(value);
        }
        let mut value = Some(value);
        let lodged = self.seized(|berth| match value.take() {
            // By an exchange, since a pool that is being closed may take it at once.
            Some(value) if berth.is_free() => berth.displace(value).map_or(Ok(()), Err),
            value => value.map_or(Ok(()), Err),
        });
        lodged.unwrap_or_else(|| value.map_or(Ok(()), Err))
    }

    fn seized<R>(&self, at_the_berth: impl FnOnce(&Berth<T>) -> R) -> Option<R> {
        let Furniture { state, busy, berth, .. } = &*self.0;
        // Acquire: pairs with `vacate`, and with the end of the last one's turn below.
        let before = state.fetch_or(SEIZED, AcqRel);
        if before & SEIZED != 0 {
            return None;
        }
        if before & OCCUPIED != 0 {
            // Between the write above and the read below: pairs with the light ones of the tenant.
            barrier::heavy();
        }
        // Acquire: pairs with the tenant's store, before which it was at the berth.
        let done = (!busy.load(Acquire)).then(|| at_the_berth(berth));
        // Release: pairs with the tenant's load, and with the one above.
        state.fetch_and(!SEIZED, AcqRel);
        done
    }

    /// From now on nothing stays here, once the caller has said [`barrier::heavy`] and [`clear`](Self::clear)ed it.
    pub(super) fn close(&self) {
        self.0.state.fetch_or(CLOSED, AcqRel);
    }

    /// Takes what is left at a closed desk. `None` also if its tenant is busy, who will do the same.
    pub(super) fn clear(&self) -> Option<Box<T>> {
        // Acquire: pairs with the tenant's store, before which it was at the berth.
        if self.0.busy.load(Acquire) { None } else { self.0.berth.take() }
    }
}

/// The tenant of a desk; not to be sent to another thread.
pub(super) struct Tenant<T> {
    desk: NonNull<Desk<T>>,
    one_thread: PhantomData<*mut ()>,
}

impl<T> Tenant<T> {
    /// # Safety
    /// The caller's thread has occupied the desk, and neither vacates it nor lets go of it as long as this is used. As long
    /// as the desk is not closed, nothing but checkouts [`take`](Self::take)s.
    #[inline]
    pub(super) unsafe fn of(desk: NonNull<Desk<T>>) -> Self {
        Self { desk, one_thread: PhantomData }
    }

    #[inline]
    fn furniture(&self) -> &Furniture<T> {
        // SAFETY: by the promise of whoever made the tenant, the desk is there.
        &unsafe { self.desk.as_ref() }.0
    }

    /// Takes what is there, for a checkout: not once the pool is closed.
    #[inline]
    pub(super) fn take(&self) -> Option<Box<T>> {
        // SAFETY: nobody else is at the berth (see the module): who seizes is not, and the pool is not closed, by the
        // promise of whoever made the tenant.
        self.undisturbed(|berth| unsafe { berth.take_alone() }).flatten()
    }

    /// Leaves a value, if nothing is there. The value may be what keeps the pool alive: afterwards the desk is there,
    /// and the pool need not be. To be followed by [`drop_what_is_late`](Self::drop_what_is_late).
    #[inline]
    pub(super) fn put(&self, value: Box<T>) -> Result<(), Box<T>> {
        let mut value = Some(value);
        match self.undisturbed(|berth| value.take().map(|value| berth.leave(value))) {
            Some(Some(put)) => put,
            _ => Err(value.expect("nothing was done with it")),
        }
    }

    /// Leaves a value, and takes what is there; gives it back if that cannot be. To be followed by
    /// [`drop_what_is_late`](Self::drop_what_is_late).
    pub(super) fn displace(&self, value: Box<T>) -> Result<Option<Box<T>>, Box<T>> {
        let mut value = Some(value);
        match self.undisturbed(|berth| value.take().map(|value| berth.displace(value))) {
            Some(Some(older)) => Ok(older),
            _ => Err(value.expect("nothing was done with it")),
        }
    }

    /// What was left, and is not to stay, since the pool has been closed, is taken back.
    #[inline]
    pub(super) fn drop_what_is_late(&self) {
        // Between `busy` and the read below: pairs with the heavy one of who closes.
        barrier::light();
        // Relaxed: it is only asked whether.
        if self.furniture().state.load(Relaxed) & CLOSED != 0 {
            drop_late(&self.furniture().berth);
        }
    }

    #[inline]
    fn undisturbed<R>(&self, at_the_berth: impl FnOnce(&Berth<T>) -> R) -> Option<R> {
        let Furniture { state, busy, berth, .. } = self.furniture();
        // Relaxed: ordered by the barrier.
        busy.store(true, Relaxed);
        // Between the write above and the read below: pairs with the heavy one of who seizes.
        barrier::light();
        // Acquire: pairs with the end of `seized`.
        let done = (state.load(Acquire) == OCCUPIED).then(|| at_the_berth(berth));
        // Release: pairs with the load of who seizes.
        busy.store(false, Release);
        done
    }

    #[inline]
    pub(super) fn count(&self, event: Event) {
        self.furniture().counters.count(event, Writers::One);
    }
}

#[cold]
#[inline(never)]
fn drop_late<T>(berth: &Berth<T>) {
    if let Some(late) = berth.take() {
        drop_logged(late);
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests;
