//! How long messages of a class take: a decaying mean and a decaying histogram for each.
//!
//! A fixed table, open addressing, one word for the class and one for its mean. A class takes an entry with one
//! compare-exchange and keeps it; nobody waits for anybody. Beyond the table's size classes share the mean over all.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::histogram::Histogram;
use crate::grpc::performance::monitor::Class;

/// Entries; a power of two.
const ENTRIES: usize = 1024;
/// Entries that are looked at for a class.
const PROBES: usize = 16;
/// Samples that a mean remembers: of a class, and of all messages. So many that the mean of an exponential law is off by
/// a tenth or so, and few enough to follow what changes. The one over all steers `queue_control`, which takes a mean
/// that swings for a wait that swings.
const SAMPLES: u64 = 64;
const SAMPLES_OF_ALL: u64 = 255;
/// Bits of a mean that count its samples, up to those; the rest are nanoseconds.
const COUNT_BITS: u32 = 8;

struct Entry {
    /// Hash of the class; 0: free.
    class: AtomicU64,
    mean: Mean,
    spread: Histogram,
    /// What half of the messages of the class take at most; 0 while nothing is known.
    median: AtomicU64,
}

pub(super) struct ServiceTimes {
    entries: Box<[Entry]>,
    all: Mean,
    spread: Histogram,
    /// Over all messages.
    median: AtomicU64,
}

/// Samples between two readings of a median, once there are as many: reading it looks at every bucket.
const REREAD: u32 = 32;

/// Counts a sample, and keeps the median up to date.
fn count(spread: &Histogram, median: &AtomicU64, sample: u64) {
    let seen = spread.count(sample);
    if (seen < REREAD || seen.is_multiple_of(REREAD))
        && let Some(half) = spread.quantile(0.5)
    {
        median.store(half, Relaxed);
    }
}

/// Two classes of one hash (once in 2^64) share a mean.
fn hash(class: Class) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = class.name().bytes().chain(class.detail().to_le_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    (hash ^ hash >> 32).max(1)
}

/// A mean, and how many samples it is of.
#[derive(Default)]
struct Mean(AtomicU64);

impl Mean {
    /// A sample moves the mean by its share: that of one among those seen, or, in the long run, of one in `most`. A lost
    /// update is one sample less.
    fn update(&self, sample: u64, most: u64) {
        let word = self.0.load(Relaxed);
        let (old, seen) = (word >> COUNT_BITS, word & ((1 << COUNT_BITS) - 1));
        let seen = (seen + 1).min(most);
        let sample = sample.min(u64::MAX >> COUNT_BITS);
        let new = if sample > old { old + (sample - old) / seen } else { old - (old - sample) / seen };
        self.0.store(new.max(1) << COUNT_BITS | seen, Relaxed);
    }

    /// Nanoseconds; 0 while there was no sample.
    fn get(&self) -> u64 {
        self.0.load(Relaxed) >> COUNT_BITS
    }
}

impl ServiceTimes {
    pub(super) fn new() -> Self {
        let free = || Entry {
            class: AtomicU64::new(0),
            mean: Mean::default(),
            spread: Histogram::new(),
            median: AtomicU64::new(0),
        };
        Self {
            entries: (0..ENTRIES).map(|_| free()).collect(),
            all: Mean::default(),
            spread: Histogram::new(),
            median: AtomicU64::new(0),
        }
    }

    fn find(&self, class: Class, take: bool) -> Option<&Entry> {
        let hash = hash(class);
        for probe in 0..PROBES {
            let entry = &self.entries[(hash as usize + probe) % ENTRIES];
            let found = match entry.class.load(Relaxed) {
                0 if take => entry.class.compare_exchange(0, hash, Relaxed, Relaxed).err().unwrap_or(hash),
                found => found,
            };
            if found == hash {
                return Some(entry);
            }
            if found == 0 {
                return None;
            }
        }
        None
    }

    pub(super) fn learn(&self, class: Class, nanoseconds: u64) {
        if let Some(entry) = self.find(class, true) {
            entry.mean.update(nanoseconds, SAMPLES);
            count(&entry.spread, &entry.median, nanoseconds);
        }
        self.all.update(nanoseconds, SAMPLES_OF_ALL);
        count(&self.spread, &self.median, nanoseconds);
    }

    /// Nanoseconds that this share of the messages of a class take at most; `None` while too few were seen to tell.
    pub(super) fn quantile(&self, class: Class, share: f64) -> Option<u64> {
        self.find(class, false)?.spread.quantile(share)
    }

    /// Nanoseconds that half of the messages of a class take at most; 0 while nothing is known of it.
    pub(super) fn median_of(&self, class: Class) -> u64 {
        self.find(class, false).map_or(0, |entry| entry.median.load(Relaxed))
    }

    /// The same over all messages.
    pub(super) fn median(&self) -> u64 {
        self.median.load(Relaxed)
    }

    /// Nanoseconds that a message of the class takes; the mean over all while nothing is known of it.
    pub(super) fn expected(&self, class: Class) -> u64 {
        match self.find(class, false).map_or(0, |entry| entry.mean.get()) {
            0 => self.mean(),
            mean => mean,
        }
    }

    /// Over all messages.
    pub(super) fn mean(&self) -> u64 {
        self.all.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_classes_than_entries_are_learnt_as_far_as_there_is_room_and_the_rest_count_as_the_mean() {
        let times = ServiceTimes::new();
        for detail in 0..4 * ENTRIES as u32 {
            times.learn(Class::new("many").refined(detail), 1000);
        }
        assert!(
            (0..4 * ENTRIES as u32).all(|detail| times.expected(Class::new("many").refined(detail)) > 900)
        );
    }

    #[test]
    fn the_mean_follows_what_changes() {
        let times = ServiceTimes::new();
        let class = Class::DEFAULT;
        times.learn(class, 1_000_000);
        assert_eq!(times.expected(class), 1_000_000);
        for _ in 0..400 {
            times.learn(class, 1000);
        }
        assert!(times.expected(class) < 2000, "{}", times.expected(class));
    }
}
