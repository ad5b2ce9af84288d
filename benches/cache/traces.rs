//! Requests as they come: numbers of keys, in the order in which they are asked for.

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use rand_distr::{Distribution, Zipf};

/// A sequence of requests.
pub(crate) struct Trace {
    pub(crate) name: &'static str,
    /// Different keys that may be asked for.
    pub(crate) keys: u32,
    pub(crate) requests: Vec<u32>,
}

/// Share of the requests that belong to scans, in the trace that has them.
const SCANNED: f64 = 0.2;
/// Keys that one scan goes through, as a share of all.
const SCAN: f64 = 0.02;
/// Different keys of the loop, as a share of all: more than the larger cache holds.
const LOOP: f64 = 0.15;
/// Share of the requests of the loop trace that go round; the others are Zipf's.
const LOOPED: f64 = 0.5;

/// The traces over so many keys, and one from outside.
pub(crate) fn all(keys: u32, requests: usize) -> Vec<Trace> {
    vec![
        Trace { name: "zipf0.9", keys, requests: zipf(keys, 0.9).take(requests).collect() },
        Trace { name: "zipf1.0", keys, requests: zipf(keys, 1.0).take(requests).collect() },
        Trace { name: "zipf0.9+scans", keys, requests: scans(keys, requests) },
        Trace { name: "zipf0.9+loop", keys, requests: looped(keys, requests) },
        web12(),
    ]
}

/// What people asked a shop for (`public/README.md`); as long as it is.
fn web12() -> Trace {
    let (numbers, _) = include_bytes!("public/web12.u16le").as_chunks();
    let requests: Vec<_> = numbers.iter().map(|&number| u32::from(u16::from_le_bytes(number))).collect();
    let keys = 1 + requests.iter().max().expect("there are requests");
    Trace { name: "web12", keys, requests }
}

/// Key 0 most often, key `n` by the power `exponent` of `n + 1` less often.
pub(crate) fn zipf(keys: u32, exponent: f64) -> impl Iterator<Item = u32> {
    let ranks = Zipf::new(f64::from(keys), exponent).expect("there are keys, and the exponent is positive");
    ranks.sample_iter(SmallRng::seed_from_u64(u64::from(keys))).map(|rank| rank as u32 - 1)
}

/// Now and then somebody asks for a range of keys, each once.
fn scans(keys: u32, requests: usize) -> Vec<u32> {
    let mut random = SmallRng::seed_from_u64(7);
    let mut popular = zipf(keys, 0.9);
    let length = (f64::from(keys) * SCAN) as u32;
    let begins = SCANNED / ((1.0 - SCANNED) * f64::from(length));
    let mut trace = Vec::with_capacity(requests + length as usize);
    while trace.len() < requests {
        trace.extend(popular.next());
        if random.random_bool(begins) {
            let first = random.random_range(0..keys);
            trace.extend((0..length).map(|n| (first + n) % keys));
        }
    }
    trace.truncate(requests);
    trace
}

/// Somebody goes round a set of keys that is larger than the cache, between requests of others.
fn looped(keys: u32, requests: usize) -> Vec<u32> {
    let mut random = SmallRng::seed_from_u64(8);
    let mut popular = zipf(keys, 0.9);
    let mut round = (0..(f64::from(keys) * LOOP) as u32).cycle().map(|n| keys - 1 - n);
    let mut next = move || if random.random_bool(LOOPED) { round.next() } else { popular.next() };
    (0..requests).map(|_| next().expect("neither ends")).collect()
}
