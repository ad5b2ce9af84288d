//! How long messages of a class take: a decaying mean and a decaying histogram for each.
//!
//! A fixed table, open addressing, one word for the class and one for its mean. A class takes an entry with one
//! compare-exchange and keeps it; nobody waits for anybody. Beyond the table's size classes share the mean over all.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crossbeam::utils::CachePadded;
use once_cell::race::OnceBox;

use super::{histogram::Histogram, own_time::OwnTime};
use crate::grpc::performance::monitor::Class;

/// Entries; a power of two.
pub(super) const ENTRIES: usize = 1 << ENTRY_BITS;
/// Bits that name an entry.
pub(super) const ENTRY_BITS: u32 = 10;
/// Entries that are looked at for a class.
const PROBES: usize = 16;
/// Samples that a mean remembers: of a class, and of all messages. So many that the mean of an exponential law is off by
/// a tenth or so, and few enough to follow what changes. The one over all steers `queue_control`, which takes a mean
/// that swings for a wait that swings.
const SAMPLES: u64 = 64;
const SAMPLES_OF_ALL: u64 = 255;
/// Bits of a mean that count its samples, up to those; the rest are nanoseconds.
const COUNT_BITS: u32 = 8;

/// Where the mean is below this, one message in [`ONE_IN`] is learnt from: there are many, they are soon over, and what all
/// workers write for each of them is passed from core to core. Which one is left to chance, or to the last bits of its own
/// time, on which its length has no influence to speak of: so long ones among them weigh as much as they should.
pub(super) const BRIEF: u64 = 1_000;
pub(super) const ONE_IN: u64 = 16;

/// How a message came to be learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sample {
    /// As all are: where they are brief, by the last bits of its time.
    Any,
    /// It was chosen from among [`ONE_IN`] before it ran.
    Chosen,
}

/// How long messages take, of a class or of all.
struct Law {
    mean: Mean,
    spread: Histogram,
    /// What half of them take at most; 0 while nothing is known.
    median: AtomicU64,
}

struct Entry {
    /// Hash of the class; 0: free.
    class: AtomicU64,
    law: Law,
    /// Messages of the class that wait in the background.
    in_background: AtomicU32,
    /// Of a class that somebody vouches for.
    own: OnceBox<OwnTime>,
}

pub(super) struct ServiceTimes {
    entries: Box<[Entry]>,
    /// In cache lines of its own: all workers write it, and what is beside it everybody reads.
    all: CachePadded<Law>,
}

/// Samples between two readings of a spread, once there are as many: reading it looks at every bucket.
const REREAD: u32 = 32;

impl Law {
    fn unknown() -> Self {
        Self { mean: Mean::default(), spread: Histogram::new(), median: AtomicU64::new(0) }
    }

    /// Whether messages are known to be brief, by so many samples.
    fn is_brief(&self, samples: u64) -> bool {
        self.mean.is_of(samples) && self.mean.get() < BRIEF
    }

    /// Learns from a sample, with a mean of so many; true when the spread is to be read anew.
    fn learn(&self, sample: u64, samples: u64, how: Sample) -> bool {
        if how == Sample::Any && self.is_brief(samples) && !sample.is_multiple_of(ONE_IN) {
            return false;
        }
        self.mean.update(sample, samples);
        let seen = self.spread.count(sample);
        let anew = seen < REREAD || seen.is_multiple_of(REREAD);
        if anew && let Some(half) = self.spread.quantile(0.5) {
            self.median.store(half, Relaxed);
        }
        anew
    }
}

/// Two classes of one hash (once in 2^64) share a mean.
fn hash(class: Class) -> u64 {
    class.hash().max(1)
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

    /// Whether it is of so many samples, as many as it remembers.
    fn is_of(&self, most: u64) -> bool {
        self.0.load(Relaxed) & ((1 << COUNT_BITS) - 1) == most
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
            law: Law::unknown(),
            in_background: AtomicU32::new(0),
            own: OnceBox::new(),
        };
        Self { entries: (0..ENTRIES).map(|_| free()).collect(), all: CachePadded::new(Law::unknown()) }
    }

    fn look_for(&self, class: Class, take: bool) -> Option<usize> {
        let hash = hash(class);
        for probe in 0..PROBES {
            let place = (hash as usize + probe) % ENTRIES;
            let entry = &self.entries[place];
            let found = match entry.class.load(Relaxed) {
                0 if take => entry.class.compare_exchange(0, hash, Relaxed, Relaxed).err().unwrap_or(hash),
                found => found,
            };
            if found == hash {
                return Some(place);
            }
            if found == 0 {
                return None;
            }
        }
        None
    }

    /// The entry of a class, if anything was learnt of it; it stays the same.
    pub(super) fn find(&self, class: Class) -> Option<usize> {
        self.look_for(class, false)
    }

    /// The same, for who will learn something of it; `None` when the table has no room for it.
    pub(super) fn find_or_take(&self, class: Class) -> Option<usize> {
        self.look_for(class, true)
    }

    /// A message has taken so many, of the class with this entry, if that has one. True when how all are spread is to be read
    /// anew.
    pub(super) fn learn(&self, entry: Option<usize>, nanoseconds: u64, how: Sample) -> bool {
        let of_class = entry.is_some_and(|entry| self.entries[entry].law.learn(nanoseconds, SAMPLES, how));
        let of_all = self.all.learn(nanoseconds, SAMPLES_OF_ALL, how);
        of_class || of_all
    }

    /// What messages beyond this length weigh among all, each by the square of its time. Looks at a hundred counters.
    pub(super) fn square_share_beyond(&self, nanoseconds: u64) -> f64 {
        self.all.spread.square_share_beyond(nanoseconds)
    }

    /// Whether the messages of an entry are known to be brief, and all others too, in the mean.
    pub(super) fn are_brief(&self, entry: Option<usize>) -> bool {
        let of_class = entry.is_none_or(|entry| self.entries[entry].law.is_brief(SAMPLES));
        of_class && self.all.is_brief(SAMPLES_OF_ALL)
    }

    /// Nanoseconds that this share of the messages of a class take at most; `None` while too few were seen to tell.
    pub(super) fn quantile(&self, class: Class, share: f64) -> Option<u64> {
        self.entries[self.find(class)?].law.spread.quantile(share)
    }

    /// Nanoseconds that half of the messages of a class take at most; 0 while nothing is known of it.
    pub(super) fn median_at(&self, entry: usize) -> u64 {
        self.entries[entry].law.median.load(Relaxed)
    }

    /// How much of a core messages of an entry take. By who learns it.
    pub(super) fn own_time_at(&self, entry: usize) -> &OwnTime {
        self.entries[entry].own.get_or_init(|| Box::new(OwnTime::unknown()))
    }

    /// Nanoseconds that all but one in a thousand messages of an entry take of a core at most; `None` while too few were
    /// seen to tell.
    pub(super) fn own_tail_at(&self, entry: usize) -> Option<u64> {
        self.entries[entry].own.get()?.tail()
    }

    /// The median over all messages.
    pub(super) fn median(&self) -> u64 {
        self.all.median.load(Relaxed)
    }

    /// Messages of a class that wait in the background, for the forecast to count.
    pub(super) fn in_background(&self, entry: usize) -> &AtomicU32 {
        &self.entries[entry].in_background
    }

    /// Nanoseconds that a message of the class takes; the mean over all while nothing is known of it.
    pub(super) fn expected_at(&self, entry: Option<usize>) -> u64 {
        match entry.map_or(0, |entry| self.entries[entry].law.mean.get()) {
            0 => self.mean(),
            mean => mean,
        }
    }

    /// Whether the messages of an entry are known to take fewer nanoseconds in the mean; all messages, where there is none.
    pub(super) fn is_known_to_be_within(&self, entry: Option<usize>, nanoseconds: u64) -> bool {
        let mean = entry.map_or_else(|| self.mean(), |entry| self.entries[entry].law.mean.get());
        mean > 0 && mean < nanoseconds
    }

    /// Over all messages.
    pub(super) fn mean(&self) -> u64 {
        self.all.mean.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(times: &ServiceTimes, class: Class) -> u64 {
        times.expected_at(times.find(class))
    }

    fn learn(times: &ServiceTimes, class: Class, nanoseconds: u64) {
        times.learn(times.find_or_take(class), nanoseconds, Sample::Any);
    }

    #[test]
    fn more_classes_than_entries_are_learnt_as_far_as_there_is_room_and_the_rest_count_as_the_mean() {
        let times = ServiceTimes::new();
        for detail in 0..4 * ENTRIES as u32 {
            learn(&times, Class::new("many").refined(detail), 1000);
        }
        assert!(
            (0..4 * ENTRIES as u32).all(|detail| expected(&times, Class::new("many").refined(detail)) > 900)
        );
    }

    #[test]
    fn of_brief_messages_some_are_learnt_from_and_what_is_long_among_them_weighs_as_much_as_it_should() {
        let times = ServiceTimes::new();
        let class = Class::DEFAULT;
        // One in a hundred takes 20 µs, the others 100 ns or so: 300 in the mean.
        let mut means = Vec::new();
        for number in 0..200_000_u64 {
            let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
            learn(&times, class, if number % 100 == 0 { 20_000 } else { 70 } + noise);
            means.push(expected(&times, class));
        }
        let mean = means.iter().sum::<u64>() / means.len() as u64;
        assert!((200..400).contains(&mean), "{mean} ns");
        let median = times.median_at(times.find(class).unwrap());
        assert!(median <= 1_024, "{median} ns");
    }

    #[test]
    fn the_mean_follows_what_changes() {
        let times = ServiceTimes::new();
        let class = Class::DEFAULT;
        learn(&times, class, 1_000_000);
        assert_eq!(expected(&times, class), 1_000_000);
        for _ in 0..400 {
            learn(&times, class, 1000);
        }
        assert!(expected(&times, class) < 2000, "{}", expected(&times, class));
    }
}
