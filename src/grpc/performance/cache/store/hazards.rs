//! Who looks at which entry, and when one that was taken out may be freed: hazard pointers, whose fences are a
//! [`barrier`](crate::platform::barrier) of a pair.
//!
//! ```text
//!  who looks, with each hit              who has taken entries out, once for many
//!  place = entry                         (where it was, there is something else)
//!  ─ light fence ─                       ─ heavy fence ─
//!  still there? then look                in no place? then free it
//!  place = nothing                       else it waits on
//! ```
//! **No entry is freed under a look.** Of a pointer in a place and the entry's being gone, one at least is seen by the other
//! side, since between the write and the read of each lies a fence of the pair. Who finds the entry gone does not look at
//! it. A thread has several [`PLACES`], and a record of them that only it writes to: plain stores to a cache line of its own.
//!
//! **What waits is bounded, and found.** Entries that were taken out wait in the record of the thread that did it, until
//! their weights come to [`ENOUGH`]; then this thread frees them. But any thread may: who needs the room that they
//! still take takes them all out of all records, by one exchange each, pays for one heavy fence, and frees what
//! nobody looks at. So a thread that is stopped while it looks keeps from being freed what it looks at, four entries at
//! most; one that is stopped while it frees, what it has taken out of the records; and nobody waits.
//!
//! **Threads that end** leave their records to those that start later, with what waits in them (see
//! [`PerThread`](crate::platform::per_thread)). What waits when all of it goes is freed with it.

#![allow(unsafe_code)]

use std::{
    cell::Cell,
    marker::PhantomData,
    ops::Deref,
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use crossbeam::utils::CachePadded;

use crate::platform::{atomic::AtomicPtr, barrier::Fences, per_thread::PerThread};

/// Entries that one thread looks at in one operation: what it has stored, what it moves, and what it finds meanwhile.
const PLACES: usize = 4;
/// Weights that wait for one heavy fence, which takes as long as 50 insertions without it would.
pub(super) const ENOUGH: u32 = 64;

/// A value that may be looked at, and can wait to be freed.
pub(super) struct Node<T> {
    value: T,
    /// What waits behind it; for its owner alone.
    next: Cell<*mut Self>,
}

impl<T> Node<T> {
    /// Alone with its owner.
    pub(super) fn new(value: T) -> NonNull<Self> {
        NonNull::from(Box::leak(Box::new(Self { value, next: Cell::new(ptr::null_mut()) })))
    }

    /// # Safety
    /// Nobody else has the node, or ever finds it again.
    pub(super) unsafe fn into_value(node: NonNull<Self>) -> T {
        // SAFETY: it came from a box, in `new`, and is the caller's.
        unsafe { Box::from_raw(node.as_ptr()) }.value
    }

    /// # Safety
    /// The node is there for as long as what is returned is used.
    #[inline]
    pub(super) unsafe fn value<'a>(node: NonNull<Self>) -> &'a T {
        // SAFETY: by the caller's promise. The owner may write the field beside it meanwhile.
        unsafe { &*(&raw const (*node.as_ptr()).value) }
    }
}

/// See the module.
pub(super) struct Hazards<T: Send + Sync> {
    records: PerThread<CachePadded<Record<T>>>,
    fences: Fences,
}

struct Record<T> {
    places: [AtomicPtr<Node<T>>; PLACES],
    /// Which of them are in use, one bit each. Relaxed: written by the record's thread alone.
    taken: AtomicU32,
    /// The same.
    weight: AtomicU32,
    /// A stack, onto which its thread pushes, and from which whoever takes takes all. Each node is its owner's.
    waiting: AtomicPtr<Node<T>>,
}

impl<T> Default for Record<T> {
    fn default() -> Self {
        Self {
            places: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            taken: AtomicU32::new(0),
            weight: AtomicU32::new(0),
            waiting: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

impl<T: Send + Sync> Hazards<T> {
    pub(super) fn new() -> Self {
        Self { records: PerThread::default(), fences: Fences::choose() }
    }

    /// A place of this thread, pointing at nothing yet.
    #[inline]
    pub(super) fn hazard(&self) -> Hazard<'_, T> {
        let record = self.records.get_or_default();
        let taken = record.taken.load(Relaxed);
        let number = taken.trailing_ones() as usize;
        let place = record.places.get(number).expect("no operation looks at more at a time");
        let bit = 1 << number;
        record.taken.store(taken | bit, Relaxed);
        Hazard { record, place, bit, fences: self.fences, one_thread: PhantomData }
    }

    /// Has what was taken out freed once nobody looks at it. True: enough waits to be [`reclaim`](Self::reclaim)ed.
    #[must_use]
    pub(super) fn retire(&self, unlinked: Unlinked<T>, weight: u32) -> bool {
        let record = self.records.get_or_default();
        let emptied = record.push(unlinked.0);
        let before = if emptied { 0 } else { record.weight.load(Relaxed) };
        let weight = before.saturating_add(weight);
        record.weight.store(weight, Relaxed);
        weight >= ENOUGH
    }

    /// Frees what this thread has retired, as far as nobody looks at it.
    pub(super) fn reclaim(&self, free: impl FnMut(T)) {
        self.free(self.records.get_or_default().take().collect(), free);
    }

    /// Frees what anybody has retired.
    pub(super) fn reclaim_all(&self, free: impl FnMut(T)) {
        self.free(self.records.iter().flat_map(|record| record.take()).collect(), free);
    }

    fn free(&self, unlinked: Vec<Unlinked<T>>, mut free: impl FnMut(T)) {
        if unlinked.is_empty() {
            return;
        }
        // Between the ends of them all and the looks at the places: pairs with the light one in `point_at`. Who took
        // them out has done so before, since they came through `waiting`.
        self.fences.heavy();
        // Acquire: pairs with who looks no more, and with who looks at something else by now.
        let places = self.records.iter().flat_map(|record| &record.places);
        let looked_at: Vec<_> =
            places.map(|place| place.load(Acquire)).filter(|node| !node.is_null()).collect();
        let own = self.records.get_or_default();
        for Unlinked(node) in unlinked {
            if looked_at.contains(&node.as_ptr()) {
                own.push(node);
            } else {
                // SAFETY: it was taken out, so that nobody finds it, and who found it before does not look at it.
                free(unsafe { Node::into_value(node) });
            }
        }
    }
}

impl<T: Send + Sync> Drop for Hazards<T> {
    fn drop(&mut self) {
        for Unlinked(node) in self.records.iter().flat_map(|record| record.take()) {
            // SAFETY: it was taken out, and whoever looks borrows these hazards.
            drop(unsafe { Node::into_value(node) });
        }
    }
}

impl<T> Record<T> {
    /// For the record's thread. Whether there was nothing before.
    fn push(&self, node: NonNull<Node<T>>) -> bool {
        let mut top = self.waiting.load(Relaxed);
        loop {
            // SAFETY: the node is there, and its owner, who pushes it, is alone with this field.
            unsafe { &*(&raw const (*node.as_ptr()).next) }.set(top);
            // Release: pairs with `take`. No node comes back under a stale `top`: nobody else pushes.
            match self.waiting.compare_exchange(top, node.as_ptr(), Release, Relaxed) {
                Ok(_) => return top.is_null(),
                Err(now) => top = now,
            }
        }
    }

    /// All that waits, which is the caller's.
    fn take(&self) -> impl Iterator<Item = Unlinked<T>> + use<T> {
        // To spare the records of others an exchange.
        let waits = !self.waiting.load(Relaxed).is_null();
        let top = if waits { self.waiting.swap(ptr::null_mut(), Acquire) } else { ptr::null_mut() };
        let next = |Unlinked(node): &Unlinked<T>| {
            // SAFETY: the node is there, and its owner is alone with this field.
            NonNull::new(unsafe { &*(&raw const (*node.as_ptr()).next) }.get()).map(Unlinked)
        };
        std::iter::successors(NonNull::new(top).map(Unlinked), next)
    }
}

/// A place that points at one node at a time.
pub(super) struct Hazard<'a, T> {
    record: &'a Record<T>,
    place: &'a AtomicPtr<Node<T>>,
    bit: u32,
    fences: Fences,
    one_thread: PhantomData<*mut ()>,
}

impl<T> Hazard<'_, T> {
    /// What is still to be found after this is not freed as long as the place points at it.
    #[inline]
    pub(super) fn point_at(&self, node: *mut Node<T>) {
        self.hold(node);
        self.fences.light();
    }

    /// The same for a node that nobody else has yet, and that is not looked for.
    #[inline]
    pub(super) fn hold(&self, node: *mut Node<T>) {
        // Release: pairs with who frees what this pointed at before.
        self.place.store(node, Release);
    }
}

impl<T> Drop for Hazard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.hold(ptr::null_mut());
        self.record.taken.store(self.record.taken.load(Relaxed) & !self.bit, Relaxed);
    }
}

/// A node that nobody finds any more, and that some may still look at; its owner's, until it is retired.
#[must_use]
pub(super) struct Unlinked<T>(NonNull<Node<T>>);

impl<T> Unlinked<T> {
    /// # Safety
    /// The caller has taken the node out of where others found it, alone; it came from [`Node::new`].
    pub(super) unsafe fn new(node: NonNull<Node<T>>) -> Self {
        Self(node)
    }
}

impl<T> Deref for Unlinked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: it is freed when it is retired, which takes this.
        unsafe { Node::value(self.0) }
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests;
