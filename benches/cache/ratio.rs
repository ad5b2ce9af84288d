//! What share of the look-ups is answered: one thread replays a trace, and stores what it does not find.
//!
//! OPT stands beside the caches: Belady's choice, which knows what will be asked for next, evicts what is asked for
//! latest, and stores nothing that is asked for later still. No cache can do better.

use std::collections::BinaryHeap;

use millstream::CacheKey;
use serde::Serialize;

use super::{
    common::contenders::{CONTENDERS, Contender},
    traces::{self, Trace},
};

const CAPACITIES: [f64; 2] = [0.01, 0.1];
/// Keys and requests, in full and quickly.
const FULL: (u32, usize) = (1_000_000, 5_000_000);
const QUICK: (u32, usize) = (100_000, 300_000);
/// The thin layers are there for their speed; one of them stands for both.
const LEFT_OUT: &str = "dashmap";

/// What one cache answers of one trace.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) trace: &'static str,
    pub(crate) capacity: f64,
    pub(crate) cache: &'static str,
    pub(crate) ratio: f64,
}

/// Every trace, capacity and cache; one figure each, since all is deterministic but for the caches' own chance.
pub(crate) fn run(quick: bool) -> Vec<Ratio> {
    let (keys, requests) = if quick { QUICK } else { FULL };
    println!(
        "Hit ratios over {keys} keys and {requests} requests (but web12), and the distance to OPT in points:\n"
    );
    let cache_keys: Vec<CacheKey> = (0..keys).map(|n| CacheKey::of(&[&n.to_le_bytes()])).collect();
    let mut figures = Vec::new();
    for trace in traces::all(keys, requests) {
        for share in CAPACITIES {
            let capacity = (f64::from(trace.keys) * share) as usize;
            let best = opt(&trace, capacity);
            let mut told = vec![format!("OPT {:.1}", 100.0 * best)];
            let mut row = |cache: &'static str, ratio: f64| {
                figures.push(Ratio { trace: trace.name, capacity: share, cache, ratio });
            };
            row("OPT", best);
            for (name, make) in CONTENDERS.iter().filter(|(name, _)| *name != LEFT_OUT) {
                let ratio = replay(&trace, &*make(capacity), &cache_keys);
                told.push(format!("{name} {:.1} ({:+.1})", 100.0 * ratio, 100.0 * (ratio - best)));
                row(name, ratio);
            }
            println!("{}, room for {}%: {}.", trace.name, 100.0 * share, told.join(", "));
        }
    }
    println!();
    figures
}

fn replay(trace: &Trace, cache: &dyn Contender, keys: &[CacheKey]) -> f64 {
    let hit = |number: &&u32| {
        let key = keys[**number as usize];
        let hit = cache.get(&key).is_some();
        if !hit {
            cache.insert(key, &[]);
        }
        hit
    };
    trace.requests.iter().filter(hit).count() as f64 / trace.requests.len() as f64
}

/// Belady's choice, with bypass.
fn opt(trace: &Trace, capacity: usize) -> f64 {
    const NEVER: usize = usize::MAX;
    let mut coming = vec![NEVER; trace.keys as usize];
    let mut next: Vec<usize> = trace
        .requests
        .iter()
        .enumerate()
        .rev()
        .map(|(at, &key)| std::mem::replace(&mut coming[key as usize], at))
        .collect();
    next.reverse();
    // When what is stored is asked for next; 0: not stored. The heap may also hold moments that have passed.
    let mut stored = vec![0_usize; trace.keys as usize];
    let mut latest = BinaryHeap::new();
    let (mut entries, mut hits) = (0, 0);
    for (&key, &then) in trace.requests.iter().zip(&next) {
        let place = key as usize;
        if stored[place] != 0 {
            hits += 1;
            entries -= 1;
        }
        stored[place] = 0;
        if then == NEVER {
            continue;
        }
        stored[place] = then;
        latest.push((then, key));
        entries += 1;
        while entries > capacity {
            let (moment, victim) = latest.pop().expect("what is stored is in the heap");
            if stored[victim as usize] == moment {
                stored[victim as usize] = 0;
                entries -= 1;
            }
        }
    }
    f64::from(hits) / trace.requests.len() as f64
}
