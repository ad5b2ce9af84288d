//! Whether one stream crowds out the others: streams at a modest rate, by themselves and beside one at ten times that.

use std::{sync::Arc, time::Duration};

use millstream::{
    OptimizationConfig,
    simulation::{Job, ServiceTimes, poisson_trace},
};
use serde::Serialize;

use super::open_loop::us;
use crate::{
    arrivals::offer,
    contenders::{Streams, workers},
    stats::quantile,
    work::Work,
};

/// Streams at a modest rate.
const LIGHT: usize = 8;
/// How many times as much the other one sends.
const HEAVY: usize = 10;
/// What each message takes.
const SERVICE: Duration = Duration::from_millis(1);
/// The share of the cores that all of them want together.
const LOAD: f64 = 0.85;
const LENGTH: Duration = Duration::from_secs(2);
/// What does not count: queues fill, and it shows who sends how much.
const WARM_UP: Duration = Duration::from_millis(250);

/// Who sends, and what the processor does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Setting {
    /// The light streams by themselves.
    Solo,
    /// The heavy one beside them.
    Beside,
    /// The same, first come, first served.
    BesideWithoutFairness,
}

impl Setting {
    pub(crate) const ALL: [Self; 3] = [Self::Solo, Self::Beside, Self::BesideWithoutFairness];

    /// For who reads the report.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Solo => "by themselves",
            Self::Beside => "beside one at ten times their rate",
            Self::BesideWithoutFairness => "the same without enable_stream_fairness",
        }
    }
}

/// What one run gave, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Shared {
    pub(crate) light_p50_us: f64,
    pub(crate) light_p99_us: f64,
    pub(crate) heavy_p99_us: Option<f64>,
    pub(crate) pacer_late_p99_us: f64,
}

/// Runs the streams; the light ones send the same in every setting.
pub(crate) fn run(setting: Setting, seed: u64) -> Shared {
    let trace = trace(setting, seed);
    let (jobs, streams): (Vec<Job>, Vec<usize>) = trace.iter().copied().unzip();
    let works: Arc<[Work]> = jobs.iter().map(|job| Work::of(job.service)).collect();
    let processor = Streams::<false>::start(match setting {
        Setting::Solo | Setting::Beside => |config| config,
        Setting::BesideWithoutFairness => {
            |config| OptimizationConfig { enable_stream_fairness: false, ..config }
        }
    });
    let stream = move |job: usize| streams[job];
    let paced = offer(&jobs, |ledger| Box::new(processor.open_streams(LIGHT + 1, stream, works, ledger)));
    let (mut light, mut heavy) = (Vec::new(), Vec::new());
    for ((job, stream), sojourn) in trace.iter().zip(&paced.sojourns) {
        if job.arrival >= WARM_UP {
            // What was not answered took as long as was waited for it, at least.
            if *stream < LIGHT { &mut light } else { &mut heavy }.push(sojourn.unwrap_or(paced.time));
        }
    }
    light.sort_unstable();
    heavy.sort_unstable();
    let of_light = |share| us(quantile(&light, share).expect("the light streams send in every setting"));
    Shared {
        light_p50_us: of_light(0.5),
        light_p99_us: of_light(0.99),
        heavy_p99_us: quantile(&heavy, 0.99).map(us),
        pacer_late_p99_us: us(paced.late_p99(|_| true)),
    }
}

/// What comes when, and on which stream: the heavy one is the last.
fn trace(setting: Setting, seed: u64) -> Vec<(Job, usize)> {
    let capacity_per_s = workers().get() as f64 / SERVICE.as_secs_f64();
    let rate_per_s = LOAD * capacity_per_s / (LIGHT + HEAVY) as f64;
    let of = |stream: usize, rate_per_s| {
        let seed = seed.wrapping_mul(1000) + stream as u64;
        poisson_trace(rate_per_s, ServiceTimes::Fixed(SERVICE), LENGTH, seed)
            .into_iter()
            .map(move |job| (job, stream))
    };
    let mut trace: Vec<_> = (0..LIGHT).flat_map(|stream| of(stream, rate_per_s)).collect();
    if setting != Setting::Solo {
        trace.extend(of(LIGHT, HEAVY as f64 * rate_per_s));
    }
    trace.sort_by_key(|(job, _)| job.arrival);
    trace
}
