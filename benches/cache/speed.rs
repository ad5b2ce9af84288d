//! How fast: threads that look up keys by Zipf 0.99, and store a value of 1 KiB in some of the steps.
//!
//! There is room for a tenth of the keys; a look-up that finds nothing stores nothing, so that the share of insertions
//! is what it says. The contenders take turns, round by round: a noisy minute of the machine is everybody's. A figure
//! is the median of the rounds, with the least and the most beside it. The time of a get is taken of one in
//! [`SAMPLE`]: taking it costs as much as the get.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use millstream::CacheKey;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde::Serialize;

use super::{
    common::contenders::{CONTENDERS, Contender},
    traces,
};

pub(crate) const THREADS: [usize; 3] = [1, 2, 8];
pub(crate) const INSERT_SHARES: [f64; 3] = [0.0, 0.1, 0.5];
const KEYS: u32 = 100_000;
const ENTRIES: usize = KEYS as usize / 10;
const VALUE: [u8; 1024] = [7; 1024];
/// Requests that are drawn ahead; each thread begins elsewhere in them.
const REQUESTS: usize = 1 << 20;
const EXPONENT: f64 = 0.99;
/// One get in so many is timed.
const SAMPLE: usize = 8;
/// Rounds, and how long each takes: in full and quickly.
const FULL: (usize, Duration) = (5, Duration::from_millis(500));
const QUICK: (usize, Duration) = (3, Duration::from_millis(60));
/// The textbook's lock is no contender for speed.
const LEFT_OUT: &str = "lru";

/// What one round of one contender showed.
struct Round {
    mops: f64,
    gets: Histogram<u64>,
}

/// How fast one cache is in one case: medians, and the least and most operations of a round.
#[derive(Debug, Serialize)]
pub(crate) struct Speed {
    pub(crate) cache: &'static str,
    pub(crate) threads: usize,
    pub(crate) insert_share: f64,
    /// Million operations per second.
    pub(crate) mops: f64,
    mops_min: f64,
    mops_max: f64,
    get_p999_us: f64,
    pub(crate) get_p9999_us: f64,
}

/// Every cache, number of threads and share of insertions.
pub(crate) fn run(quick: bool) -> Vec<Speed> {
    let (rounds, time) = if quick { QUICK } else { FULL };
    println!("Speed with values of 1 KiB, room for a tenth of the keys, medians of {rounds} rounds:\n");
    let keys: Vec<CacheKey> = (0..KEYS).map(|n| CacheKey::of(&[&n.to_le_bytes()])).collect();
    let requests: Vec<CacheKey> =
        traces::zipf(KEYS, EXPONENT).take(REQUESTS).map(|n| keys[n as usize]).collect();
    let caches: Vec<(&'static str, Box<dyn Contender>)> = CONTENDERS
        .iter()
        .filter(|(name, _)| *name != LEFT_OUT)
        .map(|(name, make)| (*name, make(ENTRIES)))
        .collect();
    // Full, and with the entries that the trace makes a cache keep.
    for (_, cache) in &caches {
        for key in requests.iter().take(REQUESTS / 4) {
            if cache.get(key).is_none() {
                cache.insert(*key, &VALUE);
            }
        }
    }
    let mut figures = Vec::new();
    for threads in THREADS {
        for insert_share in INSERT_SHARES {
            println!("{threads} threads, {:.0}% insertions:", 100.0 * insert_share);
            let mut measured: Vec<Vec<Round>> = caches.iter().map(|_| Vec::new()).collect();
            for _ in 0..rounds {
                for ((_, cache), measured) in caches.iter().zip(&mut measured) {
                    measured.push(round(&**cache, &requests, threads, insert_share, time));
                }
            }
            for ((name, _), rounds) in caches.iter().zip(measured) {
                figures.push(summary(name, threads, insert_share, rounds));
            }
            println!();
        }
    }
    figures
}

fn round(
    cache: &dyn Contender,
    requests: &[CacheKey],
    threads: usize,
    insert_share: f64,
    time: Duration,
) -> Round {
    let (begin, stop) = (Barrier::new(threads + 1), AtomicBool::new(false));
    thread::scope(|scope| {
        let works: Vec<_> = (0..threads)
            .map(|thread| {
                let (begin, stop) = (&begin, &stop);
                scope.spawn(move || work(cache, requests, thread, insert_share, begin, stop))
            })
            .collect();
        begin.wait();
        let started = Instant::now();
        while let Some(left) = time.checked_sub(started.elapsed()) {
            thread::park_timeout(left);
        }
        // Relaxed: nothing is handed over but the wish to stop.
        stop.store(true, Relaxed);
        let mut gets = new_histogram();
        let mut operations = 0;
        for work in works {
            let (done, timed) = work.join().expect("a cache does not panic");
            operations += done;
            gets.add(&timed).expect("both count the same range");
        }
        Round { mops: operations as f64 / started.elapsed().as_secs_f64() / 1e6, gets }
    })
}

fn work(
    cache: &dyn Contender,
    requests: &[CacheKey],
    thread: usize,
    insert_share: f64,
    begin: &Barrier,
    stop: &AtomicBool,
) -> (u64, Histogram<u64>) {
    let mut random = SmallRng::seed_from_u64(thread as u64);
    let mut coming = requests.iter().cycle().skip(random.random_range(0..requests.len()));
    let mut gets = new_histogram();
    let mut operations = 0;
    begin.wait();
    while !stop.load(Relaxed) {
        for step in 0..4 * SAMPLE {
            let key = coming.next().expect("a cycle does not end");
            if random.random_bool(insert_share) {
                cache.insert(*key, &VALUE);
            } else if step % SAMPLE == 0 {
                let started = Instant::now();
                black_box(cache.get(key));
                gets.saturating_record(started.elapsed().as_nanos() as u64);
            } else {
                black_box(cache.get(key));
            }
        }
        operations += 4 * SAMPLE as u64;
    }
    (operations, gets)
}

/// Nanoseconds up to a minute, three digits.
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("the range is a range")
}

fn summary(cache: &'static str, threads: usize, insert_share: f64, mut rounds: Vec<Round>) -> Speed {
    rounds.sort_by(|a, b| a.mops.total_cmp(&b.mops));
    let mops = |at: usize| rounds[at].mops;
    let (least, median, most) = (mops(0), mops(rounds.len() / 2), mops(rounds.len() - 1));
    let percentile = |percent: f64| {
        let mut figures: Vec<f64> =
            rounds.iter().map(|round| round.gets.value_at_quantile(percent) as f64 / 1e3).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let (p999, p9999) = (percentile(0.999), percentile(0.9999));
    println!(
        "  {cache:12} {median:6.2} million operations/s ({least:.2} to {most:.2}); a get takes up to {p999:.1} µs in \
         999 of 1,000 cases, up to {p9999:.1} µs in 9,999 of 10,000."
    );
    Speed {
        cache,
        threads,
        insert_share,
        mops: median,
        mops_min: least,
        mops_max: most,
        get_p999_us: p999,
        get_p9999_us: p9999,
    }
}
