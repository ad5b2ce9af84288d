//! Caches: the victim reads and writes by turns, one thread reads, one writes.

use std::hint::black_box;

use millstream::CacheKey;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    common::{
        contenders::{CONTENDERS, Contender},
        verdict::Verdict,
    },
    pause::Aim,
    rig::{Kind, Progress, Rig, Row},
};

const ENTRIES: usize = 1024;
/// Twice what there is room for: every other insertion evicts.
const KEYS: usize = 2 * ENTRIES;
/// Keys that are read; so few that most of them stay.
const READ: usize = 128;
/// Small, so that copying it does not hide the structure.
const VALUE: [u8; 64] = [7; 64];

/// Every cache in turn.
pub(crate) fn run(injections: usize) -> Vec<Row> {
    let keys: Vec<CacheKey> = (0..KEYS as u64).map(|n| CacheKey::of(&[&n.to_le_bytes()])).collect();
    let measured = CONTENDERS.iter().filter(|(name, _)| *name != "lru");
    measured.flat_map(|(name, make)| one(name, &*make(ENTRIES), &keys, injections)).collect()
}

fn one(name: &'static str, cache: &dyn Contender, keys: &[CacheKey], injections: usize) -> Vec<Row> {
    keys.iter().for_each(|key| cache.insert(*key, &VALUE));
    let aim = Aim::default();
    let (hits, inserts) = (Progress::new(Kind::CacheHit), Progress::new(Kind::CacheInsert));
    let read = |random: &mut SmallRng| black_box(cache.get(&keys[random.random_range(..READ)]));
    let write = |random: &mut SmallRng| cache.insert(keys[random.random_range(..KEYS)], &VALUE);
    let [mut victim, mut reader, mut writer] = [1, 2, 3].map(SmallRng::seed_from_u64);
    let (aim, hits, inserts) = (&aim, &hits, &inserts);
    Rig {
        name,
        aims: vec![aim],
        loops: vec![
            Box::new(move || {
                read(&mut victim);
                write(&mut victim);
                aim.rest();
            }),
            Box::new(move || {
                read(&mut reader);
                hits.made();
            }),
            Box::new(move || {
                write(&mut writer);
                inserts.made();
            }),
        ],
        progress: vec![hits, inserts],
    }
    .run(injections)
}

/// What the cache is to reach.
pub(crate) fn judge(rows: &[Row]) -> Vec<Verdict> {
    let ours = rows.iter().filter(|row| row.name == "millstream");
    ours.filter_map(|row| match row.kind {
        Kind::CacheHit => {
            let text = "pauses that stalled a hit, beside those of the control";
            Some(Verdict::at_most(1, text, row.stalls as f64, row.control_stalls as f64))
        }
        Kind::CacheInsert => {
            let text = "pauses that stalled an insertion, in percent";
            Some(Verdict::at_most(1, text, 100.0 * row.stalls as f64 / row.injections as f64, 1.0))
        }
        _ => None,
    })
    .collect()
}
