//! Whether it pays to store the answers of a class compressed.
//!
//! Every answer that is compressed, or tried in vain, is a sample: the bytes that it saved, at [`WORTH`] each, less the
//! time that it took, and less the time that hits have taken to decompress since the last sample. A decaying sum of those
//! is the class's *balance*. While it is below zero, answers of the class are stored as they are, but for one in
//! [`PROBE`] that is tried, so that a class whose answers change is found out. So answers that do not shrink cost no time,
//! nor do those that shrink and are read so often that unpacking them costs more than the room that they leave.
//!
//! All is relaxed, and not even added up atomically where it need not: it is a figure to decide by, and a lost sample is
//! one sample less.

use std::{
    sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::value::{Body, Packed};
use crate::platform::clock;

/// Nanoseconds that a byte of room is worth. LZ4 takes about 2 for a byte that it reads, so an answer pays for its
/// compression if an eighth of it is saved.
const WORTH: i64 = 16;
/// Nanoseconds for each byte of an answer that a sample counts at most: what takes longer was interrupted.
const SLOWEST: u64 = 12;
/// An answer below this is stored as it is: the entry around it takes twice as much.
const SMALLEST: usize = 128;
/// The part of an answer that has to be saved, as a divisor: below it, unpacking is not worth while.
const LEAST_SAVED: u64 = 8;
/// Share of a sample in the balance, as a divisor.
const WEIGHT: i64 = 8;
/// One in so many is tried while compression does not pay.
const PROBE: u32 = 16;

/// What compression has brought and cost in one class.
#[derive(Debug, Default)]
pub(super) struct Balance {
    nanoseconds: AtomicI64,
    /// Time spent on unpacking that no sample has counted yet.
    unpacking: AtomicU64,
    passed_over: AtomicU32,
}

impl Balance {
    /// The answer as LZ4, if it is worth while. Takes a sample if it tries.
    pub(super) fn compress(&self, value: &[u8]) -> Option<Body> {
        self.compress_by(clock::now, value)
    }

    fn compress_by(&self, now: impl Fn() -> Instant, value: &[u8]) -> Option<Body> {
        if value.len() < SMALLEST || !self.is_to_be_tried() {
            return None;
        }
        let begun = now();
        let body = Body::compressed(value)
            .filter(|body| body.saved().is_some_and(|saved| saved * LEAST_SAVED >= value.len() as u64));
        let saved = body.as_ref().and_then(Body::saved).unwrap_or(0);
        self.sample(value.len(), saved, now() - begun);
        body
    }

    /// The answer, unpacked if it has to be.
    pub(super) fn open(&self, packed: Packed) -> Bytes {
        if !packed.is_compressed() {
            return packed.open();
        }
        let begun = clock::now();
        let value = packed.open();
        self.unpacked(value.len(), clock::now() - begun);
        value
    }

    fn is_to_be_tried(&self) -> bool {
        self.pays() || self.passed_over.fetch_add(1, Relaxed) % PROBE == PROBE - 1
    }

    fn pays(&self) -> bool {
        self.nanoseconds.load(Relaxed) >= 0
    }

    fn sample(&self, len: usize, saved: u64, spent: Duration) {
        let spent = nanoseconds(len, spent) + self.unpacking.swap(0, Relaxed);
        let gain = saved as i64 * WORTH - spent as i64;
        let before = self.nanoseconds.load(Relaxed);
        self.nanoseconds.store(before - before / WEIGHT + gain, Relaxed);
    }

    fn unpacked(&self, len: usize, spent: Duration) {
        self.unpacking.fetch_add(nanoseconds(len, spent), Relaxed);
    }
}

fn nanoseconds(len: usize, spent: Duration) -> u64 {
    (spent.as_nanos() as u64).min(len as u64 * SLOWEST)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LEN: usize = 10_000;

    /// As fast as LZ4 is as a rule.
    const SPENT: Duration = Duration::from_micros(20);

    fn noise(n: u64) -> Vec<u8> {
        (0..(LEN / 32) as u64)
            .flat_map(|i| *crate::CacheKey::of(&[&n.to_le_bytes(), &i.to_le_bytes()]).as_bytes())
            .collect()
    }

    /// How many of a hundred answers are stored compressed, if each takes [`SPENT`].
    fn compressed(balance: &Balance, value: impl Fn(u64) -> Vec<u8>) -> usize {
        let time = Cell::new(Instant::now());
        let tick = || time.replace(time.get() + SPENT);
        (0..100).filter(|n| balance.compress_by(tick, &value(*n)).is_some()).count()
    }

    /// How many of a hundred answers are tried.
    fn tried(balance: &Balance, saved: u64) -> usize {
        let tries = (0..100).filter(|_| {
            let tried = balance.is_to_be_tried();
            if tried {
                balance.sample(LEN, saved, SPENT);
            }
            tried
        });
        tries.count()
    }

    #[test]
    fn compression_stops_where_it_does_not_pay_and_starts_again_when_the_answers_change() {
        let balance = Balance::default();
        let zeros = |_| vec![0; LEN];
        assert_eq!(compressed(&balance, zeros), 100);
        assert_eq!(compressed(&balance, noise), 0);
        assert!(!balance.pays());
        assert!(tried(&balance, 0) <= 1 + 100 / PROBE as usize, "what does not shrink costs no time");
        assert!(compressed(&balance, zeros) > 50, "what shrinks is found out");
        assert_eq!(compressed(&balance, zeros), 100);
    }

    #[test]
    fn what_a_byte_costs_decides() {
        for (saved, pays) in [(LEN / 2, true), (LEN / 7, true), (LEN / 9, false), (0, false)] {
            let balance = Balance::default();
            tried(&balance, saved as u64);
            assert_eq!(balance.pays(), pays, "{saved} bytes saved");
        }
    }

    #[test]
    fn answers_that_are_read_all_the_time_are_not_worth_unpacking() {
        let balance = Balance::default();
        let unpacking = Duration::from_micros(5);
        for (hits, pays) in [(5, true), (50, false), (5, true)] {
            for _ in 0..20 * PROBE {
                if balance.is_to_be_tried() {
                    balance.sample(LEN, LEN as u64 / 2, SPENT);
                }
                // Only what was stored compressed is unpacked.
                (0..if balance.pays() { hits } else { hits / PROBE })
                    .for_each(|_| balance.unpacked(LEN, unpacking));
            }
            assert_eq!(balance.pays(), pays, "{hits} hits for each answer");
        }
    }

    #[test]
    fn an_interruption_counts_no_more_than_the_slowest_compression() {
        let balance = Balance::default();
        balance.sample(LEN, LEN as u64 * 9 / 10, Duration::from_secs(1));
        assert!(balance.pays());
    }

    #[test]
    fn small_answers_and_those_that_hardly_shrink_are_stored_as_they_are() {
        let balance = Balance::default();
        assert!(balance.compress(&[0; SMALLEST - 1]).is_none());
        let mut hardly = noise(0);
        hardly.extend([0; LEN / 10]);
        assert!(Body::compressed(&hardly).is_some());
        assert!(balance.compress(&hardly).is_none());
    }
}
