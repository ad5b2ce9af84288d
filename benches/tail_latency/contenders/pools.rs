//! Thread pools from other crates.

use std::time::Duration;

use affinitypool::Threadpool;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use super::{Executor, workers};
use crate::work::Work;

/// rayon, bridged to async by a oneshot, since its own ways of waiting block.
pub(super) struct Rayon(ThreadPool);

impl Rayon {
    pub(super) fn start() -> Self {
        let pool = ThreadPoolBuilder::new().num_threads(workers().get()).build();
        Self(pool.expect("the system gives threads for work"))
    }
}

impl Executor for Rayon {
    fn run(&self, work: Work) -> impl Future<Output = Duration> + Send + 'static {
        let (sender, answer) = oneshot::channel();
        // `spawn_fifo`, as rayon advises where the order of arrival matters.
        self.0.spawn_fifo(move || {
            // Nobody listens only when the run was given up.
            sender.send(work.burn()).ok();
        });
        async move { answer.await.expect("work does not panic") }
    }
}

/// affinitypool, whose futures are its own.
pub(super) struct Affinity(Threadpool);

impl Affinity {
    pub(super) fn start() -> Self {
        Self(Threadpool::new(workers().get()))
    }
}

impl Executor for Affinity {
    fn run(&self, work: Work) -> impl Future<Output = Duration> + Send + 'static {
        self.0.spawn(move || work.burn())
    }
}

/// The pool of smol and async-std, which is one for the process and grows and shrinks by itself.
pub(super) struct Blocking;

impl Executor for Blocking {
    fn run(&self, work: Work) -> impl Future<Output = Duration> + Send + 'static {
        blocking::unblock(move || work.burn())
    }
}
