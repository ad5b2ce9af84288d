//! What comes after an overload, beside what was before it.
//!
//! A p99 of some seconds is a matter of two dozen messages, and of which of them came together by chance: of two such
//! windows at the same load, one easily has twice the p99 of the other. So the load after the overload is the one before
//! it, message by message: the same arrivals, the same work, the same time. What differs is the state of the plane, and
//! what else the machine had to do; of that the median over several runs is free.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    clock::process_cpu,
    experiments::{DEADLINE, SEED, SETTLED, in_time, p99_ms},
    figures::median,
    offer::{Phase, Sample, offer},
    plant::plane,
    referee::{Referee, Validity},
    words::time,
};

/// From then on, after the overload, the p99 is to be the calm one's.
const SOON: Duration = Duration::from_millis(200);
/// What may go into runs that others disturbed, and that are done again.
const WASTE: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(15));

/// What came after an overload.
#[derive(Debug, Serialize)]
pub(crate) struct Recovery {
    /// What was offered, of the capacity, and for how long.
    pub(crate) offered: f64,
    pub(crate) seconds: f64,
    /// The p99 at half of the capacity, before it and after it: medians over the runs.
    pub(crate) calm_p99_ms: f64,
    pub(crate) after_p99_ms: f64,
    /// The one of the other, in each run.
    pub(crate) ratios: Vec<f64>,
    /// When the last message that was not answered in time was due, after the end of the overload: the median.
    pub(crate) well_after_ms: f64,
    /// Messages and bytes that are still held when all has been answered, at the most.
    pub(crate) left_behind: usize,
    pub(crate) validity: Validity,
}

impl Recovery {
    /// The p99 after the overload, of the calm one.
    pub(crate) fn ratio(&self) -> Option<f64> {
        median(self.ratios.iter().copied())
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            offered,
            seconds,
            calm_p99_ms,
            after_p99_ms,
            ratios,
            well_after_ms,
            left_behind,
            validity,
        } = self;
        write!(
            f,
            "After {seconds:.1} s at {offered} times the capacity: all in time from {} on; p99 {} where it was {} \
             before, {ratios:.2?} of it in {} runs ({} that others disturbed aside); {left_behind} left behind.",
            time(well_after_ms * 1e3),
            time(after_p99_ms * 1e3),
            time(calm_p99_ms * 1e3),
            validity.runs,
            validity.discarded_noise,
        )
    }
}

/// One overload, between two times of calm.
struct Run {
    calm_p99_ms: f64,
    after_p99_ms: f64,
    well_after: Duration,
    left_behind: usize,
}

fn run(capacity_per_s: f64, offered: f64, storm: Duration, calm: Duration) -> Run {
    let plane = plane(|_| ());
    let half = capacity_per_s / 2.0;
    let warm_up = Phase { rate_per_s: half, length: SETTLED };
    let calm = Phase { rate_per_s: half, length: calm };
    let storm = Phase { rate_per_s: offered * capacity_per_s, length: storm };
    let mut samples = offer(&plane, &[warm_up, calm, storm, calm], Some(DEADLINE), SEED);
    samples.sort_unstable_by_key(|sample| sample.due);
    let end = warm_up.length + calm.length + storm.length;
    let p99_of = |begin: Duration| {
        let window = begin + SOON..begin + calm.length;
        p99_ms(samples.iter().filter(|sample| window.contains(&sample.due)))
    };
    let late = |sample: &&Sample| sample.due >= end && !in_time(sample);
    let last_late = samples.iter().rfind(late);
    Run {
        calm_p99_ms: p99_of(warm_up.length),
        after_p99_ms: p99_of(end),
        well_after: last_late.map_or(Duration::ZERO, |sample| sample.due - end),
        left_behind: plane.pool().queued() + plane.pool().bytes_in_flight(),
    }
}

/// From an overload to half of the capacity, several times.
pub(crate) fn recoveries(capacity_per_s: f64, quick: bool) -> Vec<Recovery> {
    let measure = |(offered, seconds, runs): (f64, f64, usize)| {
        let seconds = if quick { seconds / 3.0 } else { seconds };
        let (storm, calm) =
            (Duration::from_secs_f64(seconds), Duration::from_secs(if quick { 3 } else { 10 }));
        let mut referee = Referee::new(process_cpu, if quick { WASTE.1 } else { WASTE.0 });
        let run = || run(capacity_per_s, offered, storm, calm);
        let runs: Vec<Run> =
            (0..if quick { runs.div_ceil(2) } else { runs }).map(|_| referee.judge(|_| false, run)).collect();
        let median = |figure: fn(&Run) -> f64| median(runs.iter().map(figure)).unwrap_or(f64::NAN);
        Recovery {
            offered,
            seconds,
            calm_p99_ms: median(|run| run.calm_p99_ms),
            after_p99_ms: median(|run| run.after_p99_ms),
            ratios: runs.iter().map(|run| run.after_p99_ms / run.calm_p99_ms).collect(),
            well_after_ms: median(|run| run.well_after.as_secs_f64() * 1e3),
            left_behind: runs.iter().map(|run| run.left_behind).max().unwrap_or(0),
            validity: referee.validity,
        }
    };
    [(2.0, 10.0, 5), (3.0, 15.0, 1)].map(measure).into()
}
