//! The caches that are compared, behind one face: the same keys, the same values, the same hash where it can be chosen.
//!
//! dashmap and papaya are maps: they stand for the thin S3-FIFO layer that one would write over them. foyer evicts by
//! S3-FIFO, too, the best of its policies on these traces. scc rounds its capacity up to a power of two, which flatters
//! its hit ratios. `lru` is the textbook's, for the ratios.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dashmap::DashMap;
use millstream::{CacheKey, OptimizationConfig, StreamCache};

use super::{
    Placement,
    lru::Lru,
    s3fifo::{Entry, S3Fifo},
};

/// A cache of bytes.
pub(crate) trait Contender: Send + Sync {
    /// The value, as its user would get it.
    fn get(&self, key: &CacheKey) -> Option<Bytes>;

    /// Stores a copy of the value.
    fn insert(&self, key: CacheKey, value: &[u8]);
}

/// How to make a contender with room for so many entries.
pub(crate) type Make = fn(usize) -> Box<dyn Contender>;

/// Every cache, with its name.
pub(crate) const CONTENDERS: [(&str, Make); 9] = [
    ("quick_cache", |entries| {
        let options = quick_cache::OptionsBuilder::new()
            .estimated_items_capacity(entries)
            .weight_capacity(entries as u64)
            .build()
            .expect("both capacities are given");
        Box::new(QuickCache::with_options(
            options,
            quick_cache::UnitWeighter,
            Placement::default(),
            quick_cache::sync::DefaultLifecycle::default(),
        ))
    }),
    ("moka", |entries| {
        Box::new(
            moka::sync::Cache::<CacheKey, Bytes>::builder()
                .max_capacity(entries as u64)
                .build_with_hasher(Placement::default()),
        )
    }),
    ("foyer", |entries| {
        Box::new(
            foyer_memory::CacheBuilder::<CacheKey, Bytes, _>::new(entries)
                .with_hash_builder(Placement::default())
                .with_eviction_config(foyer_memory::S3FifoConfig::default())
                .build::<foyer_memory::CacheProperties>(),
        )
    }),
    ("scc", |entries| {
        Box::new(scc::HashCache::<CacheKey, Bytes, Placement>::with_capacity_and_hasher(
            entries,
            entries,
            Placement::default(),
        ))
    }),
    ("TinyUFO", |entries| Box::new(tinyufo::TinyUfo::<CacheKey, Bytes>::new(entries, entries))),
    ("dashmap", |entries| Box::new(S3Fifo::<DashMap<CacheKey, Arc<Entry>, Placement>>::new(entries))),
    ("papaya", |entries| Box::new(S3Fifo::<papaya::HashMap<CacheKey, Arc<Entry>, Placement>>::new(entries))),
    ("lru", |entries| Box::new(Lru::new(entries))),
    ("millstream", |entries| {
        let config = OptimizationConfig {
            cache_capacity: entries,
            // Beyond what the entries need: the number of entries is to be what binds, as for the others.
            cache_byte_capacity: entries * BYTES_PER_ENTRY,
            cache_ttl: Duration::from_secs(24 * 60 * 60),
            enable_cache_compression: false,
            ..OptimizationConfig::default()
        };
        Box::new(StreamCache::new(&config).expect("a cache of this size can be made"))
    }),
];

/// Ten times the largest value that is stored here.
const BYTES_PER_ENTRY: usize = 16 << 10;

type QuickCache = quick_cache::sync::Cache<CacheKey, Bytes, quick_cache::UnitWeighter, Placement>;

impl Contender for QuickCache {
    fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.get(key)
    }

    fn insert(&self, key: CacheKey, value: &[u8]) {
        self.insert(key, Bytes::copy_from_slice(value));
    }
}

impl Contender for moka::sync::Cache<CacheKey, Bytes, Placement> {
    fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.get(key)
    }

    fn insert(&self, key: CacheKey, value: &[u8]) {
        self.insert(key, Bytes::copy_from_slice(value));
    }
}

impl Contender for foyer_memory::Cache<CacheKey, Bytes, Placement> {
    fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.get(key).map(|entry| entry.value().clone())
    }

    fn insert(&self, key: CacheKey, value: &[u8]) {
        drop(self.insert(key, Bytes::copy_from_slice(value)));
    }
}

impl Contender for scc::HashCache<CacheKey, Bytes, Placement> {
    fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.get_sync(key).map(|entry| entry.get().clone())
    }

    fn insert(&self, key: CacheKey, value: &[u8]) {
        // In place of what is there, as the others do.
        match self.entry_sync(key) {
            scc::hash_cache::Entry::Occupied(mut entry) => drop(entry.put(Bytes::copy_from_slice(value))),
            scc::hash_cache::Entry::Vacant(entry) => drop(entry.put_entry(Bytes::copy_from_slice(value))),
        }
    }
}

impl Contender for tinyufo::TinyUfo<CacheKey, Bytes> {
    fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.get(key)
    }

    fn insert(&self, key: CacheKey, value: &[u8]) {
        drop(self.put(key, Bytes::copy_from_slice(value), 1));
    }
}

impl Contender for StreamCache {
    fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.get(key)
    }

    fn insert(&self, key: CacheKey, value: &[u8]) {
        self.insert(key, value);
    }
}
