//! Whether the answers of a class are worth storing: not if practically none of them is ever asked for again.
//!
//! **A sample is followed.** One key in so many, chosen by the bits of the key, is noted when its answer is stored, in
//! one of [`PLACES`] places of its class. A hit marks it; the next key that needs the place pushes it out, and that is
//! its *verdict*: hit, or never. Keys are chosen so rarely that a place is kept for as long as about two times the whole
//! cache takes to be filled by the class alone: who was not hit by then would hardly be found in the cache any more. So
//! nothing is kept with the entries, and a hit on a key that is not followed costs a mask.
//!
//! **The rule.** With [`VERDICTS`] of them, a class of whose answers less than one in 128 was hit is no longer admitted,
//! but for one *key* in [`SHARE`] (a share of the answers would not do: when the key came again, its first answer would
//! hardly be among them). The keys that are followed are among those, so the verdicts go on, and a class of whose
//! answers one in 64 is hit is admitted again. Hits are counted at once and misses late, so it comes back soon.
//!
//! All is relaxed: figures to decide by. Verdicts are halved from time to time, so that old ones fade.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::key::CacheKey;

/// Keys of a class that are followed at a time.
const PLACES: usize = 64;
/// One key in so many is stored while its class is not admitted.
const SHARE: u64 = 16;
/// How many it takes to judge. They are halved at twice as many.
const VERDICTS: u32 = 128;
/// Below one in so many a class is no longer admitted.
const NEVER: u32 = 128;
/// From one in so many it is admitted again.
const AGAIN: u32 = 64;

/// Which keys are followed.
#[derive(Debug)]
pub(super) struct Followed {
    mask: AtomicU64,
}

impl Followed {
    /// For a cache of so many entries.
    pub(super) fn of(entries: usize) -> Self {
        Self { mask: AtomicU64::new(mask(entries)) }
    }

    /// The cache has so many from now on.
    pub(super) fn resize(&self, entries: usize) {
        self.mask.store(mask(entries), Relaxed);
    }

    /// The place of a key that is followed, and what it is recognised by: never 0, the lowest bit is free.
    #[inline]
    pub(super) fn mark(&self, key: &CacheKey) -> Option<Mark> {
        let [_, choice, third, fourth] = words(key);
        (choice & self.mask.load(Relaxed) == 0)
            .then_some(Mark { place: third as usize % PLACES, bits: fourth << 1 | 1 << 63 })
    }
}

/// The place of a key that is followed, and what it is recognised by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    place: usize,
    /// Never 0, and the lowest one is free.
    bits: u64,
}

fn mask(entries: usize) -> u64 {
    let one_in = (2 * entries / PLACES).max(SHARE as usize).next_power_of_two();
    one_in as u64 - 1
}

/// The bits by which keys are chosen; tables place keys by others.
fn choice(key: &CacheKey) -> u64 {
    words(key)[1]
}

fn words(key: &CacheKey) -> [u64; 4] {
    let (words, _) = key.as_bytes().as_chunks();
    std::array::from_fn(|i| u64::from_le_bytes(words[i]))
}

const HIT: u64 = 1;

/// What is known of one class.
#[derive(Debug)]
pub(super) struct Reuse {
    places: [AtomicU64; PLACES],
    verdicts: AtomicU32,
    /// How many of them say that the answer was hit.
    hits: AtomicU32,
    shut: AtomicBool,
}

impl Default for Reuse {
    fn default() -> Self {
        Self {
            places: [const { AtomicU64::new(0) }; PLACES],
            verdicts: AtomicU32::new(0),
            hits: AtomicU32::new(0),
            shut: AtomicBool::new(false),
        }
    }
}

impl Reuse {
    /// Whether an answer is to be stored.
    pub(super) fn admits(&self, key: &CacheKey) -> bool {
        !self.shut.load(Relaxed) || choice(key).is_multiple_of(SHARE)
    }

    /// An answer is stored.
    pub(super) fn stored(&self, key: &CacheKey, followed: &Followed) {
        if let Some(Mark { place, bits }) = followed.mark(key) {
            let before = self.places[place].swap(bits, Relaxed);
            if before != 0 && before & HIT == 0 {
                self.judge(false);
            }
        }
    }

    /// An answer was asked for whose key is followed.
    pub(super) fn hit(&self, Mark { place, bits }: Mark) {
        if self.places[place].load(Relaxed) == bits
            && self.places[place].compare_exchange(bits, bits | HIT, Relaxed, Relaxed).is_ok()
        {
            self.judge(true);
        }
    }

    fn judge(&self, hit: bool) {
        let hits = self.hits.fetch_add(u32::from(hit), Relaxed) + u32::from(hit);
        let verdicts = self.verdicts.fetch_add(1, Relaxed) + 1;
        if self.shut.load(Relaxed) {
            self.shut.store(hits * AGAIN < verdicts, Relaxed);
        } else {
            self.shut.store(verdicts >= VERDICTS && hits * NEVER < verdicts, Relaxed);
        }
        if verdicts >= 2 * VERDICTS {
            self.hits.store(hits / 2, Relaxed);
            self.verdicts.store(verdicts / 2, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> CacheKey {
        CacheKey::of(&[&n.to_le_bytes()])
    }

    /// Answers are stored one after the other, and every so many is hit; how many were admitted.
    fn store(
        reuse: &Reuse,
        followed: &Followed,
        keys: std::ops::Range<u64>,
        hit_every: Option<u64>,
    ) -> usize {
        let admitted = keys.filter(|n| {
            let admitted = reuse.admits(&key(*n));
            if admitted {
                reuse.stored(&key(*n), followed);
                if hit_every.is_some_and(|every| n.is_multiple_of(every)) {
                    followed.mark(&key(*n)).into_iter().for_each(|mark| reuse.hit(mark));
                }
            }
            admitted
        });
        admitted.count()
    }

    #[test]
    fn a_class_whose_answers_are_never_hit_is_no_longer_admitted_and_recovers_when_they_are() {
        let (reuse, followed) = (Reuse::default(), &Followed::of(100));
        assert_eq!(store(&reuse, followed, 0..2000, None), 2000, "too few verdicts");
        store(&reuse, followed, 2000..10_000, None);
        let share = store(&reuse, followed, 10_000..26_000, None);
        assert!((800..1200).contains(&share), "one key in {SHARE}, and not {share} of 16,000");
        store(&reuse, followed, 26_000..27_000, Some(1));
        assert_eq!(store(&reuse, followed, 27_000..30_000, Some(10)), 3000);
    }

    #[test]
    fn a_class_of_whose_answers_a_few_are_hit_is_admitted() {
        let (reuse, followed) = (Reuse::default(), &Followed::of(100));
        assert_eq!(store(&reuse, followed, 0..50_000, Some(20)), 50_000);
    }

    #[test]
    fn a_key_that_is_let_in_is_let_in_again() {
        let (reuse, followed) = (Reuse::default(), &Followed::of(100));
        store(&reuse, followed, 0..20_000, None);
        let admitted = |n: &u64| reuse.admits(&key(*n));
        let once: Vec<u64> = (0..1000).filter(admitted).collect();
        let again: Vec<u64> = (0..1000).filter(admitted).collect();
        assert!(!once.is_empty() && once.len() < 200);
        assert_eq!(once, again);
    }

    #[test]
    fn keys_are_followed_for_longer_than_a_cache_of_any_size_holds_them() {
        for entries in [1, 100, 1000, 1 << 20, 1 << 28] {
            let mask = mask(entries);
            assert!((mask + 1) * PLACES as u64 >= 2 * entries as u64);
            assert_eq!(mask % SHARE, SHARE - 1, "those that are followed are let in");
        }
    }

    #[test]
    fn an_answer_that_is_hit_often_is_one_verdict() {
        let reuse = Reuse::default();
        let followed = &Followed { mask: AtomicU64::new(0) };
        reuse.stored(&key(1), followed);
        (0..10).for_each(|_| reuse.hit(followed.mark(&key(1)).unwrap()));
        assert_eq!((reuse.verdicts.load(Relaxed), reuse.hits.load(Relaxed)), (1, 1));
        reuse.stored(&key(1), followed);
        assert_eq!(reuse.verdicts.load(Relaxed), 1);
    }
}
