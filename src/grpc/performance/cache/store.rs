//! Where answers lie: a quick_cache with a time to live, and a budget in entries and in bytes.
//!
//! **Two budgets, one weight.** quick_cache bounds one sum of weights per shard. An entry weighs its bytes, but never
//! less than a *floor* that is chosen so that one entry more than the shard's share of `entries` would be too heavy:
//! with `e` entries and `b` bytes to a shard, `floor = b / (e + 1) + 1`, and `(e + 1) · floor > b`. So neither budget is
//! exceeded (but for a moment amid a resize), and entries of about one size use the tighter of the two in full. The
//! price is paid by mixed sizes: since `max(x, y) ≤ x + y`, a cache that is half full of small entries by count and half
//! full of large ones by bytes is full, where two separate budgets would have taken up to twice as much.
//!
//! **Shards** divide the budget, so they are few: a shard has at least [`SHARD_ENTRIES`] entries (chance fills shards
//! unevenly, the more so the smaller they are) and [`SHARD_BYTES`] bytes (a value has to fit in one). A small cache is
//! one shard, and takes values up to 97% of its bytes, the share that quick_cache gives to entries asked for often.
//! The number of shards stays what it was when the cache was made.
//!
//! **Time to live.** An entry knows when it expires, and is looked at when it is read: one that is too old is never
//! served, and is removed by the reader that finds it. Until then it keeps its place, and is evicted like any other.
//!
//! **Any thread** may call anything. quick_cache locks a shard for each call; nothing runs under that lock but counting
//! ([`Ledger`]) and comparing: values are copied, compressed and freed outside, the pushed out ones with [`Displaced`].
//! A reader of one shard can wait for a writer of the same shard, for no other.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync::Cache, sync::EntryAction};

use super::{
    key::{CacheKey, Placement},
    stats::{CacheStats, Counters},
    value::{Body, ENTRY_OVERHEAD, Stored, size},
};
use crate::grpc::performance::{
    config::{ConfigError, OptimizationConfig},
    error::{Fault, OptimizationError},
};

/// With 128 entries to a shard, filling all evenly by chance is off by 9% (one in the root of 128).
const SHARD_ENTRIES: usize = 128;
/// Four of the largest messages that gRPC takes by default.
const SHARD_BYTES: usize = 16 << 20;
/// The least that a shard can do with: a few entries without any value.
const SHARD_BYTES_MIN: usize = 4 * ENTRY_OVERHEAD;

/// An answer, made ready to be stored.
#[derive(Debug)]
pub(super) enum Prepared {
    Fits(Body),
    TooLarge,
}

/// What one shard may hold, and the least that an entry weighs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    bytes: u64,
    floor: u64,
}

impl Share {
    fn of(entries: usize, bytes: usize, shards: usize) -> Self {
        let bytes = (bytes / shards) as u64;
        let entries = (entries / shards) as u64;
        Self { bytes, floor: bytes / (entries + 1) + 1 }
    }
}

fn shards(entries: usize, bytes: usize) -> usize {
    let most = (entries / SHARD_ENTRIES).min(bytes / SHARD_BYTES).min(4 * num_cpus::get()).max(1);
    1 << most.ilog2()
}

/// See the module.
pub(super) struct Store {
    cache: Cache<CacheKey, Stored, Weight, Placement, Ledger>,
    counters: Arc<Counters>,
    ttl: Duration,
    compression: bool,
    /// Whether there is CPU time for it. Relaxed wherever it is touched: a hint.
    spare_time: AtomicBool,
    /// What new entries weigh at least. SeqCst with the shard locks decides who sees a resize: an insertion that read
    /// the old floor either lies in the table before the resize walks over it, or reads the new floor afterwards.
    floor: AtomicU64,
    resizing: Mutex<()>,
}

impl Store {
    pub(super) fn new(config: &OptimizationConfig) -> Result<Self, OptimizationError> {
        config.validate()?;
        let (entries, bytes) = (config.cache_capacity, config.cache_byte_capacity);
        let shards = shards(entries, bytes);
        let share = Share::of(entries, bytes, shards);
        let options = OptionsBuilder::new()
            .shards(shards)
            .weight_capacity(share.bytes * shards as u64)
            // No more than the bytes allow: the table's memory of what it evicted grows with this.
            .estimated_items_capacity(entries.min(bytes / ENTRY_OVERHEAD))
            .build()
            .map_err(|error| {
                let what = format!("a table of {entries} entries in {shards} shards could not be made");
                OptimizationError::CacheError(Fault::caused_by(what, error))
            })?;
        let counters = Arc::new(Counters::default());
        let ledger = Ledger(Arc::clone(&counters));
        Ok(Self {
            cache: Cache::with_options(options, Weight, Placement::default(), ledger),
            counters,
            ttl: config.cache_ttl,
            compression: config.enable_cache_compression,
            spare_time: AtomicBool::new(true),
            floor: AtomicU64::new(share.floor),
            resizing: Mutex::new(()),
        })
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn stats(&self) -> CacheStats {
        self.counters.snapshot(self.cache.len())
    }

    /// The answer, unless it is too old. Allocates only to decompress.
    pub(super) fn get(&self, key: &CacheKey, now: Instant) -> Option<Bytes> {
        let stored = self.cache.get(key)?;
        if now < stored.expires {
            return Some(stored.body.open());
        }
        // Only if it is still too old: a fresh one may have taken its place.
        if let Some((_, old)) = self.cache.remove_if(key, |stored| stored.expires <= now) {
            self.counters.expired.add(1);
            self.counters.bytes.subtract(old.body.size());
        }
        None
    }

    /// Whether compression may take CPU time from now on.
    pub(super) fn spare_time(&self, spare: bool) {
        self.spare_time.store(spare, Relaxed);
    }

    /// Copies, or compresses, what is to be stored: all that takes time, away from every lock.
    pub(super) fn prepare(&self, value: &[u8]) -> Prepared {
        let largest = self.cache.shard_capacity();
        let compression = self.compression && self.spare_time.load(Relaxed);
        let body = compression.then(|| Body::compressed(value)).flatten();
        match body {
            Some(body) if body.size() <= largest => Prepared::Fits(body),
            None if size(value.len()) <= largest => Prepared::Fits(Body::plain(value)),
            _ => Prepared::TooLarge,
        }
    }

    /// Stores the answer, as of `now`, in place of the one that is there. One that is too large just removes that.
    pub(super) fn insert(&self, key: CacheKey, prepared: Prepared, now: Instant) -> Displaced {
        let mut displaced = Displaced::default();
        let Prepared::Fits(body) = prepared else {
            self.counters.rejected_too_large.add(1);
            displaced.first = self.take(&key);
            return displaced;
        };
        let expires = now + self.ttl;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let floor = self.floor.load(SeqCst);
            self.counters.bytes.add(body.size());
            let weight = body.size().max(floor);
            let stored = Stored { body: body.clone(), expires, weight };
            self.cache.insert_with_lifecycle(key, stored, &mut displaced);
            if self.floor.load(SeqCst) == floor {
                break;
            }
        }
        let same_key = || displaced.iter().filter(|(of, _)| *of == key);
        self.counters.superseded.add(same_key().count() as u64);
        // The table gives back what it does not admit, as if it had been evicted.
        if same_key().filter(|(_, stored)| stored.body.is(&body)).count() == attempts {
            self.counters.rejected_too_large.add(1);
        } else {
            self.counters.insertions.add(1);
            if let Some(saved) = body.saved() {
                self.counters.compressed.add(1);
                self.counters.bytes_saved.add(saved);
            }
        }
        displaced
    }

    /// Whether there was one.
    pub(super) fn remove(&self, key: &CacheKey) -> bool {
        self.take(key).is_some()
    }

    fn take(&self, key: &CacheKey) -> Option<(CacheKey, Stored)> {
        let taken = self.cache.remove(key);
        if let Some((_, stored)) = &taken {
            self.counters.bytes.subtract(stored.body.size());
        }
        taken
    }

    /// Removes everything, entry by entry: no lock is held for longer than one takes.
    pub(super) fn clear(&self) {
        for (_, stored) in self.cache.drain() {
            self.counters.bytes.subtract(stored.body.size());
        }
    }

    /// Changes both budgets in place. What does not fit any more is evicted, the least useful first.
    pub(super) fn resize(&self, entries: usize, bytes: usize) -> Result<(), OptimizationError> {
        let shards = self.cache.num_shards();
        check_resize(entries, bytes, shards)?;
        let _one_at_a_time = self.resizing.lock();
        let share = Share::of(entries, bytes, shards);
        let capacity = share.bytes * shards as u64;
        // Room first: with the new floor entries may weigh more before they are in a larger cache.
        self.cache.set_capacity(capacity.max(self.cache.capacity()));
        self.floor.store(share.floor, SeqCst);
        for (key, _) in self.cache.iter() {
            // An entry that has gone meanwhile leaves a placeholder, which goes with the result.
            drop(self.cache.entry(&key, Some(Duration::ZERO), |_, stored| {
                stored.weight = stored.body.size().max(share.floor);
                EntryAction::Retain(())
            }));
        }
        self.cache.set_capacity(capacity);
        Ok(())
    }
}

fn check_resize(entries: usize, bytes: usize, shards: usize) -> Result<(), ConfigError> {
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

#[derive(Clone)]
struct Weight;

impl Weighter<CacheKey, Stored> for Weight {
    fn weight(&self, _: &CacheKey, stored: &Stored) -> u64 {
        stored.weight
    }
}

/// What an insertion pushed out. It is freed with this, and that is to be outside every lock.
#[derive(Debug, Default)]
#[must_use = "it is to be dropped outside every lock"]
pub(super) struct Displaced {
    /// Most insertions push out one: no allocation for that.
    first: Option<(CacheKey, Stored)>,
    rest: Vec<(CacheKey, Stored)>,
}

impl Displaced {
    fn push(&mut self, entry: (CacheKey, Stored)) {
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.rest.push(entry);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &(CacheKey, Stored)> {
        self.first.iter().chain(&self.rest)
    }
}

/// Keeps the books when the table pushes something out; called under the lock of the shard.
#[derive(Clone)]
struct Ledger(Arc<Counters>);

impl Lifecycle<CacheKey, Stored> for Ledger {
    type RequestState = Displaced;

    fn on_evict(&self, displaced: &mut Displaced, key: CacheKey, stored: Stored) {
        self.0.displaced.add(1);
        self.0.bytes.subtract(stored.body.size());
        displaced.push((key, stored));
    }
}

#[cfg(test)]
mod tests;
