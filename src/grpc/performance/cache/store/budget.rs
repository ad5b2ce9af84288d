//! What one shard may hold: entries and bytes, taken before anything is stored and given back once it is gone.
//!
//! What is counted is what is there, including the entry that a stopped reader still looks at after it was thrown out. So
//! neither limit is exceeded, at any moment, but by what was moved (see [`Store::resize`](super::Store::resize)), and
//! by what there was before a limit was lowered.

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

    /// Whether there is room for one entry of this size, which is taken with that.
    pub(super) fn take(&self, size: u64) -> bool {
        if !self.entries.take(1) {
            return false;
        }
        let taken = self.bytes.take(size);
        if !taken {
            self.entries.give_back(1);
        }
        taken
    }

    /// Whether an entry of one size can be replaced by one of another.
    pub(super) fn exchange(&self, before: u64, after: u64) -> bool {
        if after > before {
            return self.bytes.take(after - before);
        }
        if after < before {
            self.bytes.give_back(before - after);
        }
        true
    }

    /// Takes room whether it is there or not.
    pub(super) fn overdraw(&self, size: u64) {
        self.entries.used.fetch_add(1, Relaxed);
        self.bytes.used.fetch_add(size, Relaxed);
    }

    pub(super) fn give_back(&self, size: u64) {
        self.entries.give_back(1);
        self.bytes.give_back(size);
    }

    pub(super) fn set_limits(&self, entries: u64, bytes: u64) {
        // SeqCst, as in `is_overdrawn`: see `resize`.
        self.entries.limit.store(entries, SeqCst);
        self.bytes.limit.store(bytes, SeqCst);
    }

    pub(super) fn is_overdrawn(&self) -> bool {
        self.entries.is_overdrawn() || self.bytes.is_overdrawn()
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

    fn is_overdrawn(&self) -> bool {
        self.used.load(SeqCst) > self.limit.load(SeqCst)
    }
}
