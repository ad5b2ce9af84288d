//! What one shard may hold: entries and bytes, taken before anything is stored and given back once it is gone.
//!
//! Bytes are counted as long as they are there, those of an entry that was thrown out and is not yet freed included. So
//! neither limit is exceeded, at any moment, but by the entry that is being moved (see
//! [`Store::resize`](super::Store::resize)), by those that were and are still looked at, and by what there was before a limit
//! was lowered.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

/// See the module.
pub(super) struct Budget {
    entries: Gauge,
    bytes: Gauge,
}

impl Budget {
    pub(super) fn new(entries: u64, bytes: u64) -> Self {
        Self { entries: Gauge::new(entries), bytes: Gauge::new(bytes) }
    }

    /// Whether there is room for one more entry, which is taken with that.
    pub(super) fn take_entry(&self) -> bool {
        self.entries.take(1)
    }

    pub(super) fn give_back_entry(&self) {
        self.entries.give_back(1);
    }

    /// Whether there is room for so many bytes, which is taken with that.
    pub(super) fn take_bytes(&self, size: u64) -> bool {
        self.bytes.take(size)
    }

    pub(super) fn give_back_bytes(&self, size: u64) {
        self.bytes.give_back(size);
    }

    /// Takes room for an entry of so many bytes, whether it is there or not.
    pub(super) fn overdraw(&self, size: u64) {
        self.entries.used.fetch_add(1, Relaxed);
        self.bytes.used.fetch_add(size, Relaxed);
    }

    /// Whether there are so few bytes that none had to go for others. (Where they do, a few go at a time.)
    pub(super) fn is_filling(&self) -> bool {
        let limit = self.byte_limit();
        self.bytes() <= limit - limit / 8
    }

    pub(super) fn set_limits(&self, entries: u64, bytes: u64) {
        // SeqCst, as in `is_overdrawn`: see `resize`.
        self.entries.limit.store(entries, SeqCst);
        self.bytes.limit.store(bytes, SeqCst);
    }

    /// Whether there is more than is allowed, but for so many bytes.
    pub(super) fn is_overdrawn(&self, waiting: u64) -> bool {
        self.entries.is_overdrawn(0) || self.bytes.is_overdrawn(waiting)
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries.used.load(Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.used.load(Relaxed)
    }

    pub(super) fn byte_limit(&self) -> u64 {
        self.bytes.limit.load(Relaxed)
    }
}

struct Gauge {
    used: AtomicU64,
    limit: AtomicU64,
}

impl Gauge {
    fn new(limit: u64) -> Self {
        Self { used: AtomicU64::new(0), limit: AtomicU64::new(limit) }
    }

    fn take(&self, amount: u64) -> bool {
        let limit = self.limit.load(Relaxed);
        // Acquire: pairs with `give_back`: what was there is gone before something else takes its room.
        self.used
            .fetch_update(Acquire, Relaxed, |used| Some(used + amount).filter(|used| *used <= limit))
            .is_ok()
    }

    fn give_back(&self, amount: u64) {
        self.used.fetch_sub(amount, Release);
    }

    fn is_overdrawn(&self, but_for: u64) -> bool {
        self.used.load(SeqCst).saturating_sub(but_for) > self.limit.load(SeqCst)
    }
}
