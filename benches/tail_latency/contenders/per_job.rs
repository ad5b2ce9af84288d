//! A task for each message, which hands its job over and awaits the answer: what a unary method does.

use std::{
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;

use super::{Contender, Flood};
use crate::{arrivals::Ledger, work::Work};

/// Something that runs jobs.
pub(crate) trait Executor: Send + Sync + 'static {
    /// Whether the job runs in the task that awaits it, always: there is nothing to spawn, and nothing that makes the task give
    /// way to others. (Where millstream runs a job in place, its handle makes the task give way.)
    const IN_PLACE: bool = false;

    /// Hands the job over, at once; the future is the CPU time that it burned. Called on the I/O threads, and on
    /// threads that know no runtime.
    fn run(&self, work: Work) -> impl Future<Output = Duration> + Send + 'static;
}

pub(super) struct PerJob<E> {
    /// First, so that no task holds the executor when that ends, which may not be done on an I/O thread.
    io: Runtime,
    executor: Arc<E>,
}

impl<E: Executor> PerJob<E> {
    pub(super) fn new(io: Runtime, executor: E) -> Self {
        Self { io, executor: Arc::new(executor) }
    }
}

impl<E: Executor> Contender for PerJob<E> {
    fn io(&self) -> &Runtime {
        &self.io
    }

    fn open(&self, trace: Arc<[Work]>, ledger: Arc<Ledger>) -> Box<dyn FnMut(usize) + Send> {
        let (io, executor) = (self.io.handle().clone(), Arc::clone(&self.executor));
        Box::new(move |job| {
            let (executor, ledger, work) = (Arc::clone(&executor), Arc::clone(&ledger), trace[job]);
            io.spawn(async move { ledger.enter(job, executor.run(work).await) });
        })
    }

    fn round_trips(&self, work: Work, count: usize, gap: Duration) -> Vec<Duration> {
        let executor = Arc::clone(&self.executor);
        let client = self.io.spawn(async move {
            let mut times = Vec::with_capacity(count);
            for _ in 0..count {
                if !gap.is_zero() {
                    tokio::time::sleep(gap).await;
                }
                let sent = Instant::now();
                executor.run(work).await;
                times.push(sent.elapsed());
            }
            times
        });
        self.io.block_on(client).expect("the client does not panic")
    }

    fn flood(&self, work: Work, in_flight: usize, length: Duration) -> Flood {
        let start = Instant::now();
        let client = || {
            let executor = Arc::clone(&self.executor);
            self.io.spawn(async move {
                let mut jobs = 0;
                while start.elapsed() < length {
                    executor.run(work).await;
                    jobs += 1;
                    if E::IN_PLACE {
                        tokio::task::yield_now().await;
                    }
                }
                jobs
            })
        };
        let clients: Vec<_> = (0..in_flight).map(|_| client()).collect();
        let jobs = self.io.block_on(async {
            let mut jobs = 0;
            for client in clients {
                jobs += client.await.expect("the client does not panic");
            }
            jobs
        });
        Flood { jobs, time: start.elapsed() }
    }

    fn spawn_from(&self, producers: usize, jobs: usize) -> Option<Duration> {
        if E::IN_PLACE {
            return None;
        }
        let line = Barrier::new(producers);
        let produce = || {
            line.wait();
            let start = Instant::now();
            let spawned: Vec<_> = (0..jobs).map(|_| self.executor.run(Work::NOTHING)).collect();
            self.io.handle().block_on(async {
                for job in spawned {
                    job.await;
                }
            });
            (start, Instant::now())
        };
        let times: Vec<_> = thread::scope(|scope| {
            let producers: Vec<_> = (0..producers).map(|_| scope.spawn(produce)).collect();
            let join = |producer: thread::ScopedJoinHandle<'_, _>| producer.join().expect("none panics");
            producers.into_iter().map(join).collect()
        });
        let start = times.iter().map(|(start, _)| *start).min()?;
        let end = times.iter().map(|(_, end)| *end).max()?;
        Some(end - start)
    }
}
