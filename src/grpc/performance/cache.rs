//! Answers that were computed before, and those that are being computed.
//!
//! A handler gives a message a [`CacheKey`], the hash of everything that its answer depends on. The stream's task
//! [`join`](StreamCache::join)s with it, and learns one of three things: here is the answer; compute it, and tell the
//! others; or somebody is computing it, and you will be told. So a thousand equal messages at a time are one
//! computation, and when that fails, exactly one of them tries next: a failure is cached only if the leader says so, for a
//! time of its own.
//!
//! | part | what it is |
//! |---|---|
//! | `key` | [`CacheKey`]: content in, 32 bytes out |
//! | `freshness` | [`Freshness`]: how long an answer is good for, and what makes it worthless before that |
//! | `invalidation` | which tags and prefixes were invalidated when |
//! | `value` | how an answer lies in memory: a copy, plain or LZ4 |
//! | `store` | the table, which no operation locks: budgets in entries and bytes, time to live |
//! | `flight` | single flight: the computations that are going on, who leads and who follows |
//! | `compute` | the same for those who wait in a future |
//! | `classes` | what is learnt of each class of answers |
//! | `admission` | whether they are worth storing: not if they are never asked for again |
//! | `compression` | whether they are worth compressing: bytes saved against time spent |
//! | `stats` | counters |
//!
//! Everything may be called from any thread, and from a [`FlightSink`]: none of the locks of the cache is held while
//! foreign code runs.

mod admission;
mod classes;
mod compression;
mod compute;
mod flight;
mod freshness;
mod invalidation;
mod key;
mod stats;
mod store;
mod value;

use std::{fmt, sync::Arc, time::Instant};

use bytes::Bytes;

pub use flight::{FlightSink, FlightWatch, Follower, Lead, Lookup};
pub(crate) use flight::{Look, Verdict};
pub use freshness::Freshness;
pub use key::{CacheKey, CacheKeyBuilder};
pub use stats::CacheStats;

use self::{
    flight::{Flights, Wanted},
    invalidation::Scope,
};
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
    /// Neither budget is exceeded; bytes are counted as stored (compressed, where they are), and 272 more for each
    /// entry, and there is room for one entry in each 512 bytes at most. A cache of less than 256 entries, or less than 32 MiB, stores values up to 97% of `cache_byte_capacity`.
    /// A larger one has shards, up to four to a core, of 16 MiB or more each, and the same holds for a shard.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(config: &OptimizationConfig) -> Result<Self, OptimizationError> {
        Ok(Self { flights: Arc::new(Flights::new(config)?) })
    }

    /// The answer, if it is stored and not too old. A stale one (see [`Freshness`]) is as good as any here.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.flights.answer(key)
    }

    /// A look, for who will [`join`](Self::join) if there is nothing.
    pub(crate) fn look(&self, key: CacheKey) -> Look {
        self.flights.look(key)
    }

    /// The answer, or the duty to compute it, or a place among those who wait for it.
    ///
    /// `follower` is called, at most once, when somebody else seems to be computing; what it makes is told exactly once
    /// if this returns [`Lookup::Follow`], and dropped otherwise.
    ///
    /// An answer that is stale (see [`Freshness::stale_while_revalidate`]) is a [`Lookup::Lead`] for one of those who
    /// ask, and a [`Lookup::Hit`] for all others until that one has completed.
    pub fn join(&self, key: CacheKey, follower: impl FnOnce() -> Follower) -> Lookup {
        self.join_at(key, follower, clock::now())
    }

    /// The same, for who has read the clock a short while ago.
    pub(crate) fn join_at(&self, key: CacheKey, follower: impl FnOnce() -> Follower, now: Instant) -> Lookup {
        self.flights.join(key, Wanted::Verdict, follower, now).into()
    }

    /// The answer: stored, computed by somebody else, or computed here and stored.
    ///
    /// One computation runs at a time for a key. Dropping the future while it computes, or a computation that fails,
    /// makes one of those who wait compute with its own `compute`; so does a computation that takes longer than
    /// `worker_timeout`, which then goes on for itself alone. While an answer is stale, one of those who ask computes,
    /// and all others get it as it is.
    ///
    /// Needs a tokio runtime with its clock.
    ///
    /// # Errors
    /// What `compute` returned, here. The errors of others are not seen.
    pub async fn get_or_compute<E, F: Future<Output = Result<Bytes, E>>>(
        &self,
        key: CacheKey,
        compute: impl FnOnce() -> F,
    ) -> Result<Bytes, E> {
        self.get_or_compute_with(key, async || Ok((compute().await?, Freshness::new()))).await
    }

    /// As [`get_or_compute`](Self::get_or_compute), and the computation says how long its answer is good for.
    ///
    /// ```
    /// # use std::{convert::Infallible, time::Duration};
    /// # use millstream::{CacheKey, Freshness, OptimizationConfig, StreamCache};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = StreamCache::new(&OptimizationConfig::default())?;
    /// let key = CacheKey::of(&[b"picture", b"7"]);
    /// let freshness = Freshness::new().ttl(Duration::from_secs(60)).path("tenant/42/pictures");
    /// let draw = async || Ok::<_, Infallible>(("a picture".into(), freshness));
    /// assert_eq!(cache.get_or_compute_with(key, draw).await?, "a picture");
    /// assert!(cache.get(&key).is_some());
    /// cache.invalidate_prefix("tenant/42");
    /// assert!(cache.get(&key).is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `compute` returned, here.
    pub async fn get_or_compute_with<E, F: Future<Output = Result<(Bytes, Freshness), E>>>(
        &self,
        key: CacheKey,
        compute: impl FnOnce() -> F,
    ) -> Result<Bytes, E> {
        compute::get_or_compute(&self.flights, key, compute).await
    }

    /// Stores an answer, in place of the one that is there. One that is too large is counted and not stored.
    pub fn insert(&self, key: CacheKey, value: &[u8]) {
        self.insert_at(key, value, Freshness::new(), clock::recently());
    }

    /// As [`insert`](Self::insert), and says how long the answer is good for. What was invalidated before this call makes
    /// no difference to it: an answer that may have been computed from something older is to go through
    /// [`join`](Self::join) or [`get_or_compute_with`](Self::get_or_compute_with).
    pub fn insert_with(&self, key: CacheKey, value: &[u8], freshness: Freshness) {
        self.insert_at(key, value, freshness, clock::recently());
    }

    fn insert_at(&self, key: CacheKey, value: &[u8], freshness: Freshness, now: Instant) {
        self.flights.insert(key, value, freshness, now);
    }

    /// Removes an answer; whether there was one. A computation that is going on is not stored; those who follow it
    /// already get its answer, those who ask from now on start another one.
    pub fn invalidate(&self, key: &CacheKey) -> bool {
        self.flights.invalidate(key)
    }

    /// Makes all answers worthless that carry this tag (see [`Freshness::tag`]), failures too. What was computed from
    /// before this call is not served once it has returned, also if it is being computed now: those who asked before may
    /// still get that, those who ask later do not.
    ///
    /// However many answers there are, this costs the same, and so does a hit. Tags and paths are hashed to 4,096
    /// places, and share them: more may be computed anew than has to be, never less. What is worthless keeps its room
    /// until it is replaced or evicted.
    pub fn invalidate_tag(&self, name: &str) {
        self.flights.invalidations().invalidate(Scope::tag(name));
    }

    /// The same for all answers whose path (see [`Freshness::path`]) is this one or lies below it. Of a prefix of more
    /// than four levels the first four count. The empty one is [`clear`](Self::clear).
    pub fn invalidate_prefix(&self, path: &str) {
        match Scope::prefix(path) {
            Some(scope) => self.flights.invalidations().invalidate(scope),
            None => self.clear(),
        }
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
        self.flights.resize(entries, bytes)
    }

    /// Whether there is CPU time to compress what is stored, where that is configured: not in an overload.
    pub(crate) fn spare_time(&self, spare: bool) {
        self.flights.classes().spare_time(spare);
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
