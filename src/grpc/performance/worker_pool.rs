//! Pinned OS threads that pull jobs from bounded lanes.
//!
//! ```text
//!  submitters ── Room (bounds, fair waiting) ── Lanes ══▶ workers ── Post ──▶ supervisor
//!   (tokio)                                    Sleepers: whom to wake           (overstays, deaths, drain)
//! ```
//! A job passes through four rooms, each with its protocol in its own header: `room` says whether it is accepted,
//! `lanes` where it waits, `sleepers` who comes for it, `state` who answers for it. `post` and `supervisor` see
//! to it that a stuck or dead thread costs nobody but its own message. There are two crews of workers, one for what is
//! short and one for what is long: see `crew`. A closure that costs less than its hand-off comes no further than the first of
//! these rooms, and runs where it is spawned: see `spawn::in_place`, and `turn` for how long.
//!
//! **Every job that is accepted has exactly one outcome**: a thread runs it, or it is withdrawn (by its deadline, by who
//! waited for it, by the supervisor), or it is refused when the pool is cut short; `state` lets one of them win.
//!
//! **Workers leave** only when the room is closed and nobody holds a place that may still be used: whoever does may push.

mod anchor;
mod context;
mod credit;
mod crew;
mod floor;
mod forecast;
mod handoff;
mod haste;
mod interlude;
mod job;
mod lanes;
mod line;
mod lookout;
mod overstay;
mod placement;
mod post;
mod priority;
mod room;
mod roster;
mod shared;
mod sleepers;
mod spawn;
mod state;
mod supervisor;
mod turn;
mod worker;

use std::{fmt, sync::Arc, time::Instant};

use crossbeam::channel;
use tokio::sync::oneshot;

use self::{
    anchor::Anchors,
    haste::Haste,
    supervisor::{Event, Supervisor},
};
use super::{
    config::OptimizationConfig,
    error::{Fault, OptimizationError},
    overload::Condition,
};
use crate::platform::{affinity::Core, clock, stage};

pub use self::{
    context::JobContext,
    priority::Priority,
    spawn::{JobHandle, JobOptions, TrySpawnError},
};
#[cfg(feature = "proof")]
pub(crate) mod proof {
    pub(crate) use super::lanes::Lane;
}
#[cfg(all(test, not(millstream_loom)))]
pub(crate) use self::turn::forget as forget_turn;
pub(crate) use self::{
    crew::Level,
    forecast::{Forecast, Known, Share},
    handoff::Handoff,
    interlude::Interlude,
    job::{Job, Task},
    lanes::order_of_service,
    line::Line,
    lookout::{Expected, Look},
    overstay::Description,
    room::{Charge, NoRoom, Waiting},
    roster::Queued,
    shared::Shared,
    state::{JobState, Life, WithdrawnFrom},
    supervisor::Chore,
};

/// How a [`WorkerPool::drain`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Messages that the deadline left without a result; each was answered with that.
    pub unfinished: usize,
}

/// Worker threads for CPU-heavy work: pinned, bounded, with priorities, cancellation and a watch over stuck jobs.
///
/// A cheap handle; when the last one is dropped the pool accepts nothing more, and its threads end when all is done.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use millstream::{OptimizationConfig, WorkerPool};
///
/// let pool = WorkerPool::new(&OptimizationConfig::default())?;
/// let sum = pool.spawn(|| (1..=1000u64).sum::<u64>()).await?;
/// assert_eq!(sum, 500_500);
/// # Ok::<(), millstream::OptimizationError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct WorkerPool {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    anchors: Anchors,
    workers: usize,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.tell(Event::Drain { deadline: None, done: None });
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool")
            .field("workers", &self.inner.workers)
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

impl WorkerPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// A setting that cannot work, or the system gives no thread.
    pub fn new(config: &OptimizationConfig) -> Result<Self, OptimizationError> {
        Self::with_chore(config, |_| None)
    }

    /// Starts the threads, with something that the supervisor does now and then; it may look at the pool.
    pub(crate) fn with_chore(
        config: &OptimizationConfig,
        chore: impl FnOnce(PoolGlance) -> Option<Chore>,
    ) -> Result<Self, OptimizationError> {
        Self::on_cores(config, placement::cores(config.worker_pinning), chore)
    }

    fn on_cores(
        config: &OptimizationConfig,
        cores: Vec<Core>,
        chore: impl FnOnce(PoolGlance) -> Option<Chore>,
    ) -> Result<Self, OptimizationError> {
        config.validate()?;
        let (events, inbox) = channel::unbounded();
        let (haste, bell) = Haste::new();
        let shared = Arc::new(Shared::new(config, &cores, events, haste));
        let anchors = Anchors::new(&shared);
        let inner = Arc::new(Inner { shared: Arc::clone(&shared), anchors, workers: config.worker_count });
        let chore = chore(PoolGlance { shared: Arc::clone(&shared) });
        Supervisor::start(Arc::clone(&shared), inbox, bell, config, cores, chore)
            .and_then(|supervisor| stage::spawn("millstream-sup".into(), move || supervisor.main()))
            .map_err(|error| {
                // Workers that run already find the room closed, and end.
                shared.close();
                let what =
                    format!("the system gives no thread for worker_count = {}: {error}", config.worker_count);
                OptimizationError::WorkerPoolError(Fault::caused_by(what, error))
            })?;
        Ok(Self { inner })
    }

    /// Queues a closure, at normal priority. The future is its outcome; dropped early it cancels it. What it will take is
    /// learnt from other closures of its type, which are those that are spawned at the same place in the code.
    ///
    /// Where the lanes are full the closure is queued when there is room and the future is polled; waiting is fair.
    pub fn spawn<F, T>(&self, work: F) -> JobHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn::spawn(self.inner.anchors.mine(), JobOptions::of::<F>(), move |_: &mut JobContext<'_>| work())
    }

    /// Queues a closure if there is room at once.
    ///
    /// # Errors
    /// The closure, when the lanes are full or the pool is shutting down.
    pub fn try_spawn<F, T>(&self, work: F) -> Result<JobHandle<T>, TrySpawnError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn::try_spawn(self.inner.anchors.mine(), work)
    }

    /// Queues a closure as the options say; it gets a context, whose checkpoints tell it when nobody waits any more.
    ///
    /// One that [may run in place](JobOptions::may_run_in_place), and is known to be short, has run when this returns, if
    /// the time that is left for such on this thread is enough.
    pub fn spawn_with<F, T>(&self, options: JobOptions, work: F) -> JobHandle<T>
    where
        F: FnOnce(&mut JobContext<'_>) -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn::spawn(self.inner.anchors.mine(), options, work)
    }

    /// Accepts nothing more from this call on; the future waits until everything accepted is done. At the deadline what
    /// has not started is refused, and what still runs is answered for and left behind.
    pub fn drain(&self, deadline: Instant) -> impl Future<Output = Drained> + Send + use<> {
        self.inner.shared.close();
        let (done, drained) = oneshot::channel();
        self.inner.shared.tell(Event::Drain { deadline: Some(deadline), done: Some(done) });
        // The supervisor drops the sender unanswered when the pool was over before.
        async { drained.await.unwrap_or(Drained { unfinished: 0 }) }
    }

    /// Whether nothing more is accepted.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.shared.room.is_closed()
    }

    /// Messages that wait in the lanes, and closures that run where they are spawned just now.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.inner.shared.room.places_held()
    }

    /// Closures that ran where they were spawned ([`JobOptions::may_run_in_place`]), and went to no worker.
    #[must_use]
    pub fn ran_in_place(&self) -> u64 {
        self.inner.anchors.ran_in_place()
    }

    /// Payload bytes accepted and not yet answered.
    #[must_use]
    pub fn bytes_in_flight(&self) -> usize {
        self.inner.shared.room.bytes_held()
    }

    /// Threads that take jobs.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.inner.workers
    }

    /// The seam for the processor, which queues messages of its own making.
    pub(crate) fn seam(&self) -> &Arc<Shared> {
        &self.inner.shared
    }
}

/// What a chore may see of its pool, without keeping it open.
pub(crate) struct PoolGlance {
    shared: Arc<Shared>,
}

impl PoolGlance {
    pub(crate) fn queued(&self) -> usize {
        self.shared.room.places_held()
    }

    pub(crate) fn bytes_in_flight(&self) -> usize {
        self.shared.room.bytes_held()
    }

    pub(crate) fn condition(&self) -> Condition {
        self.shared.condition(clock::now())
    }
}

#[cfg(test)]
mod tests;
