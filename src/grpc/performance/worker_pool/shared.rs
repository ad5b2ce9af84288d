//! What the threads of a pool and its handles have in common.

use std::{
    io,
    sync::{
        Arc, Once,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crossbeam::channel::Sender;

use super::{
    crew::{Crew, Level},
    floor::Floor,
    forecast::{Forecast, Share},
    haste::Haste,
    job::Task,
    priority::Priority,
    room::Room,
    supervisor::Event,
};
use crate::{
    grpc::performance::{config::OptimizationConfig, error::Interruption},
    platform::affinity::Core,
};

pub(crate) struct Shared {
    pub(crate) room: Arc<Room>,
    pub(super) front: Crew,
    pub(super) background: Crew,
    pub(super) events: Sender<Event>,
    pub(super) niceness: u8,
    pub(super) spin: Duration,
    /// Searchers that may spin at a time; more would only take cores from those who bring the work.
    pub(super) most_spinning: usize,
    pub(super) haste: Haste,
    /// Threads that run something long.
    pub(super) long_running: AtomicUsize,
    pub(super) floor: Option<Floor>,
    unpinned: Once,
    afloat: Once,
    pushy: Once,
    pub(crate) forecast: Arc<Forecast>,
}

/// Seats for what runs long: as many as workers, on the same cores, so that each core always has one to go on with.
fn background_seats(config: &OptimizationConfig) -> usize {
    if config.enable_length_scheduling { config.worker_count } else { 0 }
}

impl Shared {
    pub(super) fn new(config: &OptimizationConfig, events: Sender<Event>, haste: Haste) -> Self {
        let capacity = config.worker_queue_capacity;
        let front = Crew::new(capacity, config.worker_count);
        let background = Crew::new(capacity, background_seats(config));
        let sleepers = [&front, &background].map(|crew| Arc::clone(&crew.sleepers));
        Self {
            room: Arc::new(Room::new(config, sleepers.into())),
            front,
            background,
            events,
            niceness: config.worker_niceness,
            spin: config.worker_spin,
            most_spinning: (config.worker_count / 2).max(1),
            unpinned: Once::new(),
            pushy: Once::new(),
            forecast: Arc::new(Forecast::new(config.worker_count).by_length(config.enable_length_scheduling)),
            long_running: AtomicUsize::new(0),
            floor: Floor::of(config.long_work_share),
            haste,
            afloat: Once::new(),
        }
    }

    /// Queues a task whose place in the room the caller holds, and sees to it that somebody comes for it.
    pub(crate) fn submit(&self, task: Task) {
        match task.job.share(task.unit).level() {
            Level::Short => {
                self.front.submit(task);
                self.tell_if_pressed();
            }
            Level::Long => self.background.submit(task),
        }
    }

    /// Says so when something short waits and nobody is free for it.
    pub(super) fn tell_if_pressed(&self) {
        if self.background.has_seats() && !self.front.sleepers.anyone_free() {
            self.haste.announce();
        }
    }

    /// Whether anything long waits, or is under way.
    pub(super) fn has_long_work(&self) -> bool {
        // Relaxed: a hint, looked at again and again.
        self.long_running.load(Relaxed) > 0 || self.background.lanes.waiting() > 0
    }

    /// Whether a worker sleeps: then a message is better queued by itself than behind others.
    pub(crate) fn anyone_asleep(&self) -> bool {
        self.front.sleepers.anyone_asleep()
    }

    /// Accepts nothing more. Workers end when everything is done.
    pub(super) fn close(&self) {
        self.room.close();
    }

    pub(super) fn tell(&self, event: Event) {
        // Nobody listens only when the supervisor is gone, and then the pool is over.
        let _ = self.events.send(event);
    }

    pub(super) fn crew(&self, level: Level) -> &Crew {
        match level {
            Level::Short => &self.front,
            Level::Long => &self.background,
        }
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

    pub(super) fn report_afloat(&self, error: &io::Error) {
        self.afloat.call_once(|| {
            tracing::warn!(%error, "the platform refuses the lowest scheduling class; long work has niceness 19 instead");
        });
    }

    /// How long a message of this level and priority would wait if it were queued now.
    pub(crate) fn predicted_wait(&self, level: Level, priority: Priority) -> Duration {
        self.forecast.wait(level, priority, !self.crew(level).sleepers.anyone_free())
    }

    /// How long the lanes will take to drain; at least a millisecond.
    pub(crate) fn drain_estimate(&self) -> Duration {
        self.forecast.drain().max(Duration::from_millis(1))
    }

    /// Takes everything out of the lanes and answers for it.
    pub(super) fn refuse_all(&self, why: Interruption) -> usize {
        let mut refused = 0;
        while let Some(task) = self.front.lanes.take_any().or_else(|| self.background.lanes.take_any()) {
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
