//! Where answers lie: a table of sets with a time to live, and a budget in entries and in bytes. No operation takes a
//! lock, or waits for another thread.
//!
//! | part | what it is |
//! |---|---|
//! | `slot` | one entry, or none: a pointer |
//! | `nodes` | entries that one can look at while another has them |
//! | `nursery` | memory for nodes, side by side |
//! | `hazards` | who looks at which entry, and when one that was taken out may be freed |
//! | `policy` | which entry of a set goes next: quick_cache's policy |
//! | `tags` | what the entries of a set are found by |
//! | `set` | 64 slots, their tags, and the policy's notes |
//! | `table` | which set a key belongs to |
//! | `budget` | what a shard may hold |
//! | `books` | the shards' budgets, and what waits to be freed |
//! | `admission` | room for an entry, and the entry into it |
//! | `closing` | entries out of their slots: why at most one answer to a key can be read at a time |
//! | `uptime` | moments, as entries keep them |
//! | `resize` | other budgets, and the move to a larger table |
//!
//! **Why not a concurrent map in front of quick_cache.** quick_cache takes a shard's lock for each call, and whoever is
//! stopped under it stalls the others: 9 to 34 of 60 pauses did. Here none stalled a hit, and none an insertion (`cargo bench
//! --bench freeze -- --quick`); in a longer form one of 400 did a hit, as in its control, and 0 to 2 of 400 an insertion.
//! Behind a map without locks it would still want one lock for every insertion, a queue for those who do not get it, and
//! a second truth about what is stored. Its policy is simple enough to be kept in notes beside the slots instead. Within
//! sets of 48 entries it answers as much: from 0.2 to 0.04 points more than quick_cache on Zipf's traces with and
//! without scans, 0.4 less where a loop is larger than the cache (`cargo bench --bench cache -- --quick`). What it costs is
//! speed where nobody is stopped: the best peer of each case does 1.0 to 1.4 times as many look-ups a second on two cores.
//! Where some insert it does 0.9 to 1.4 times as many operations, and 0.7 times as many with more threads than cores.
//!
//! What the sets cost in memory beside keys and values is in the 272 bytes that an entry is counted with, but for the
//! slots of entries that never come. So a table has room for one entry in [`LEAST_ENTRY`] bytes at most, however many are
//! allowed. A budget of 1 GiB, with four million entries allowed, takes 3.5% less with values of 1 KiB to 2.9% more with
//! values of 64 KiB in resident memory, all told (`cargo bench --bench cache`).
//!
//! **A hit** compares tags, says which entry it looks at and that it still is there, compares the key, notes the use, copies
//! a handle on the bytes, and says that it looks no more. It allocates nothing, and whatever another thread was stopped in,
//! it goes on. What it says it writes to a cache line of its own (see `hazards`), with a fence; two more instructions of it are
//! locked, at the handle. The rest is cache lines: the tags, the pointer, the uses, and two of the entry, where the handle's
//! count is, too (see `nodes`).
//!
//! **An insertion** has the old entry fetched while it copies the bytes, takes room for them, evicting for it if need be, and
//! then the first of these ways that is open to it:
//! 1. it exchanges the pointer to the key's old answer for one to the new;
//! 2. it claims an empty slot, if there may be one more entry;
//! 3. in a set that has its part of the entries, it takes the place of the victim;
//! 4. else it evicts somewhere else, and claims an empty slot.
//!
//! With the first of them it is done, if nobody is to be asked whether the answer is still wanted. Else it has published the
//! entry hidden; it closes what else there is for the key; and reveals it. Each of these is one exchange of one word, so a
//! thread that is stopped in between keeps at most one slot and one value's room from the others, who use the slots
//! beside.
//!
//! **Where the time goes.** A hit waits for memory, in one line after the other. So what a hit looks at of an entry are 80
//! bytes in a row, the count of the handles first, in two cache lines that are fetched together, wherever the heap puts them: with a
//! third, which was fetched when it was looked at, a hit took 64 ns in place of 54. Bits of the key are beside the pointer,
//! since one look-up in six finds the tag of another key, and had its entry come from memory to be told so: 10% more look-ups.
//! And nodes lie side by side, in few pages (see `nursery`): 51 ns in place of 58. (These are lower quartiles of CPU time, in
//! turns with each other.)
//!
//! It waited for itself, too: what was found was handed on in memory, and is kept in registers now (see `Store::look_up`): 49 ns
//! in place of 58 where one thread does all look-ups, 55 in place of 61 on each of two. A look-up of quick_cache took 43 and 57,
//! one of scc 45 and 58. With 64 keys, for which nothing comes from memory, it is 45 in place of 55, where quick_cache takes
//! 30; 4 of that are the clock.
//!
//! An insertion waited for the clock (a tenth of its time), and for what it writes to: with the first read seldom, and the
//! old entry fetched before it is wanted, a thread alone did 7.0 million operations a second, half of them insertions, in place
//! of 5.8. And what the heap will give for the next value is fetched, too, to be written to (see `books`): 160 ns for one such
//! operation on each of two threads, in place of 173. And it waited for itself: the entry is made where its parts are at
//! hand, and no longer put together first and copied: 113 ns in place of 116 where one thread does all, 117 in place of 122 on
//! each of two.
//!
//! Locked instructions are not what it waits for: without the four that take and give back room, and that hand on what waits to
//! be freed, which would not be right, it was 2% faster.
//!
//! Tried, and not to be told from noise: an exchange in place of a store and a fence (which is a locked instruction, too), a
//! pointer to its record that each thread keeps, spare entries freed four at a time, the clock read while the entry comes from
//! memory, the likely victim and the budget's cache line fetched ahead, the old entry fetched before the clock is read, all
//! that an insertion does in one function, the count of the handles fetched to be written to, and nodes of 112 bytes in place
//! of 160.
//!
//! **Memory.** What was taken out is freed once nobody looks at it; several at a time, since all threads' places have to be
//! looked at: up to 16 wait for each thread, and 1/64 of a shard, and as many more are spare. All of that is
//! counted in the budget of bytes, and whoever needs the room frees it, whichever thread it waits for; so does who asks for
//! the figures, clears, or resizes, and every [`HITS_TO_TIDY`]th hit of a thread if nothing was stored meanwhile, so that
//! nothing waits for an insertion that does not come. A stopped reader keeps one entry; a thread that is stopped while it
//! frees, those that it was about to. (With reclamation by epochs one stopped reader would hold back all that is replaced
//! meanwhile: 10 MB in 5 ms at a million insertions of 1 KiB a second.)
//!
//! **Shards** divide the budget, so they are few: a shard has at least [`SHARD_ENTRIES`] entries (chance fills shards
//! unevenly, the more so the smaller they are) and [`SHARD_BYTES`] bytes (a value has to fit in one). A small cache is
//! one shard, and takes values up to 97% of its bytes. The number of shards stays what it was when the cache was made.
//!
//! **Victims** come from the set that the new entry belongs to if it has seven eighths of what the others have on
//! average, and else from the next one that has: so sets stay about as full as chance has made them, and none much less. Where
//! bytes are what binds, sets are less full, and the choice is among fewer.
//!
//! **Time to live.** An entry knows when it expires, and is looked at when it is read: one that is too old is never
//! served, and is removed by the reader that finds it, or as a victim that gets no second chance.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;

mod admission;
mod books;
mod budget;
mod closing;
mod hazards;
mod nodes;
mod nursery;
mod policy;
mod resize;
mod set;
mod slot;
mod table;
mod tags;
mod uptime;

use self::{
    admission::Insertion,
    books::Books,
    closing::Request,
    set::{Mark, Resident},
    slot::Entry,
    table::{Home, Tables},
    uptime::Origin,
};
use super::{
    key::CacheKey,
    stats::{CacheStats, Count, Counters},
    value::{Body, Meta, Packed, Stored, size},
};
use crate::{
    grpc::performance::{config::OptimizationConfig, error::OptimizationError},
    platform::clock,
};
pub(super) use uptime::Uptime;

/// With 128 entries to a shard, filling all evenly by chance is off by 9% (one in the root of 128).
const SHARD_ENTRIES: usize = 128;
/// Four of the largest messages that gRPC takes by default.
const SHARD_BYTES: usize = 16 << 20;
/// The least that a shard can do with: a few entries without any value, and the least `cache_byte_capacity`.
const SHARD_BYTES_MIN: usize = 1024;
/// There is room for one entry in so many bytes of the budget: the table is as large as that, however many entries are
/// allowed, and sets that are hardly filled are what costs memory. Answers of less than 240 bytes take up less of the
/// budget for that.
const LEAST_ENTRY: usize = 512;
/// The part of a shard that one value may take, in percent.
const LARGEST: u64 = 97;

/// Each millisecond of nothing but hits.
const HITS_TO_TIDY: u64 = 1 << 14;

/// An answer, made ready to be stored.
#[derive(Debug)]
pub(super) enum Prepared {
    Fits(Body),
    TooLarge,
}

fn shards(entries: usize, bytes: usize) -> usize {
    let most = (entries / SHARD_ENTRIES).min(bytes / SHARD_BYTES).min(4 * num_cpus::get()).max(1);
    1 << most.ilog2()
}

/// Entries that each of so many shards may hold.
fn entries_per_shard(entries: usize, bytes: usize, shards: usize) -> usize {
    (entries / shards).min(bytes / shards / LEAST_ENTRY)
}

/// See the module.
pub(super) struct Store {
    tables: Tables,
    books: Books,
    /// Insertions so far, when it was last looked whether there is something to tidy.
    stored_when_tidied: AtomicU64,
    origin: Origin,
    ttl: Duration,
    resizing: Mutex<()>,
}

impl Store {
    pub(super) fn new(config: &OptimizationConfig) -> Result<Self, OptimizationError> {
        config.validate()?;
        let (entries, bytes) = (config.cache_capacity, config.cache_byte_capacity);
        let shards = shards(entries, bytes);
        let room = entries_per_shard(entries, bytes, shards);
        Ok(Self {
            tables: Tables::new(shards, room),
            books: Books::new(shards, room as u64, (bytes / shards) as u64),
            stored_when_tidied: AtomicU64::new(0),
            origin: Origin::now(),
            ttl: config.cache_ttl,
            resizing: Mutex::new(()),
        })
    }

    /// This thread's.
    #[inline]
    pub(super) fn counters(&self) -> &Counters {
        self.books.hazards().counters()
    }

    pub(super) fn stats(&self) -> CacheStats {
        self.books.reclaim();
        let shards = self.books.shards();
        let entries: u64 = shards.iter().map(|shard| shard.budget.entries()).sum();
        let bytes: u64 = shards.iter().map(|shard| shard.budget.bytes()).sum();
        CacheStats::of(self.books.hazards().all_counters(), entries as usize, bytes as usize)
    }

    /// Counts a hit.
    #[inline]
    pub(super) fn count_hit(&self, counters: &Counters) {
        if counters.add(Count::Hits, 1).is_multiple_of(HITS_TO_TIDY) {
            self.tidy();
        }
    }

    /// Frees what waits, if nothing was stored since the last time: as long as some store, they free, one by one. To free
    /// much at a time is to wait for the heap's locks, and for whoever is stopped under one.
    #[cold]
    fn tidy(&self) {
        let stored =
            self.books.hazards().all_counters().map(|counters| counters.get(Count::Insertions)).sum();
        // Relaxed: of two that tidy at a time both may, or none before the next time.
        if self.stored_when_tidied.swap(stored, Relaxed) == stored {
            self.books.reclaim();
        }
    }

    /// A moment, as entries keep it.
    pub(super) fn uptime(&self, moment: Instant) -> Uptime {
        self.origin.at(moment)
    }

    /// The answer, visited, unless it is too old at that moment.
    pub(super) fn get(&self, key: &CacheKey, now: Instant) -> Option<Found<'_>> {
        let now = self.uptime(now);
        self.look_up(key, |due| now < due)
    }

    /// The answer, visited, unless it is too old now. Reads the clock only when the coarse one does not tell.
    #[inline(always)]
    pub(super) fn get_now(&self, key: &CacheKey) -> Option<Found<'_>> {
        // Before anything is looked at: while that comes from memory, there is time.
        let surely = self.origin.surely_by_now();
        self.look_up(key, |due| surely < due || self.uptime(clock::now()) < due)
    }

    /// All of it in the caller, and nothing that is found lent to anybody: so it stays in registers. Handed on in memory, it
    /// would be written word by word, and read at once by two words at a time; for that the processor waits until what was
    /// written has left for the cache.
    #[inline(always)]
    fn look_up(&self, key: &CacheKey, is_to_come: impl Fn(Uptime) -> bool) -> Option<Found<'_>> {
        let (mark, home) = (Mark::of(key), Home::of(key, self.books.shards().len()));
        for (_, table) in self.tables.in_use() {
            if let Some(resident) = table.set(home).read(key, mark, &self.books) {
                if is_to_come(resident.entry().stored.expires()) {
                    resident.touch();
                    return Some(Found(resident));
                }
                drop(resident);
                self.expire(key, table, &is_to_come);
            }
        }
        None
    }

    /// What an answer that is stored now is known by, when its handler says nothing else.
    pub(super) fn meta(&self, now: Uptime) -> Meta {
        Meta::until(now + self.ttl)
    }

    /// The key is looked for soon: what is stored for it may come from memory while something else is done.
    pub(super) fn prefetch(&self, key: &CacheKey) {
        let home = Home::of(key, self.books.shards().len());
        self.tables.of(self.tables.generation()).set(home).prefetch(Mark::of(key));
    }

    /// Copies what is to be stored, if it is not compressed already: all that takes time, before anything is changed.
    pub(super) fn prepare(&self, value: &[u8], compressed: Option<Body>) -> Prepared {
        let largest = self.largest();
        match compressed {
            Some(body) if body.size() <= largest => Prepared::Fits(body),
            None if size(value.len()) <= largest => Prepared::Fits(Body::plain(value)),
            _ => Prepared::TooLarge,
        }
    }

    fn largest(&self) -> u64 {
        self.books.shards()[0].budget.byte_limit() * LARGEST / 100
    }

    /// Stores the answer in place of the one that is there. One that is too large just removes that.
    pub(super) fn insert(&self, key: CacheKey, prepared: Prepared, meta: Meta, now: Uptime) {
        self.insert_if(key, prepared, meta, now, None);
    }

    /// The same, if it is still `wanted` once the answer is where whoever removes it finds it, and before anybody reads
    /// it.
    pub(super) fn insert_while(
        &self,
        key: CacheKey,
        prepared: Prepared,
        meta: Meta,
        now: Uptime,
        wanted: &dyn Fn() -> bool,
    ) {
        self.insert_if(key, prepared, meta, now, Some(wanted));
    }

    fn insert_if(
        &self,
        key: CacheKey,
        prepared: Prepared,
        meta: Meta,
        now: Uptime,
        wanted: Option<&dyn Fn() -> bool>,
    ) {
        let body = match prepared {
            // The limit may have been lowered since the answer was prepared.
            Prepared::Fits(body) if body.size() <= self.largest() => body,
            _ => {
                self.counters().add(Count::RejectedTooLarge, 1);
                self.remove(&key);
                return;
            }
        };
        let counters = self.counters();
        counters.add(Count::Insertions, 1);
        if let Some(saved) = body.saved() {
            counters.add(Count::Compressed, 1);
            counters.add(Count::BytesSaved, saved);
        }
        let entry = self.books.fresh(Entry { key, stored: Stored::new(body, meta) });
        let mut insertion =
            Insertion { request: self.request(&key), generation: self.tables.generation(), now, wanted };
        self.admit(&insertion, entry);
        self.follow(&mut insertion);
        self.shrink_to_limits(insertion.request.shard, || self.evict_one(&insertion));
    }
}

/// An answer that was found, looked at until this is dropped: for a few instructions, since its room is not free before.
pub(super) struct Found<'a>(Resident<'a>);

impl Found<'_> {
    /// This thread's.
    #[inline]
    pub(super) fn counters(&self) -> &Counters {
        self.0.counters()
    }

    #[inline]
    pub(super) fn meta(&self) -> &Meta {
        &self.0.entry().stored.meta
    }

    /// The answer, if it is one that lies there as it is, and nothing but its age makes worthless.
    #[inline]
    pub(super) fn as_simple(&self) -> Option<&Bytes> {
        self.0.entry().stored.is_simple().then(|| self.0.bytes())
    }

    /// The answer, if it lies there as it is.
    #[inline]
    pub(super) fn as_plain(&self) -> Option<&Bytes> {
        self.0.entry().stored.is_plain().then(|| self.0.bytes())
    }

    pub(super) fn packed(&self) -> Packed {
        self.0.entry().stored.packed(self.0.bytes())
    }
}

#[cfg(all(test, millstream_shuttle))]
mod shuttle_tests;
#[cfg(test)]
mod tests;
