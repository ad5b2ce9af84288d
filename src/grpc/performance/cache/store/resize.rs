//! Other budgets for a store that is in use.
//!
//! **Growing** may need a larger table. Entries are moved to it one by one, and each is in one of three states:
//! ```text
//!            old slot    new slot
//!  before    open        none
//!  copied    open        hidden     found by whoever removes or replaces, not by readers
//!  cut off   closed      hidden
//!  after     closed      open
//! ```
//! Whoever removes or replaces looks into the old table first. If it finds the old slot open it closes it: the move fails
//! to, and closes its copy. If it finds it closed the copy is in the new table by then, hidden or open, and is closed
//! there; a copy that has been closed is never revealed. So nothing that was removed comes back, and readers miss the
//! entry for the moment in which it is cut off.
//!
//! An insertion that ends, and finds that its table was left behind, moves what it stored in the same way; and since its
//! table may be out of everybody's sight by then, it closes what else there is for the key before it reveals the copy.
//! It may find there what another insertion of the key has stored, which was as late, and moves that; so whoever removes
//! looks into all tables, also those that are out of sight.
//!
//! **Shrinking** lowers the limits, and then throws out what is too much, the least used first. An insertion that took
//! its room by the old limits either is in its slot by then, or sees the new ones afterwards, and evicts.

use std::iter;

use super::{
    super::stats::Count,
    SHARD_BYTES_MIN, Store,
    admission::Insertion,
    books::Shard,
    entries_per_shard,
    policy::MOST_USES,
    set::{Mark, Resident, Set, Taken, Which},
    slot::Entry,
    table::{Home, Table},
};
use crate::grpc::performance::{
    config::{ConfigError, OptimizationConfig},
    error::OptimizationError,
};

impl Store {
    /// Changes both budgets in place. What does not fit any more is evicted, the least useful first.
    pub(in super::super) fn resize(&self, entries: usize, bytes: usize) -> Result<(), OptimizationError> {
        let shards = self.books.shards().len();
        check(entries, bytes, shards)?;
        let _one_at_a_time = self.resizing.lock();
        let room = entries_per_shard(entries, bytes, shards);
        for shard in self.books.shards() {
            shard.budget.set_limits(room as u64, (bytes / shards) as u64);
        }
        let grown = self.tables.grow(room);
        if let Some((smaller, larger)) = grown {
            for (number, shard) in self.books.shards().iter().enumerate() {
                smaller.shard(number).iter().for_each(|set| self.move_all(set, shard, larger));
            }
            self.tables.emptied();
        }
        for (number, shard) in self.books.shards().iter().enumerate() {
            self.shrink(number, shard);
        }
        Ok(())
    }

    fn move_all(&self, set: &Set, shard: &Shard, larger: &Table) {
        // Whoever has not yet revealed an entry sees the new generation when it does, and begins anew.
        for old in set.open(&self.books) {
            if let Some(copy) = self.cut_over(&old, shard, larger) {
                copy.reveal();
            }
            // One at a time is there twice, and not as many as wait otherwise.
            drop(old);
            self.books.reclaim();
        }
    }

    /// Puts a hidden copy into a larger table, and closes the original. `None`: somebody else did, or there is no place.
    fn cut_over<'a>(&'a self, old: &Resident<'_>, shard: &Shard, larger: &'a Table) -> Option<Resident<'a>> {
        let Entry { key, ref stored } = *old.entry();
        let size = stored.size();
        let to = larger.set(Home::of(&key, self.books.shards().len()));
        // A copy of the bytes, too, since each is counted with its entry; the old one's are there until it is freed.
        shard.budget.overdraw(size);
        let copy = self.books.fresh(Entry { key, stored: stored.clone() });
        match to.put(copy, Mark::of(&key), old.standing(), &self.books) {
            Ok(copy) if old.close() => return Some(copy),
            Ok(copy) => drop(copy.close()),
            Err(_) => {
                shard.budget.give_back_entry();
                shard.budget.give_back_bytes(size);
                if old.close() {
                    self.counters().add(Count::Evictions, 1);
                }
            }
        }
        None
    }

    /// The table that an insertion has put its answer into may have been left behind: what lies there for the key follows.
    pub(super) fn follow(&self, insertion: &mut Insertion<'_>) {
        loop {
            let left = insertion.generation;
            insertion.generation = self.tables.generation();
            if insertion.generation == left {
                return;
            }
            let newest = self.tables.of(insertion.generation);
            for old in insertion.request.find(self.tables.of(left), &self.books, Which::Readable) {
                if let Some(copy) = self.cut_over(&old, insertion.request.shard, newest) {
                    self.publish(insertion, &copy);
                }
            }
        }
    }

    fn shrink(&self, number: usize, shard: &Shard) {
        let sets = || self.tables.in_use().flat_map(|(_, table)| table.shard(number));
        let used_up_to =
            |uses| sets().flat_map(move |set| iter::from_fn(move || set.take_used_up_to(uses, &self.books)));
        let mut least_used = (0..=MOST_USES).flat_map(used_up_to);
        self.shrink_to_limits(shard, || {
            let victim = least_used.next()?;
            self.counters().add(Count::Evictions, 1);
            Some(Taken::release(victim))
        });
    }
}

fn check(entries: usize, bytes: usize, shards: usize) -> Result<(), ConfigError> {
    OptimizationConfig {
        cache_capacity: entries,
        cache_byte_capacity: bytes,
        ..OptimizationConfig::default()
    }
    .validate()?;
    let least = |field, value: usize, least: usize| {
        if value >= least {
            return Ok(());
        }
        let expected = format!("it must be at least {least}, since the cache was made with {shards} shards");
        Err(ConfigError { field, value: value.to_string(), expected })
    };
    least("cache_capacity", entries, shards)?;
    least("cache_byte_capacity", bytes, shards * SHARD_BYTES_MIN)
}
