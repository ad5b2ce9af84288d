//! What the cache has done, in plain counters.
//!
//! All counters are relaxed: each stands for itself, and a reader gets figures that are at most a moment apart.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the cache has done since it was made, and what it holds. Every look-up that is not given up counts once: as a hit,
/// as a join, or as a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Look-ups that were answered from the cache.
    pub hits: u64,
    /// Look-ups that had to be computed.
    pub misses: u64,
    /// Look-ups that were answered by a computation that was already going on.
    pub joins: u64,
    /// Those of the hits whose answer was stale, and served while somebody computed it anew.
    pub stale_hits: u64,
    /// Those of the hits that said why there is no answer.
    pub failure_hits: u64,
    /// Answers that were not stored, since those of their class are never asked for again.
    pub not_admitted: u64,
    /// Answers that were stored.
    pub insertions: u64,
    /// Answers that were thrown out to make room.
    pub evictions: u64,
    /// Answers that were found too old when they were asked for, and thrown out.
    pub expired: u64,
    /// Answers that were not stored since they are larger than what the cache may hold.
    pub rejected_too_large: u64,
    /// Answers that were stored compressed.
    pub compressed: u64,
    /// Bytes that compression has saved, over all answers ever stored.
    pub bytes_saved: u64,
    /// Answers that are stored now, too old ones included until they are noticed.
    pub entries: usize,
    /// Bytes that they take, as `cache_byte_capacity` counts them.
    pub bytes: usize,
}

impl CacheStats {
    /// Share of look-ups that did not have to be computed, from 0 to 1; 0 before the first.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        let answered = self.hits + self.joins;
        match answered + self.misses {
            0 => 0.0,
            lookups => answered as f64 / lookups as f64,
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Hits,
    Misses,
    Joins,
    StaleHits,
    FailureHits,
    NotAdmitted,
    Insertions,
    Evictions,
    Expired,
    RejectedTooLarge,
    Compressed,
    BytesSaved,
}

const COUNTS: usize = Count::BytesSaved as usize + 1;

/// The counters of one cache that one thread keeps for itself: adding is a load and a store to cache lines that no other
/// thread writes.
#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; COUNTS]);

impl Counters {
    /// By their thread. How often it has counted it by now.
    #[inline]
    pub(super) fn add(&self, count: Count, n: u64) -> u64 {
        let own = &self.0[count as usize];
        let sum = own.load(Relaxed) + n;
        own.store(sum, Relaxed);
        sum
    }

    /// How often its thread has counted it.
    pub(super) fn get(&self, count: Count) -> u64 {
        self.0[count as usize].load(Relaxed)
    }
}

impl CacheStats {
    /// What the counters of all threads come to.
    pub(super) fn of<'a>(counters: impl Iterator<Item = &'a Counters>, entries: usize, bytes: usize) -> Self {
        let mut sums = [0; COUNTS];
        for Counters(of_one_thread) in counters {
            sums.iter_mut().zip(of_one_thread).for_each(|(sum, count)| *sum += count.load(Relaxed));
        }
        let sum = |count| sums[count as usize];
        Self {
            hits: sum(Count::Hits),
            misses: sum(Count::Misses),
            joins: sum(Count::Joins),
            stale_hits: sum(Count::StaleHits),
            failure_hits: sum(Count::FailureHits),
            not_admitted: sum(Count::NotAdmitted),
            insertions: sum(Count::Insertions),
            evictions: sum(Count::Evictions),
            expired: sum(Count::Expired),
            rejected_too_large: sum(Count::RejectedTooLarge),
            compressed: sum(Count::Compressed),
            bytes_saved: sum(Count::BytesSaved),
            entries,
            bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hit_ratio_counts_joins_as_answered() {
        assert_eq!(CacheStats::default().hit_ratio(), 0.0);
        let stats = CacheStats { hits: 2, joins: 1, misses: 1, ..CacheStats::default() };
        assert_eq!(stats.hit_ratio(), 0.75);
    }
}
