//! millstream's pool.

use std::time::{Duration, Instant};

use millstream::{JobOptions, OptimizationConfig, WorkerPool};
use tokio::runtime::{Builder, Runtime};

use super::{Executor, workers};
use crate::work::Work;

/// Messages that the lanes hold: as many as the bounded channel. The other peers have no bound at all.
const CAPACITY: usize = super::channel::CAPACITY;

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
pub(super) struct Pool(WorkerPool);

impl Pool {
    pub(super) fn start(change: fn(OptimizationConfig) -> OptimizationConfig) -> Self {
        Self(WorkerPool::new(&change(config())).expect("the settings work, and the system gives threads"))
    }
}

impl Executor for Pool {
    fn run(&self, work: Work) -> impl Future<Output = Duration> + Send + 'static {
        // Without checkpoints this is `WorkerPool::spawn`, whose closure sees no context.
        let job = self.0.spawn_with(JobOptions::default(), move |context| {
            if work.checkpoints {
                work.burn_in_slices(|| context.checkpoint().expect("nobody cancels"))
            } else {
                work.burn()
            }
        });
        async move { job.await.expect("nobody cancels, and work does not panic") }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        wait_for_the_end(&self.0);
    }
}

/// Waits until nothing of the pool runs any more, so that the next contender has the machine for itself.
pub(super) fn wait_for_the_end(pool: &WorkerPool) {
    let runtime: Runtime =
        Builder::new_current_thread().enable_time().build().expect("a runtime without threads of its own");
    runtime.block_on(pool.drain(Instant::now() + DRAIN));
}
