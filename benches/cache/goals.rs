//! What the cache is to reach, judged by one run.

use crate::{
    common::verdict::Verdict,
    memory::Memory,
    ratio::Ratio,
    speed::{INSERT_SHARES, Speed, THREADS},
};

const OURS: &str = "millstream";
/// Whose hit ratios are the measure.
const MEASURE: &str = "quick_cache";
/// Points that the hit ratio may be below the measure's.
const POINTS: f64 = 0.5;
/// One get of 10,000 may take longer, with eight threads and 10% insertions; in microseconds.
const P9999_US: f64 = 50.0;

/// What a byte of the budget may take.
const RESIDENT: f64 = 1.05;

/// All goals that this bench can judge.
pub(crate) fn judge(memory: &[Memory], ratios: &[Ratio], speeds: &[Speed]) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = ratios
        .iter()
        .filter(|ratio| ratio.cache == OURS)
        .map(|ours| beside_the_measure(ours, ratios))
        .collect();
    for Memory { value_bytes, share, .. } in memory {
        let text = format!("memory for one byte of the budget, values of {value_bytes} bytes");
        verdicts.push(Verdict::at_most(4, text, *share, RESIDENT));
    }
    for threads in THREADS {
        for insert_share in INSERT_SHARES {
            let case = speeds.iter().filter(|s| s.threads == threads && s.insert_share == insert_share);
            verdicts.push(beside_the_best(threads, insert_share, case));
        }
    }
    let ours = speeds.iter().find(|s| s.cache == OURS && s.threads == 8 && s.insert_share == 0.1);
    let text = "p99.99 of a get with 8 threads and 10% insertions, in µs";
    verdicts.push(Verdict::at_most(3, text, ours.map_or(f64::NAN, |ours| ours.get_p9999_us), P9999_US));
    verdicts
}

fn beside_the_measure(ours: &Ratio, ratios: &[Ratio]) -> Verdict {
    let same = |r: &&Ratio| r.cache == MEASURE && r.trace == ours.trace && r.capacity == ours.capacity;
    let measure = ratios.iter().find(same).map_or(f64::NAN, |measure| measure.ratio);
    let text = format!("points behind {MEASURE}, {}, room for {}%", ours.trace, 100.0 * ours.capacity);
    Verdict::at_most(2, text, 100.0 * (measure - ours.ratio), POINTS)
}

fn beside_the_best<'a>(threads: usize, insert_share: f64, case: impl Iterator<Item = &'a Speed>) -> Verdict {
    let (ours, peers): (Vec<_>, Vec<_>) = case.partition(|speed| speed.cache == OURS);
    let fastest = |of: &[&Speed]| of.iter().map(|speed| speed.mops).fold(f64::NAN, f64::max);
    let text = format!(
        "operations of the best peer for one of ours, {threads} threads, {:.0}% insertions",
        100.0 * insert_share
    );
    Verdict::at_most(3, text, fastest(&peers) / fastest(&ours), 1.0)
}
