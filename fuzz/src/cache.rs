//! The cache of answers: what it has is what was stored last, and its budgets hold, whatever it chooses to forget.

use std::collections::HashMap;

use arbitrary::Arbitrary;
use millstream::{CacheKey, OptimizationConfig, StreamCache};

use crate::THREADS;

const KEYS: u8 = 32;

#[derive(Debug, Arbitrary)]
enum Plan {
    Alone { settings: Settings, steps: Vec<Step> },
    Together { settings: Settings, threads: Vec<Vec<Step>> },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Settings {
    entries: u8,
    kilobytes: u8,
    compression: bool,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Step {
    Get(u8),
    Insert { key: u8, length: u16 },
    Invalidate(u8),
    Clear,
    Resize { entries: u8, kilobytes: u8 },
}

/// See the module.
pub fn cache(data: &[u8]) {
    match crate::read(data) {
        Some(Plan::Alone { settings, steps }) => alone(settings, &steps),
        Some(Plan::Together { settings, threads }) => together(settings, &threads),
        None => {}
    }
}

fn budgets(entries: u8, kilobytes: u8) -> (usize, usize) {
    (usize::from(entries) + 1, (usize::from(kilobytes) + 1) << 10)
}

fn make(Settings { entries, kilobytes, compression }: Settings) -> StreamCache {
    let (cache_capacity, cache_byte_capacity) = budgets(entries, kilobytes);
    let config = OptimizationConfig {
        cache_capacity,
        cache_byte_capacity,
        enable_cache_compression: compression,
        ..OptimizationConfig::default()
    };
    StreamCache::new(&config).expect("all budgets of this size are in range")
}

fn key(key: u8) -> CacheKey {
    CacheKey::of(&[&[key % KEYS]])
}

/// A value that says which key it is for, who wrote it, and as which of theirs. Half of them compress well.
fn value(key: u8, writer: usize, number: usize, length: u16) -> Vec<u8> {
    let mut value = vec![key % KEYS, writer as u8];
    value.extend_from_slice(&(number as u32).to_le_bytes());
    let filler = |n: u16| if length.is_multiple_of(2) { 7 } else { (n.wrapping_mul(40_503) >> 7) as u8 };
    value.extend((0..length % 4096).map(filler));
    value
}

fn alone(settings: Settings, steps: &[Step]) {
    let cache = make(settings);
    let (mut entries, mut bytes) = budgets(settings.entries, settings.kilobytes);
    let mut model = HashMap::new();
    for (number, &step) in steps.iter().enumerate() {
        match step {
            Step::Get(which) => {
                if let Some(found) = cache.get(&key(which)) {
                    assert_eq!(
                        Some(&found[..]),
                        model.get(&(which % KEYS)).map(|value: &Vec<u8>| &value[..])
                    );
                }
            }
            Step::Insert { key: which, length } => {
                let value = value(which, 0, number, length);
                cache.insert(key(which), &value);
                model.insert(which % KEYS, value);
            }
            Step::Invalidate(which) => {
                let (removed, known) = (cache.invalidate(&key(which)), model.remove(&(which % KEYS)));
                assert!(known.is_some() || !removed);
                assert_eq!(cache.get(&key(which)), None);
            }
            Step::Clear => {
                cache.clear();
                model.clear();
                assert_eq!(cache.stats().entries, 0);
            }
            Step::Resize { entries: wanted, kilobytes } => {
                let (new_entries, new_bytes) = budgets(wanted, kilobytes);
                if cache.resize(new_entries, new_bytes).is_ok() {
                    (entries, bytes) = (new_entries, new_bytes);
                }
            }
        }
        let stats = cache.stats();
        assert!(stats.entries <= entries && stats.bytes <= bytes, "{entries}, {bytes}: {stats:?}");
        assert!(stats.entries <= model.len(), "{stats:?}");
    }
}

/// Who reads a key sees values for that key only, and of what one thread wrote to it never an older one after a newer.
fn together(settings: Settings, threads: &[Vec<Step>]) {
    let cache = make(settings);
    let run = |me: usize, steps: &Vec<Step>| {
        let mut newest = HashMap::new();
        for (number, &step) in steps.iter().enumerate() {
            match step {
                Step::Get(which) => {
                    let Some(found) = cache.get(&key(which)) else { continue };
                    let (writer, written) = (found[1], &found[2..6]);
                    let written = u32::from_le_bytes(written.try_into().expect("four bytes"));
                    let before = newest.insert((which % KEYS, writer), written);
                    assert_eq!(found[0], which % KEYS);
                    assert!(before.is_none_or(|before| before <= written), "an older value after a newer");
                }
                Step::Insert { key: which, length } => {
                    cache.insert(key(which), &value(which, me, number, length));
                }
                Step::Invalidate(which) => drop(cache.invalidate(&key(which))),
                Step::Clear => cache.clear(),
                Step::Resize { .. } => {
                    let stats = cache.stats();
                    let (entries, bytes) = budgets(settings.entries, settings.kilobytes);
                    // One value for each thread may be on its way in.
                    assert!(stats.entries <= entries + THREADS, "{stats:?}");
                    assert!(stats.bytes <= bytes + THREADS * (4096 + 512), "{stats:?}");
                }
            }
        }
    };
    crate::together(threads, run);
    cache.clear();
    assert_eq!(cache.stats().entries, 0);
}
