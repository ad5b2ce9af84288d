//! What the threads of a pool and its handles have in common.

use std::{
    io,
    sync::{Arc, Once},
    time::Duration,
};

use crossbeam::channel::Sender;

use super::{
    forecast::{Forecast, Share},
    job::Task,
    lanes::Lanes,
    lookout::{Expected, Lookout},
    priority::Priority,
    room::Room,
    sleepers::Sleepers,
    supervisor::Event,
};
use crate::{
    grpc::performance::{config::OptimizationConfig, error::Interruption},
    platform::affinity::Core,
};

pub(crate) struct Shared {
    pub(crate) room: Arc<Room>,
    pub(super) lanes: Lanes,
    pub(super) sleepers: Arc<Sleepers>,
    pub(super) events: Sender<Event>,
    pub(super) niceness: u8,
    pub(super) spin: Duration,
    /// Searchers that may spin at a time; more would only take cores from those who bring the work.
    pub(super) most_spinning: usize,
    pub(crate) lookout: Lookout,
    unpinned: Once,
    pushy: Once,
    pub(crate) forecast: Arc<Forecast>,
}

impl Shared {
    pub(super) fn new(config: &OptimizationConfig, cores: &[Core], events: Sender<Event>) -> Self {
        let half = (config.worker_count / 2).max(1);
        let sleepers = Arc::new(Sleepers::new(config.worker_count, cores));
        Self {
            room: Arc::new(Room::new(config, Arc::clone(&sleepers))),
            lanes: Lanes::new(config.worker_queue_capacity, config.worker_count),
            sleepers,
            events,
            niceness: config.worker_niceness,
            spin: config.worker_spin,
            most_spinning: half,
            lookout: Lookout::new(config.await_spin, half),
            unpinned: Once::new(),
            pushy: Once::new(),
            forecast: Arc::new(Forecast::new(config.worker_count)),
        }
    }

    /// Queues a task whose place in the room the caller holds, and sees to it that somebody comes for it. True
    /// when somebody was woken for it.
    pub(crate) fn submit(&self, task: Task) -> bool {
        self.lanes.push(task);
        self.notify()
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

    pub(super) fn notify(&self) -> bool {
        self.sleepers.notify(|| self.lanes.waiting())
    }

    /// Looks out for a message that was queued just now; true when it is over. `woke`: whether somebody was woken for it.
    pub(crate) fn await_briefly(&self, message: &(impl Expected + ?Sized), woke: bool) -> bool {
        let nudge = || {
            self.sleepers.wake_one();
        };
        self.lookout.await_briefly(message, (!woke).then_some(nudge))
    }

    /// A message has left the lanes: its place is free.
    pub(super) fn leave_queue(&self, share: &Share) {
        self.forecast.unqueued(share);
        self.give_place_back();
    }

    /// A place is free that no message took to the lanes, or that its message has left.
    pub(crate) fn give_place_back(&self) {
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

    pub(super) fn report_pushy(&self, error: &io::Error) {
        self.pushy.call_once(|| {
            let niceness = self.niceness;
            tracing::warn!(niceness, %error, "the platform refuses worker_niceness; workers do not give way");
        });
    }

    /// How long a message of this priority would wait if it were queued now.
    pub(crate) fn predicted_wait(&self, priority: Priority) -> Duration {
        self.forecast.wait(priority, !self.sleepers.anyone_free())
    }

    /// How long the lanes will take to drain; at least a millisecond.
    pub(crate) fn drain_estimate(&self) -> Duration {
        self.forecast.drain().max(Duration::from_millis(1))
    }

    /// Takes everything out of the lanes and answers for it.
    pub(super) fn refuse_all(&self, why: Interruption) -> usize {
        let mut refused = 0;
        while let Some(task) = self.lanes.take_any() {
            let mut unit = Some(task.unit);
            while let Some(current) = unit {
                unit = task.job.split(current);
                self.leave_queue(task.job.share(current));
                task.job.refuse(current, why);
                refused += 1;
            }
        }
        refused
    }
}
