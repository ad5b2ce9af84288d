//! Where the time goes: counters and histograms of every message, at the price of a few additions.
//!
//! Each thread that counts or measures has a recorder of its own in the monitor, made at its first call; any thread
//! may ask for a [`Snapshot`], which adds the recorders up.
//! ```text
//!  worker ──record_run──▶ its recorder ─┐
//!  worker ──record_run──▶ its recorder ─┼─ snapshot ──▶ GetStats, result, publish (every metrics_interval)
//!  tokio ──record_sojourn, count──▶ its ┘
//! ```
//! - **Nobody waits.** A recorder is written by its thread alone, with plain loads and stores (see `tally`); its
//!   table of classes and the octaves of its histograms are entered by its thread alone, too (see `classes`,
//!   `histogram`). Reading takes nothing away and stops nobody.
//! - **Nothing is lost.** A recorder stays when its thread ends, and goes, counts and all, to a thread that starts
//!   later. A snapshot taken after a thread was joined has all of that thread's figures; one taken while it runs may
//!   lack the latest few. No figure ever goes back.
//! - **Nothing grows without bound.** A thread keeps `classes::CLASSES` classes apart, and puts the others together
//!   under one name; a histogram has at most `buckets::OCTAVES` kilobytes.
//! - Percentiles are within 1% (see `buckets`); sums and the longest times are exact.
//!
//! With `enable_metrics` off nothing is measured and nothing published; what is merely counted still is, for it
//! answers `GetStats` and costs next to nothing.

mod buckets;
mod class;
mod classes;
mod counters;
mod histogram;
mod publish;
mod recorder;
mod snapshot;
mod tally;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crossbeam::utils::CachePadded;
use thread_local::ThreadLocal;

pub use class::Class;
pub use counters::{Counter, Counts, Outcome};
pub use publish::{PoolGauges, Reuse};
use recorder::Recorder;
use snapshot::Merge;
pub use snapshot::{Grouping, Snapshot, Stage, StageHistogram};

use super::{OptimizationResult, config::OptimizationConfig};
use crate::platform::clock;

/// The figures of one data plane. Clones are handles on the same figures.
///
/// ```
/// use std::time::Duration;
/// use millstream::{Class, OptimizationConfig, StreamPerformanceMonitor, monitor::Outcome};
///
/// let monitor = StreamPerformanceMonitor::new(&OptimizationConfig::default());
/// let class = Class::new("digest");
/// monitor.record_run(class, Duration::from_micros(3), Duration::from_micros(40));
/// monitor.record_sojourn(class, Duration::from_micros(50));
/// monitor.answered(Outcome::Ok);
///
/// let result = monitor.result(2);
/// assert_eq!(result.avg_latency, Duration::from_micros(50));
/// ```
#[derive(Clone)]
pub struct StreamPerformanceMonitor {
    shared: Arc<Shared>,
}

struct Shared {
    enabled: bool,
    started: Instant,
    described: AtomicBool,
    /// Boxed, for `thread_local` makes room for many at a time; padded, for two threads write two neighbours.
    recorders: ThreadLocal<Box<CachePadded<Recorder>>>,
}

impl StreamPerformanceMonitor {
    /// A monitor without figures.
    #[must_use]
    pub fn new(config: &OptimizationConfig) -> Self {
        let shared = Shared {
            enabled: config.enable_metrics,
            started: clock::now(),
            described: AtomicBool::new(false),
            recorders: ThreadLocal::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether times are kept (`enable_metrics`): if not, there is no need to take them.
    #[inline]
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.shared.enabled
    }

    #[inline]
    fn recorder(&self) -> &Recorder {
        match self.shared.recorders.get() {
            Some(recorder) => recorder,
            None => self.first_recorder(),
        }
    }

    /// Out of the way, for it takes kilobytes of stack to make one.
    #[cold]
    #[inline(never)]
    fn first_recorder(&self) -> &Recorder {
        self.shared.recorders.get_or(|| Box::new(CachePadded::new(Recorder::new())))
    }

    /// A message was worked on: it waited so long to be started, and then took so long.
    #[inline]
    pub fn record_run(&self, class: Class, queue_wait: Duration, service: Duration) {
        if self.is_enabled() {
            self.recorder().run(class, nanos(queue_wait), nanos(service));
        }
    }

    /// A message was answered, so long after it was accepted.
    #[inline]
    pub fn record_sojourn(&self, class: Class, sojourn: Duration) {
        if self.is_enabled() {
            self.recorder().sojourn(class, nanos(sojourn));
        }
    }

    /// A message ran on the thread that had read it, and its answer leaves: all that is noted of that, at one stroke.
    #[inline]
    pub(crate) fn ran_in_place(
        &self,
        class: Class,
        queue_wait: Duration,
        service: Duration,
        sojourn: Duration,
        outcome: Outcome,
    ) {
        let recorder = self.recorder();
        recorder.add(Counter::RunInPlace, 1);
        recorder.answered(outcome);
        if self.is_enabled() {
            recorder.whole(class, nanos(queue_wait), nanos(service), nanos(sojourn));
        }
    }

    /// Something happened.
    #[inline]
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Something happened several times.
    #[inline]
    pub fn add(&self, counter: Counter, times: u64) {
        self.recorder().add(counter, times);
    }

    /// A message was answered.
    #[inline]
    pub fn answered(&self, outcome: Outcome) {
        self.recorder().answered(outcome);
    }

    /// What has been counted so far, without the times: cheap.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.shared.recorders.iter().for_each(|recorder| recorder.add_counts_to(&mut counts));
        counts
    }

    /// All figures at this moment, with one histogram for each stage and class name.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_by(Grouping::Names)
    }

    /// All figures at this moment.
    #[must_use]
    pub fn snapshot_by(&self, grouping: Grouping) -> Snapshot {
        let mut merge = Merge::new(grouping);
        self.shared.recorders.iter().for_each(|recorder| recorder.add_to(&mut merge));
        merge.finish(clock::now() - self.shared.started)
    }

    /// What has been achieved since the start, by so many workers.
    #[must_use]
    pub fn result(&self, workers: usize) -> OptimizationResult {
        self.snapshot().result(workers)
    }

    /// Sends all figures to the `metrics` facade; called every `metrics_interval`, by one thread of its own. Does
    /// nothing when `enable_metrics` is off.
    pub fn publish(&self, gauges: &PoolGauges) {
        if !self.is_enabled() {
            return;
        }
        // Relaxed: guards nothing but itself.
        if !self.shared.described.swap(true, Relaxed) {
            publish::describe();
        }
        publish::publish(&self.snapshot(), gauges);
    }
}

/// Five centuries and more are as good as for ever.
#[inline]
fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos()))
}

impl fmt::Debug for StreamPerformanceMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamPerformanceMonitor")
            .field("enabled", &self.shared.enabled)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
