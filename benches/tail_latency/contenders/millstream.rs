//! millstream's pool.

use std::time::{Duration, Instant};

use millstream::{Class, JobOptions, OptimizationConfig, WorkerPool};
use tokio::runtime::{Builder, Runtime};

use super::{Executor, workers};
use crate::work::Work;

/// Messages that the lanes hold: as many as the bounded channel. The other peers have no bound at all.
const CAPACITY: usize = super::channel::CAPACITY;

/// The longest work for which an author would vouch.
pub(super) const BRIEF: Duration = Duration::from_micros(50);

/// How long a pool may take to end.
const DRAIN: Duration = Duration::from_secs(5);

/// The defaults, but for the capacity.
pub(super) fn config() -> OptimizationConfig {
    OptimizationConfig {
        worker_count: workers().get(),
        worker_queue_capacity: CAPACITY,
        ..OptimizationConfig::default()
    }
}

/// Jobs as closures.
pub(super) struct Pool {
    pool: WorkerPool,
    /// How a job is to be treated.
    options: fn(Work) -> JobOptions,
}

impl Pool {
    /// Of its jobs nothing is known.
    pub(super) fn start(change: fn(OptimizationConfig) -> OptimizationConfig) -> Self {
        Self::with(change(config()), |_| JobOptions::default())
    }

    /// Each job says of which class it is, as users do who know what work it is.
    pub(super) fn by_class() -> Self {
        Self::with(config(), |work| JobOptions { class: class(work), ..JobOptions::default() })
    }

    /// Each job that is brief may run where it is spawned.
    pub(super) fn vouched() -> Self {
        Self::with(config(), |work| JobOptions {
            may_run_in_place: work.service <= BRIEF,
            ..JobOptions::default()
        })
    }

    fn with(config: OptimizationConfig, options: fn(Work) -> JobOptions) -> Self {
        let pool = WorkerPool::new(&config).expect("the settings work, and the system gives threads");
        Self { pool, options }
    }
}

/// The class of a job: the magnitude of its work, as whoever makes it can tell by its parameters.
pub(super) fn class(work: Work) -> Class {
    Class::new("burn").refined(work.service.as_micros().checked_ilog2().map_or(0, |bits| bits + 1))
}

impl Executor for Pool {
    fn run(&self, work: Work) -> impl Future<Output = Duration> + Send + 'static {
        // Without checkpoints this is `WorkerPool::spawn`, whose closure sees no context.
        let job = self.pool.spawn_with((self.options)(work), move |context| {
            if work.checkpoints {
                work.burn_in_slices(|| {
                    let lent = context.lent();
                    context.checkpoint().expect("nobody cancels");
                    context.lent() != lent
                })
            } else {
                work.burn()
            }
        });
        async move { job.await.expect("nobody cancels, and work does not panic") }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        wait_for_the_end(&self.pool);
    }
}

/// Waits until nothing of the pool runs any more, so that the next contender has the machine for itself.
pub(super) fn wait_for_the_end(pool: &WorkerPool) {
    let runtime: Runtime =
        Builder::new_current_thread().enable_time().build().expect("a runtime without threads of its own");
    runtime.block_on(pool.drain(Instant::now() + DRAIN));
}
