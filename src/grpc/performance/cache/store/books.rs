//! What there is, and what it takes: the shards' budgets, and the entries that were taken out and may still be looked at.
//!
//! An entry counts as one from when it gets its slot until it has left it, and by its bytes until it is freed: so what
//! waits to be freed is within the budget, and whoever needs its bytes has it freed (see [`hazards`](super::hazards)).

use std::{iter, sync::atomic::AtomicUsize};

use crossbeam::utils::CachePadded;

use super::{
    super::key::CacheKey,
    budget::Budget,
    hazards::{ENOUGH, Hazards, Unlinked},
    nodes::Sole,
    nursery,
    slot::{Entry, Fresh},
    table::Home,
};
use crate::platform::prefetch::{prefetch, prefetch_to_write};

/// Part of its shard that a thread may let wait.
const WAITING: u64 = 64;
/// Bytes of a cache line.
const LINE: usize = 64;
/// Those of a value that is to be stored which are fetched ahead; 1 KiB, of which a core can have them all on their way.
const LINES_AHEAD: usize = 16;

/// A part of the cache that has a budget of its own.
pub(super) struct Shard {
    pub(super) budget: Budget,
    /// The set that is looked at next when another than the own has to give way.
    pub(super) hand: AtomicUsize,
}

/// See the module.
pub(super) struct Books {
    shards: Box<[CachePadded<Shard>]>,
    hazards: Hazards<Entry>,
}

impl Books {
    /// Room for so many entries and bytes in each of so many shards.
    pub(super) fn new(shards: usize, entries: u64, bytes: u64) -> Self {
        let shard =
            || CachePadded::new(Shard { budget: Budget::new(entries, bytes), hand: AtomicUsize::new(0) });
        Self { shards: iter::repeat_with(shard).take(shards).collect(), hazards: Hazards::new() }
    }

    pub(super) fn shards(&self) -> &[CachePadded<Shard>] {
        &self.shards
    }

    pub(super) fn hazards(&self) -> &Hazards<Entry> {
        &self.hazards
    }

    fn of(&self, key: &CacheKey) -> &Budget {
        &self.shards[Home::of(key, self.shards.len()).shard].budget
    }

    /// An entry that is to be stored. All of it in the caller, where its parts are at hand: to be handed on they would be written
    /// one by one, and read at once by two words at a time; for that the processor waits until they have left for the cache.
    #[inline(always)]
    pub(super) fn fresh(&self, entry: Entry) -> Fresh {
        self.make_way();
        Fresh::new(entry)
    }

    /// Frees an entry that this thread has found to be spare, if there is any: so the heap gets back what it is about to be
    /// asked for. What the next one will get comes from memory until then, to be written to.
    fn make_way(&self) {
        let next = |next: &Entry| {
            let lines = next.stored.data().chunks(LINE).take(LINES_AHEAD);
            lines.for_each(|line| prefetch_to_write(line.as_ptr()));
        };
        match self.hazards.spare(next) {
            Some(old) => self.free(old),
            None => nursery::make_place(),
        }
    }

    /// An entry has left its slot, which is empty.
    pub(super) fn removed(&self, entry: Unlinked<Entry>) {
        self.of(&entry.key).give_back_entry();
        self.retire(entry);
    }

    /// An entry has left its slot to another one.
    pub(super) fn retire(&self, entry: Unlinked<Entry>) {
        // Soon it goes back to the heap, which looks at what it has noted just before it, and writes to its beginning.
        let start = entry.stored.data().as_ptr();
        prefetch(start.wrapping_sub(size_of::<usize>()));
        prefetch(start);
        // A few large ones are as much as many small ones.
        let part = self.of(&entry.key).byte_limit() / (WAITING * u64::from(ENOUGH));
        let weight = 1 + entry.stored.size() / part.max(1);
        if self.hazards.retire(entry, u32::try_from(weight).unwrap_or(u32::MAX)) {
            self.hazards.reclaim(|entry| self.free(entry));
        }
    }

    /// Frees what was taken out, by whomever, and nobody looks at.
    pub(super) fn reclaim(&self) {
        self.hazards.reclaim_all(|entry| self.free(entry));
    }

    fn free(&self, entry: Sole<Entry>) {
        let (budget, size) = (self.of(&entry.key), entry.stored.size());
        drop(entry);
        budget.give_back_bytes(size);
    }
}
