//! Where a key belongs: the shard, by which budgets are divided, and a set within it; and larger tables after smaller
//! ones.
//!
//! A table is as large as its sets are, for good. When more entries are to fit than it has room for, a larger table is
//! made, and what lies in the smaller one is moved (see [`Store::resize`](super::Store::resize)); until that has ended,
//! look-ups go to both. A table is at least twice the one before it, so all together take at most twice as much as the
//! last; they are kept until the store goes.

use std::{
    array, iter,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use super::{super::key::CacheKey, set::Set};

/// Entries that a set holds on average. A set has room for 64, which chance exceeds in 1% of the cases.
const SET_ENTRIES: usize = 48;
/// Up to so many entries all are to find room, whatever chance does.
const FEW_ENTRIES: usize = 256;
/// The same as [`SET_ENTRIES`], for few.
const SET_FEW_ENTRIES: usize = 24;
/// Each is twice as large as the one before, or more.
const MOST_TABLES: usize = 32;

/// Where a key belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Home {
    pub(super) shard: usize,
    /// What is left of the bits when the shard has been chosen.
    rest: u64,
}

impl Home {
    pub(super) fn of(key: &CacheKey, shards: usize) -> Self {
        let (shard, rest) = split(key.placement(), shards);
        Self { shard, rest }
    }
}

/// Which of `parts` equal parts of all numbers this one falls into, and where in that part, stretched to all numbers.
fn split(bits: u64, parts: usize) -> (usize, u64) {
    let product = u128::from(bits) * parts as u128;
    ((product >> 64) as usize, product as u64)
}

/// Sets, as many for each shard.
pub(super) struct Table {
    sets: Box<[Set]>,
    sets_per_shard: usize,
}

impl Table {
    /// Room for so many entries in each of so many shards.
    fn new(shards: usize, entries: usize) -> Self {
        let to_a_set = if entries < FEW_ENTRIES { SET_FEW_ENTRIES } else { SET_ENTRIES };
        let sets_per_shard = entries.div_ceil(to_a_set).max(1);
        Self { sets: iter::repeat_with(Set::default).take(shards * sets_per_shard).collect(), sets_per_shard }
    }

    /// The set of a key.
    pub(super) fn set(&self, home: Home) -> &Set {
        &self.shard(home.shard)[split(home.rest, self.sets_per_shard).0]
    }

    /// The sets of a shard.
    pub(super) fn shard(&self, shard: usize) -> &[Set] {
        &self.sets[shard * self.sets_per_shard..][..self.sets_per_shard]
    }
}

/// The tables that were made so far, of which one is in use, but for the moments of growing.
pub(super) struct Tables {
    made: [OnceLock<Table>; MOST_TABLES],
    /// Both only grow. SeqCst: see [`Generation`].
    oldest: AtomicUsize,
    newest: AtomicUsize,
    shards: usize,
    /// What the newest has room for in each shard.
    room: AtomicUsize,
}

/// Which table is the newest. An operation that changes entries works by one generation, and looks afterwards whether
/// it is still the one: if not it does what is to be done again. Growing makes the new generation known, and then moves
/// entries. All of these are SeqCst, those of the slots included, so either the operation sees the new generation, or the
/// move sees what the operation did; and an operation that sees what the move did sees the new generation, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(usize);

impl Tables {
    pub(super) fn new(shards: usize, entries: usize) -> Self {
        let tables = Self {
            made: array::from_fn(|_| OnceLock::new()),
            oldest: AtomicUsize::new(0),
            newest: AtomicUsize::new(0),
            shards,
            room: AtomicUsize::new(entries),
        };
        tables.made[0].get_or_init(|| Table::new(shards, entries));
        tables
    }

    pub(super) fn generation(&self) -> Generation {
        Generation(self.newest.load(SeqCst))
    }

    pub(super) fn of(&self, generation: Generation) -> &Table {
        self.nth(generation.0)
    }

    /// Every table that may have entries, the newest first.
    pub(super) fn in_use(&self) -> impl DoubleEndedIterator<Item = (Generation, &Table)> {
        // In this order: the oldest is emptied into one that the second load sees.
        let oldest = self.oldest.load(SeqCst);
        (oldest..=self.newest.load(SeqCst)).rev().map(|n| (Generation(n), self.nth(n)))
    }

    /// Every table, the oldest first: also those that are out of use, since who is late may have put something there.
    pub(super) fn all(&self) -> impl Iterator<Item = &Table> {
        (0..=self.newest.load(SeqCst)).map(|n| self.nth(n))
    }

    fn nth(&self, n: usize) -> &Table {
        self.made[n].get().expect("a table is made before its number is told")
    }

    /// Makes a table with room for so many entries in each shard, if the newest has less. Gives it, after the one that
    /// is to be emptied. One thread at a time.
    pub(super) fn grow(&self, entries: usize) -> Option<(&Table, &Table)> {
        let room = self.room.load(SeqCst);
        let newest = self.newest.load(SeqCst);
        if entries <= room || newest + 1 == MOST_TABLES {
            return None;
        }
        let room = entries.max(2 * room);
        self.room.store(room, SeqCst);
        let larger = self.made[newest + 1].get_or_init(|| Table::new(self.shards, room));
        self.newest.store(newest + 1, SeqCst);
        Some((self.nth(newest), larger))
    }

    /// All but the newest are empty.
    pub(super) fn emptied(&self) {
        self.oldest.store(self.newest.load(SeqCst), SeqCst);
    }
}

#[cfg(test)]
impl Tables {
    /// Bytes that the tables take, values aside.
    pub(super) fn memory(&self) -> usize {
        let sets = self.in_use().flat_map(|(_, table)| &table.sets);
        sets.map(Set::memory).sum()
    }
}
