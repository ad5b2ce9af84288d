//! What tokio itself offers for CPU-heavy work.

use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use super::{Contender, Executor, io, per_job::PerJob, workers};
use crate::work::Work;

/// No hand-off.
pub(super) struct Inline;

impl Executor for Inline {
    const IN_PLACE: bool = true;

    fn run(&self, work: Work) -> impl Future<Output = Duration> + Send + 'static {
        std::future::ready(work.burn())
    }
}

struct SpawnBlocking(Handle);

impl Executor for SpawnBlocking {
    fn run(&self, work: Work) -> impl Future<Output = Duration> + Send + 'static {
        let job = self.0.spawn_blocking(move || work.burn());
        async move { job.await.expect("work does not panic") }
    }
}

pub(super) fn spawn_blocking() -> Box<dyn Contender> {
    on_blocking_threads_of(&mut io())
}

pub(super) fn spawn_blocking_capped() -> Box<dyn Contender> {
    on_blocking_threads_of(io().max_blocking_threads(workers().get()))
}

fn on_blocking_threads_of(builder: &mut Builder) -> Box<dyn Contender> {
    let io = builder.build().expect("the system gives threads for I/O");
    let executor = SpawnBlocking(io.handle().clone());
    Box::new(PerJob::new(io, executor))
}

/// A runtime for work beside that for I/O, tied together by the join handle of each task.
pub(super) struct Dedicated(Runtime);

impl Dedicated {
    pub(super) fn start() -> Self {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(workers().get()).thread_name("dedicated");
        Self(builder.build().expect("the system gives threads for work"))
    }
}

impl Executor for Dedicated {
    fn run(&self, work: Work) -> impl Future<Output = Duration> + Send + 'static {
        let job = self.0.spawn(async move { work.burn() });
        async move { job.await.expect("work does not panic") }
    }
}
