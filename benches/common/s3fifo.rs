//! The thin layer that one would write oneself: S3-FIFO over somebody else's concurrent map.
//!
//! After "FIFO queues are all you need for cache eviction" (SOSP 2023): newcomers go through a small queue, what was
//! asked for there moves to the main one, and what left the small queue unasked is remembered as a fingerprint for a
//! while. The queues are crossbeam's `SegQueue`, the counters are kept with the entries.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use crossbeam::queue::SegQueue;
use dashmap::DashMap;
use millstream::CacheKey;

use super::{Placement, contenders::Contender};

/// Share of the small queue: one part in ten.
const SMALL_SHARE: usize = 10;
/// The highest count of an entry.
const FREQUENT: u8 = 3;

/// A cached value and how often it was asked for.
pub(crate) struct Entry {
    value: Bytes,
    uses: AtomicU8,
}

impl Entry {
    fn touch(&self) {
        // All Relaxed: a count that is one off costs a place in a queue at most.
        let uses = self.uses.load(Relaxed);
        if uses < FREQUENT {
            self.uses.store(uses + 1, Relaxed);
        }
    }

    fn forget_one_use(&self) -> bool {
        let uses = self.uses.load(Relaxed);
        self.uses.store(uses.saturating_sub(1), Relaxed);
        uses > 0
    }
}

/// The map below.
pub(crate) trait Index: Send + Sync {
    fn with_room_for(entries: usize) -> Self;
    fn find<R>(&self, key: &CacheKey, found: impl FnOnce(&Entry) -> R) -> Option<R>;
    /// Whether the key is new.
    fn set(&self, key: CacheKey, entry: Arc<Entry>) -> bool;
    fn delete(&self, key: &CacheKey);
}

impl Index for papaya::HashMap<CacheKey, Arc<Entry>, Placement> {
    fn with_room_for(entries: usize) -> Self {
        Self::with_capacity_and_hasher(entries, Placement::default())
    }

    fn find<R>(&self, key: &CacheKey, found: impl FnOnce(&Entry) -> R) -> Option<R> {
        self.pin().get(key).map(|entry| found(entry))
    }

    fn set(&self, key: CacheKey, entry: Arc<Entry>) -> bool {
        self.pin().insert(key, entry).is_none()
    }

    fn delete(&self, key: &CacheKey) {
        self.pin().remove(key);
    }
}

impl Index for DashMap<CacheKey, Arc<Entry>, Placement> {
    fn with_room_for(entries: usize) -> Self {
        Self::with_capacity_and_hasher(entries, Placement::default())
    }

    fn find<R>(&self, key: &CacheKey, found: impl FnOnce(&Entry) -> R) -> Option<R> {
        self.get(key).map(|entry| found(&entry))
    }

    fn set(&self, key: CacheKey, entry: Arc<Entry>) -> bool {
        self.insert(key, entry).is_none()
    }

    fn delete(&self, key: &CacheKey) {
        self.remove(key);
    }
}

/// S3-FIFO over the map `I`.
pub(crate) struct S3Fifo<I> {
    index: I,
    small: SegQueue<CacheKey>,
    main: SegQueue<CacheKey>,
    /// Entries in both queues.
    entries: AtomicUsize,
    in_small: AtomicUsize,
    capacity: usize,
    /// Fingerprints of what left the small queue unasked, each where its low bits say.
    ghosts: Box<[AtomicU64]>,
}

impl<I: Index> S3Fifo<I> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            index: I::with_room_for(2 * capacity),
            small: SegQueue::new(),
            main: SegQueue::new(),
            entries: AtomicUsize::new(0),
            in_small: AtomicUsize::new(0),
            capacity,
            ghosts: (0..capacity.next_power_of_two()).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn fingerprint(&self, key: &CacheKey) -> (u64, &AtomicU64) {
        let (first, _) = key.as_bytes().split_first_chunk().expect("32 bytes begin with 8");
        let bits = u64::from_le_bytes(*first);
        (bits, &self.ghosts[bits as usize & (self.ghosts.len() - 1)])
    }

    fn evict(&self) {
        let small_is_large = self.in_small.load(Relaxed) >= self.capacity / SMALL_SHARE;
        if small_is_large && let Some(key) = self.small.pop() {
            self.in_small.fetch_sub(1, Relaxed);
            if self.index.find(&key, Entry::forget_one_use) == Some(true) {
                self.main.push(key);
                return;
            }
            let (bits, ghost) = self.fingerprint(&key);
            ghost.store(bits, Relaxed);
            self.drop_entry(&key);
        } else if let Some(key) = self.main.pop() {
            if self.index.find(&key, Entry::forget_one_use) == Some(true) {
                self.main.push(key);
            } else {
                self.drop_entry(&key);
            }
        }
    }

    fn drop_entry(&self, key: &CacheKey) {
        self.index.delete(key);
        self.entries.fetch_sub(1, Relaxed);
    }
}

impl<I: Index> Contender for S3Fifo<I> {
    fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.index.find(key, |entry| {
            entry.touch();
            entry.value.clone()
        })
    }

    fn insert(&self, key: CacheKey, value: &[u8]) {
        let entry = Arc::new(Entry { value: Bytes::copy_from_slice(value), uses: AtomicU8::new(0) });
        if !self.index.set(key, entry) {
            return;
        }
        let (bits, ghost) = self.fingerprint(&key);
        if ghost.load(Relaxed) == bits {
            self.main.push(key);
        } else {
            self.small.push(key);
            self.in_small.fetch_add(1, Relaxed);
        }
        if self.entries.fetch_add(1, Relaxed) >= self.capacity {
            while self.entries.load(Relaxed) > self.capacity {
                self.evict();
            }
        }
    }
}
