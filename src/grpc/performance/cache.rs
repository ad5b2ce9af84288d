//! Answers that were computed before, and those that are being computed.
//!
//! A handler gives a message a [`CacheKey`], the hash of everything that its answer depends on. The stream's task
//! [`join`](StreamCache::join)s with it, and learns one of three things: here is the answer; compute it, and tell the
//! others; or somebody is computing it, and you will be told. So a thousand equal messages at a time are one
//! computation, and when that fails, exactly one of them tries next: errors are never cached.
//!
//! | part | what it is |
//! |---|---|
//! | `key` | [`CacheKey`]: content in, 32 bytes out |
//! | `value` | how an answer lies in memory: a copy, plain or LZ4 |
//! | `store` | the table on quick_cache: budgets in entries and bytes, time to live |
//! | `flight` | single flight: the computations that are going on, who leads and who follows |
//! | `compute` | the same for those who wait in a future |
//! | `stats` | counters |
//!
//! Everything may be called from any thread, and from a [`FlightSink`]: none of the locks of the cache is held while
//! foreign code runs.

mod compute;
mod flight;
mod key;
mod stats;
mod store;
mod value;

use std::{fmt, sync::Arc, time::Instant};

use bytes::Bytes;

pub use flight::{FlightSink, FlightWatch, Follower, Lead, Lookup};
pub use key::{CacheKey, CacheKeyBuilder};
pub use stats::CacheStats;

use self::{flight::Flights, store::Store};
use super::{config::OptimizationConfig, error::OptimizationError};
use crate::platform::clock;

/// A cache of answers; clones are the same cache.
#[derive(Clone)]
pub struct StreamCache {
    flights: Arc<Flights>,
}

impl StreamCache {
    /// An empty cache, from the `cache_*` settings and `enable_cache_compression`.
    ///
    /// Neither budget is exceeded; bytes are counted as stored (compressed, where they are), and 256 more for each
    /// entry. A cache of less than 256 entries, or less than 32 MiB, stores values up to 97% of `cache_byte_capacity`.
    /// A larger one has shards, up to four to a core, of 16 MiB or more each, and the same holds for a shard.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(config: &OptimizationConfig) -> Result<Self, OptimizationError> {
        Ok(Self { flights: Arc::new(Flights::new(Store::new(config)?)) })
    }

    /// The answer, if it is stored and not too old.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.get_at(key, clock::now())
    }

    fn get_at(&self, key: &CacheKey, now: Instant) -> Option<Bytes> {
        let found = self.flights.store().get(key, now);
        let counters = self.flights.store().counters();
        let counter = if found.is_some() { &counters.hits } else { &counters.misses };
        counter.add(1);
        found
    }

    /// The answer, or the duty to compute it, or a place among those who wait for it.
    ///
    /// `follower` is called, at most once, when somebody else seems to be computing; what it makes is told exactly once
    /// if this returns [`Lookup::Follow`], and dropped otherwise.
    pub fn join(&self, key: CacheKey, follower: impl FnOnce() -> Follower) -> Lookup {
        self.flights.join(key, follower, clock::now())
    }

    /// The answer: stored, computed by somebody else, or computed here and stored.
    ///
    /// One computation runs at a time for a key. Dropping the future while it computes, or a computation that fails,
    /// makes one of those who wait compute with its own `compute`.
    ///
    /// # Errors
    /// What `compute` returned, here. The errors of others are not seen.
    pub async fn get_or_compute<E, F: Future<Output = Result<Bytes, E>>>(
        &self,
        key: CacheKey,
        compute: impl FnOnce() -> F,
    ) -> Result<Bytes, E> {
        compute::get_or_compute(&self.flights, key, compute).await
    }

    /// Stores an answer, in place of the one that is there. One that is too large is counted and not stored.
    pub fn insert(&self, key: CacheKey, value: &[u8]) {
        self.insert_at(key, value, clock::now());
    }

    fn insert_at(&self, key: CacheKey, value: &[u8], now: Instant) {
        let store = self.flights.store();
        drop(store.insert(key, store.prepare(value), now));
    }

    /// Removes an answer; whether there was one. A computation that is going on is not stored; those who follow it
    /// already get its answer, those who ask from now on start another one.
    pub fn invalidate(&self, key: &CacheKey) -> bool {
        self.flights.invalidate(key)
    }

    /// Removes all answers, as [`invalidate`](Self::invalidate) does one.
    pub fn clear(&self) {
        self.flights.clear();
    }

    /// Changes the budgets: `cache_capacity` and `cache_byte_capacity`. What fits is kept.
    ///
    /// # Errors
    /// A budget that is out of the range of its setting, or too small for the shards that the cache was made with: at
    /// least one entry and 1 KiB for each.
    pub fn resize(&self, entries: usize, bytes: usize) -> Result<(), OptimizationError> {
        self.flights.store().resize(entries, bytes)
    }

    /// Whether there is CPU time to compress what is stored, where that is configured: not in an overload.
    pub(crate) fn spare_time(&self, spare: bool) {
        self.flights.store().spare_time(spare);
    }

    /// What the cache has done, and what it holds.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.flights.store().stats()
    }

    /// Share of look-ups that did not have to be computed, from 0 to 1.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        self.stats().hit_ratio()
    }
}

impl fmt::Debug for StreamCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamCache").field(&self.stats()).finish()
    }
}

#[cfg(test)]
mod tests;
