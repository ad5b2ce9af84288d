//! All threads put together, at one moment.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::{class::Class, classes::ClassTimes, counters::Counts, histogram::MergedTimes};
use crate::{grpc::performance::OptimizationResult, platform::memory::resident_bytes};

/// Which part of a message's way a time was taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// From accepted to started.
    QueueWait,
    /// From started to finished.
    ServiceTime,
    /// From accepted to answered.
    SojournTime,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::QueueWait, Self::ServiceTime, Self::SojournTime];

    /// Its name, as in `queue_wait`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueWait => "queue_wait",
            Self::ServiceTime => "service_time",
            Self::SojournTime => "sojourn_time",
        }
    }
}

/// What has a histogram of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grouping {
    /// Each name: refinements are put together.
    #[default]
    Names,
    /// Each class, refinements kept apart.
    Classes,
}

/// The times of one stage and class.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StageHistogram {
    /// The stage.
    pub stage: Stage,
    /// The class; not refined when names were put together.
    pub class: Class,
    /// The times, in nanoseconds, to two significant digits.
    pub histogram: Histogram<u64>,
    /// The sum of all times, exactly.
    pub total: Duration,
    /// The longest time, exactly.
    pub longest: Duration,
}

impl StageHistogram {
    /// How many times there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The time that this share of the messages did not exceed, to 1%: `quantile(0.99)` is the 99th percentile.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        time_at(&self.histogram, quantile, self.longest)
    }
}

/// The library answers with the upper end of a bucket; no time was longer than the longest one.
fn time_at(histogram: &Histogram<u64>, quantile: f64, longest: Duration) -> Duration {
    Duration::from_nanos(histogram.value_at_quantile(quantile)).min(longest)
}

/// All figures at one moment. While messages are under way, figures that belong together may differ by those.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// How long the monitor has been there.
    pub uptime: Duration,
    /// Time that workers spent in handlers, all workers together.
    pub busy: Duration,
    /// What was counted.
    pub counts: Counts,
    /// What was measured, sorted by class, then stage; what was never measured has none.
    pub histograms: Vec<StageHistogram>,
    /// Times beyond 39 hours, which stand in the last bucket of their histogram.
    pub clamped: u64,
    /// Times that went to the class `other`, since a thread had met too many classes.
    pub crowded_out: u64,
}

impl Snapshot {
    /// The summary of these figures, for so many workers.
    #[must_use]
    pub fn result(&self, workers: usize) -> OptimizationResult {
        let mut sojourn = MergedTimes::new();
        for times in self.histograms.iter().filter(|times| times.stage == Stage::SojournTime) {
            sojourn.histogram += &times.histogram;
            sojourn.total += times.total;
            sojourn.longest = sojourn.longest.max(times.longest);
        }
        let latency = |quantile| time_at(&sojourn.histogram, quantile, sojourn.longest);
        OptimizationResult {
            throughput: ratio(self.counts.all_answered() as f64, self.uptime.as_secs_f64()),
            avg_latency: mean(sojourn.total, sojourn.histogram.len()),
            p95_latency: latency(0.95),
            p99_latency: latency(0.99),
            memory_usage: resident_bytes(),
            cache_hit_ratio: self.counts.cache_hit_ratio(),
            // Threads that stand in for stuck ones are busy too, beside the `workers`, and so is who runs messages in place.
            worker_utilization: ratio(self.busy.as_secs_f64(), self.uptime.as_secs_f64() * workers as f64)
                .min(1.0),
        }
    }
}

/// Zero of nothing is nothing.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn mean(total: Duration, count: u64) -> Duration {
    let nanos = total.as_nanos().checked_div(u128::from(count)).unwrap_or(0);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A snapshot in the making.
pub(super) struct Merge {
    grouping: Grouping,
    pub(super) counts: Counts,
    pub(super) busy: Duration,
    pub(super) crowded_out: u64,
    times: BTreeMap<(&'static str, u32, Stage), MergedTimes>,
}

impl Merge {
    pub(super) fn new(grouping: Grouping) -> Self {
        Self {
            grouping,
            counts: Counts::default(),
            busy: Duration::ZERO,
            crowded_out: 0,
            times: BTreeMap::new(),
        }
    }

    /// Adds the times of one class on one thread.
    pub(super) fn add(&mut self, times: &ClassTimes) {
        let class = times.class();
        let detail = match self.grouping {
            Grouping::Names => 0,
            Grouping::Classes => class.detail(),
        };
        for stage in Stage::ALL {
            let key = (class.name(), detail, stage);
            times.stage(stage).add_to(self.times.entry(key).or_insert_with(MergedTimes::new));
        }
    }

    pub(super) fn finish(self, uptime: Duration) -> Snapshot {
        let clamped = self.times.values().map(|merged| merged.clamped).sum();
        let histograms = self
            .times
            .into_iter()
            .filter(|(_, merged)| !merged.histogram.is_empty())
            .map(|((name, detail, stage), merged)| StageHistogram {
                stage,
                class: Class::new(name).refined(detail),
                histogram: merged.histogram,
                total: merged.total,
                longest: merged.longest,
            })
            .collect();
        Snapshot {
            uptime,
            busy: self.busy,
            counts: self.counts,
            histograms,
            clamped,
            crowded_out: self.crowded_out,
        }
    }
}
