//! Who looks at which entry, and when one that was taken out may be freed: hazard pointers.
//!
//! ```text
//!  who looks, with each hit              who has taken entries out, once for many
//!  place = entry                         (where it was, there is something else)
//!  ─ fence ─                             ─ fence ─
//!  still there? then look                in no place? then free it
//!  place = nothing                       else it waits on
//! ```
//! **No entry is freed under a look.** Of a pointer in a place and the entry's being gone, one at least is seen by the other
//! side, since between the write and the read of each lies a SeqCst fence. Who finds the entry gone does not look at
//! it. A thread has several [`PLACES`], and a record of them that only it writes to: plain stores to a cache line of its own.
//!
//! **What waits is bounded, and found.** Entries that were taken out wait in the record of the thread that did it, until
//! their weights come to [`ENOUGH`]; then this thread finds out which of them are *spare*, and frees one for each that it
//! stores next: so the heap gets back what it is about to be asked for, and neither needs its locks for that. But any thread
//! may free them: who needs the room that they still take takes all of them out of all records, by two exchanges each, and
//! frees what nobody looks at. So a thread that is stopped while it looks keeps from being freed what it looks at, four entries at
//! most; one that is stopped while it frees, what it has taken out of the records; and nobody waits.
//!
//! **Why no `membarrier(2)`**, which would spare each hit its fence, as it does in [`barrier`](crate::platform::barrier). A hit
//! waits for its entry to come from memory anyway, and no gain was to be seen. But who calls it waits for all cores, and, in
//! the kernel, for others who call it: one of them that is stopped there would stall those who store.
//!
//! **Threads that end** leave their records to those that start later, with what waits in them (see
//! [`PerThread`](crate::platform::per_thread)). What waits when all of it goes is freed with it.

#![allow(unsafe_code)]

use std::{
    array,
    marker::PhantomData,
    ops::Deref,
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
    },
};

use crossbeam::utils::CachePadded;

use super::{
    super::stats::Counters,
    nodes::{Chain, Node, Owned, Sole, Stack},
};
use crate::platform::{
    atomic::{AtomicPtr, fence},
    per_thread::PerThread,
};

/// Entries that one thread looks at in one operation: what it has stored, what it moves, and what it finds meanwhile.
const PLACES: usize = 4;
/// Weights that wait until the places of all threads are looked at: so rarely that it costs an insertion a few nanoseconds.
pub(super) const ENOUGH: u32 = 16;

/// See the module.
pub(super) struct Hazards<T: Send + Sync> {
    records: PerThread<CachePadded<Record<T>>>,
}

struct Record<T> {
    places: [AtomicPtr<Node<T>>; PLACES],
    /// Which of them are in use, one bit each. Relaxed: written by the record's thread alone.
    taken: AtomicU32,
    /// The same.
    weight: AtomicU32,
    /// What was taken out, and may still be looked at.
    waiting: Stack<T>,
    /// What nobody looks at.
    spare: Stack<T>,
    /// Nothing to do with the others, but each operation counts something, and has looked up the record anyway.
    counters: Counters,
}

impl<T> Default for Record<T> {
    fn default() -> Self {
        Self {
            places: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            taken: AtomicU32::new(0),
            weight: AtomicU32::new(0),
            waiting: Stack::default(),
            spare: Stack::default(),
            counters: Counters::default(),
        }
    }
}

impl<T: Send + Sync> Hazards<T> {
    pub(super) fn new() -> Self {
        Self { records: PerThread::default() }
    }

    /// This thread's record.
    #[inline]
    fn own(&self) -> &Record<T> {
        self.records.get().unwrap_or_else(|| self.make_own())
    }

    /// This thread's.
    #[inline]
    pub(super) fn counters(&self) -> &Counters {
        &self.own().counters
    }

    /// Those of all threads.
    pub(super) fn all_counters(&self) -> impl Iterator<Item = &Counters> {
        self.records.iter().map(|record| &record.counters)
    }

    /// What is given out is looked up as ever: the reference that comes of making it is, to Miri, not to be used beside it.
    #[cold]
    #[inline(never)]
    fn make_own(&self) -> &CachePadded<Record<T>> {
        self.records.get_or_default();
        self.records.get().expect("it has just been made")
    }

    /// A place of this thread, pointing at nothing yet.
    #[inline(always)]
    pub(super) fn hazard(&self) -> Hazard<'_, T> {
        let record = self.own();
        let taken = record.taken.load(Relaxed);
        let number = taken.trailing_ones() as usize;
        let place = record.places.get(number).expect("no operation looks at more at a time");
        let bit = 1 << number;
        record.taken.store(taken | bit, Relaxed);
        Hazard { record, place, bit, one_thread: PhantomData }
    }

    /// Has what was taken out wait until nobody looks at it. True: enough waits to be [`reclaim`](Self::reclaim)ed.
    #[must_use]
    pub(super) fn retire(&self, unlinked: Unlinked<T>, weight: u32) -> bool {
        let record = self.own();
        let was_empty = record.waiting.push(unlinked.0);
        // Others may have taken what it stands for.
        let before = if was_empty { 0 } else { record.weight.load(Relaxed) };
        let weight = before.saturating_add(weight);
        record.weight.store(weight, Relaxed);
        weight >= ENOUGH
    }

    /// One that this thread has found to be spare, if there is any; and a look at the one that comes next.
    pub(super) fn spare(&self, next: impl FnOnce(&T)) -> Option<Sole<T>> {
        // SAFETY: what is spare nobody looks at.
        self.own().spare.pop(next).map(|spare| unsafe { spare.into_sole() })
    }

    /// Finds out which of those that this thread has retired are spare by now. Frees what was so before.
    pub(super) fn reclaim(&self, free: impl FnMut(Sole<T>)) {
        let own = self.own();
        // SAFETY: what is spare nobody looks at.
        own.spare.take().map(|spare| unsafe { spare.into_sole() }).for_each(free);
        // What is looked at, and so goes on waiting, is not to have the next one looked for at once.
        own.weight.store(0, Relaxed);
        let mut spare = Chain::default();
        self.part(own.waiting.take(), |node| spare.push(node));
        own.spare.refill(spare);
    }

    /// Frees what anybody has retired.
    pub(super) fn reclaim_all(&self, mut free: impl FnMut(Sole<T>)) {
        // SAFETY: what is spare, or has been found to be, nobody looks at.
        let mut free = |spare: Owned<T>| free(unsafe { spare.into_sole() });
        for record in self.records.iter() {
            record.spare.take().for_each(&mut free);
            self.part(record.waiting.take(), &mut free);
        }
    }

    /// Hands on what nobody looks at; what somebody does goes on waiting. All of it has been taken already.
    fn part(&self, waiting: Chain<T>, mut spare: impl FnMut(Owned<T>)) {
        if waiting.is_empty() {
            return;
        }
        // Between the ends of all of them and the looks at the places: pairs with the one in `point_at`. Those whom
        // others took out have come here by way of `waiting`, after that.
        fence(SeqCst);
        // Acquire: pairs with who looks no more, and with who looks at something else by now.
        let places = self.records.iter().flat_map(|record| &record.places).map(|place| place.load(Acquire));
        let looked_at: Vec<_> = places.filter(|node| !node.is_null()).collect();
        let own = self.own();
        for node in waiting {
            if looked_at.contains(&node.as_raw().as_ptr()) {
                own.waiting.push(node);
            } else {
                spare(node);
            }
        }
    }
}

impl<T: Send + Sync> Drop for Hazards<T> {
    fn drop(&mut self) {
        for record in self.records.iter() {
            // SAFETY: whoever looks borrows these hazards.
            record
                .waiting
                .take()
                .chain(record.spare.take())
                .for_each(|node| drop(unsafe { node.into_sole() }));
        }
    }
}

/// A place that points at one node at a time.
pub(super) struct Hazard<'a, T> {
    record: &'a Record<T>,
    place: &'a AtomicPtr<Node<T>>,
    bit: u32,
    one_thread: PhantomData<*mut ()>,
}

impl<T> Hazard<'_, T> {
    /// What is still to be found after this is not freed as long as the place points at it.
    #[inline]
    pub(super) fn point_at(&self, node: *mut Node<T>) {
        self.hold(node);
        // Between the write above and the look that follows: pairs with the one in `part`.
        fence(SeqCst);
    }

    /// The same for a node that nobody else has yet, and that is not looked for.
    #[inline]
    pub(super) fn hold(&self, node: *mut Node<T>) {
        // Release: pairs with who frees what this pointed at before.
        self.place.store(node, Release);
    }
}

impl<'a, T> Hazard<'a, T> {
    /// This thread's.
    #[inline]
    pub(super) fn counters(&self) -> &'a Counters {
        &self.record.counters
    }
}

impl<T> Drop for Hazard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.hold(ptr::null_mut());
        self.record.taken.store(self.record.taken.load(Relaxed) & !self.bit, Relaxed);
    }
}

/// A node that nobody finds any more, and that some may still look at. Only dropped it is leaked.
#[must_use]
pub(super) struct Unlinked<T>(Owned<T>);

impl<T> Unlinked<T> {
    /// # Safety
    /// The caller has taken the node out of where others found it, alone, and its owner, who put it there, has forgotten it.
    pub(super) unsafe fn new(node: NonNull<Node<T>>) -> Self {
        // SAFETY: by the caller's promise.
        Self(unsafe { Owned::from_raw(node) })
    }
}

impl<T> Deref for Unlinked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.get()
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests;
