//! What the threads of a pool and its handles have in common.

use std::{
    sync::{
        Arc, Once,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crossbeam::channel::Sender;

use super::{job::Task, lanes::Lanes, room::Room, sleepers::Sleepers, supervisor::Event};
use crate::{
    grpc::performance::{config::OptimizationConfig, error::Interruption},
    platform::affinity::Core,
};

pub(crate) struct Shared {
    pub(crate) room: Arc<Room>,
    pub(super) lanes: Lanes,
    pub(super) sleepers: Arc<Sleepers>,
    pub(super) events: Sender<Event>,
    pub(super) spin: Duration,
    /// Searchers that may spin at a time; more would only take cores from those who bring the work.
    pub(super) most_spinning: usize,
    workers: usize,
    unpinned: Once,
    /// Mean service time in nanoseconds, decaying: what a retry hint is made of.
    mean_service: AtomicU64,
}

/// Share of a new sample in the mean service time.
const SAMPLE_WEIGHT: u64 = 16;

impl Shared {
    pub(super) fn new(config: &OptimizationConfig, events: Sender<Event>) -> Self {
        let sleepers = Arc::new(Sleepers::new(config.worker_count));
        Self {
            room: Arc::new(Room::new(config, Arc::clone(&sleepers))),
            lanes: Lanes::new(config.worker_queue_capacity, config.worker_count),
            sleepers,
            events,
            spin: config.worker_spin,
            most_spinning: (config.worker_count / 2).max(1),
            workers: config.worker_count,
            unpinned: Once::new(),
            mean_service: AtomicU64::new(0),
        }
    }

    /// Queues a task whose place in the room the caller holds, and sees to it that somebody comes for it.
    pub(crate) fn submit(&self, task: Task) {
        self.lanes.push(task);
        self.notify();
    }

    /// Whether a worker sleeps: then a message is better queued by itself than behind others.
    pub(crate) fn anyone_asleep(&self) -> bool {
        self.sleepers.anyone_asleep()
    }

    /// Accepts nothing more. Workers end when everything is done.
    pub(super) fn close(&self) {
        self.room.close();
    }

    pub(super) fn tell(&self, event: Event) {
        // Nobody listens only when the supervisor is gone, and then the pool is over.
        let _ = self.events.send(event);
    }

    pub(super) fn notify(&self) {
        self.sleepers.notify(|| self.lanes.waiting());
    }

    /// A message has left the lanes: its place is free.
    pub(crate) fn leave_queue(&self) {
        self.room.release(1, 0);
    }

    /// Nothing will ever be queued again, and nothing is.
    pub(super) fn is_over(&self) -> bool {
        self.room.is_over()
    }

    pub(super) fn report_unpinned(&self, core: Core) {
        self.unpinned.call_once(|| {
            tracing::warn!(?core, "the platform refuses to pin a worker to its core; the pool runs unpinned");
        });
    }

    /// Learns from a finished message. Relaxed: the mean stands for itself, and a lost update is one sample less.
    pub(super) fn learn(&self, service: Duration) {
        let mean = self.mean_service.load(Relaxed);
        let sample = service.as_nanos() as u64;
        let updated = if mean == 0 { sample } else { mean - mean / SAMPLE_WEIGHT + sample / SAMPLE_WEIGHT };
        self.mean_service.store(updated, Relaxed);
    }

    /// How long the lanes will take to drain, by what was learnt; at least a millisecond.
    pub(crate) fn drain_estimate(&self) -> Duration {
        let waiting = self.room.places_held() as u64;
        // Relaxed: as in `learn`.
        let nanoseconds = self.mean_service.load(Relaxed).saturating_mul(waiting) / self.workers as u64;
        Duration::from_nanos(nanoseconds).max(Duration::from_millis(1))
    }

    /// Takes everything out of the lanes and answers for it.
    pub(super) fn refuse_all(&self, why: Interruption) -> usize {
        let mut refused = 0;
        while let Some(task) = self.lanes.take_any() {
            let mut unit = Some(task.unit);
            while let Some(current) = unit {
                unit = task.job.split(current);
                self.leave_queue();
                task.job.refuse(current, why);
                refused += 1;
            }
        }
        refused
    }
}
