//! Single flight: each thread asks for one of a few keys, leads or joins, and ends at once what it leads. The victim does
//! the same, so that it is often stopped as a leader whose key others go on asking for; to join is not to wait.
//!
//! dashmap stands for the table of flights that one would write over a map with locks, one entry a flight. quick_cache
//! has single flight of its own; who joins there does not wait, either.

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use dashmap::{DashMap, Entry};
use millstream::{
    CacheKey, OptimizationConfig, StreamCache,
    cache::{FlightSink, Follower, Lead, Lookup},
};
use quick_cache::sync::{Cache, GuardResult};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    pause::Aim,
    rig::{Kind, Progress, Rig, Row},
};

/// So few that two threads often meet at one.
const KEYS: usize = 64;

/// A look-up that leads and ends, or joins.
type Ask<'a> = &'a (dyn Fn(CacheKey) + Sync);

/// Every table of flights in turn.
pub(crate) fn run(injections: usize) -> Vec<Row> {
    let cache = StreamCache::new(&OptimizationConfig::default()).expect("the defaults work");
    let content = Arc::new(Content);
    let table: DashMap<CacheKey, u32> = DashMap::new();
    let quick: Cache<CacheKey, ()> = Cache::new(KEYS);
    let tables: [(&'static str, Ask<'_>); 3] = [
        ("millstream", &|key| {
            let follower = || Follower { sink: content.clone(), token: 0 };
            if let Lookup::Lead(lead) = cache.join(key, follower) {
                lead.resolve_without_storing(Bytes::new());
            }
        }),
        ("dashmap", &|key| {
            match table.entry(key) {
                Entry::Occupied(mut flight) => return *flight.get_mut() += 1,
                Entry::Vacant(slot) => drop(slot.insert(0)),
            }
            black_box(table.remove(&key));
        }),
        ("quick_cache", &|key| match quick.get_value_or_guard(&key, Some(Duration::ZERO)) {
            GuardResult::Guard(lead) => drop(lead),
            joined => drop(black_box(joined)),
        }),
    ];
    tables.into_iter().flat_map(|(name, ask)| one(name, ask, injections)).collect()
}

fn one(name: &'static str, ask: Ask<'_>, injections: usize) -> Vec<Row> {
    let keys: &Vec<CacheKey> = &(0..KEYS as u64).map(|n| CacheKey::of(&[&n.to_le_bytes()])).collect();
    let (aim, progress) = (&Aim::default(), &Progress::new(Kind::Flight));
    let [mut victim, mut timed, mut other] = [1, 2, 3].map(SmallRng::seed_from_u64);
    let any = |random: &mut SmallRng| ask(keys[random.random_range(..KEYS)]);
    Rig {
        name,
        aims: vec![aim],
        loops: vec![
            Box::new(move || {
                any(&mut victim);
                aim.rest();
            }),
            Box::new(move || {
                any(&mut timed);
                progress.made();
            }),
            Box::new(move || any(&mut other)),
        ],
        progress: vec![progress],
    }
    .run(injections)
}

/// Does not care who answers, and has no time to.
struct Content;

impl FlightSink for Content {
    fn resolved(&self, _: u32, value: Bytes) {
        drop(value);
    }

    fn failed(&self, _: u32, failure: Bytes) {
        drop(failure);
    }

    fn your_turn(&self, _: u32, lead: Lead) {
        drop(lead);
    }
}
