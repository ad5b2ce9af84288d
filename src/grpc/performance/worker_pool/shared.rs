//! What the threads of a pool and its handles have in common.

use std::{
    io,
    sync::{Arc, Once},
    time::{Duration, Instant},
};

use crossbeam::channel::Sender;

use super::{
    forecast::{Forecast, Share},
    job::Task,
    lanes::Lanes,
    lookout::{Expected, Lookout, Prospect},
    priority::Priority,
    room::Room,
    roster::{Queued, Roster},
    sleepers::{Side, Sleepers},
    supervisor::Event,
};
use crate::{
    grpc::performance::{
        config::OptimizationConfig,
        error::Interruption,
        monitor::Class,
        overload::{Condition, OverloadLevel, Policy, Standing},
    },
    platform::{affinity::Core, clock},
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
    lookout: Lookout,
    unpinned: Once,
    pushy: Once,
    pub(crate) forecast: Arc<Forecast>,
    pub(crate) policy: Policy,
    roster: Roster,
    /// What the times of the policy count from.
    epoch: Instant,
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
            policy: Policy::new(config),
            roster: Roster::new(config.worker_queue_capacity),
            epoch: clock::now(),
        }
    }

    /// Queues a task whose place in the room the caller holds, and sees to it that somebody comes for it; `side` is
    /// where the submitter would have that be. True when somebody was woken for it.
    pub(crate) fn submit(&self, task: Task, side: Side) -> bool {
        self.lanes.push(task);
        self.notify(side)
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

    pub(super) fn notify(&self, side: Side) -> bool {
        self.sleepers.notify(side, || self.lanes.waiting())
    }

    /// What to expect of a message that is about to be queued.
    pub(crate) fn prospect(&self, class: Class, priority: Priority) -> Prospect {
        self.lookout.prospect(self.forecast.service(class), self.predicted_wait(priority))
    }

    /// Looks out for a message that was queued just now; true when it is over. `woke`: whether somebody was woken for it.
    pub(crate) fn await_briefly(&self, message: &(impl Expected + ?Sized), woke: bool) -> bool {
        let nudge = || {
            self.sleepers.wake_one(Side::Elsewhere);
        };
        self.lookout.await_briefly(message, (!woke).then_some(nudge))
    }

    /// Tasks in the lanes, for who sees to it that none is forgotten.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lanes.waiting()
    }

    /// A message has left the lanes, or was withdrawn there: its place is free. The second of these calls for a message
    /// finds nothing to do, and says so.
    pub(super) fn leave_queue(&self, share: &Share) -> bool {
        let first = self.forecast.unqueued(share);
        if first {
            self.give_place_back();
        }
        first
    }

    /// A message was withdrawn, maybe while it was queued: its place is free at once, and what is left of it in its lane
    /// is swept out when there is much of that.
    pub(crate) fn withdrawn(&self, share: &Share) {
        if self.leave_queue(share) && self.lanes.count_death(self.room.places_held()) {
            self.lanes.sweep();
            self.notify(Side::Any);
            if self.is_over() {
                // Nobody else may come for what died in the sweep.
                self.refuse_all(Interruption::ShutDown);
            }
        }
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

    /// Whether a wait is one that is all right.
    pub(crate) fn is_brief(&self, wait: Duration) -> bool {
        wait <= self.policy.target(self.forecast.mean())
    }

    /// The time of the policy.
    pub(crate) fn since_epoch(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.epoch)
    }

    /// How things stand; a level that was entered or left is told.
    pub(crate) fn condition(&self, now: Instant) -> Condition {
        let waiting = |rank: usize| {
            let any = self.forecast.has_waiting(rank);
            if any { self.predicted_wait(Priority::ALL[rank]) } else { Duration::ZERO }
        };
        let (before, condition) = self.policy.look(self.since_epoch(now), self.forecast.mean(), waiting);
        let Condition { level, load, target } = condition;
        if level > before {
            tracing::warn!(%level, %before, load, ?target, "overload: more comes than can be done");
        } else if level < before {
            tracing::info!(%level, %before, load, "overload: it passes");
        }
        condition
    }

    /// The same, if it is time to look again.
    pub(crate) fn look(&self, now: Instant) -> Option<Condition> {
        self.policy.is_look_due(self.since_epoch(now)).then(|| self.condition(now))
    }

    /// The level at the last look.
    pub(crate) fn level(&self) -> OverloadLevel {
        self.policy.level()
    }

    /// Whether CPU time is short, or goes into saying no.
    pub(crate) fn is_swamped(&self) -> bool {
        !self.level().has_time_to_spare() || self.policy.mostly_refuses()
    }

    /// Whether queued messages are to be noted: there is hardly room, and some may make it for others.
    pub(crate) fn is_crowded(&self) -> bool {
        self.policy.anyone_may_displace() && self.room.is_half_full()
    }

    /// Notes a message that is about to be queued, for [`make_room`](Self::make_room).
    pub(crate) fn note(&self, queued: Queued) {
        self.roster.note(queued);
    }

    /// Makes somebody who is strictly worse than the newcomer leave the lanes; false when nobody is found.
    pub(crate) fn make_room(&self, newcomer: &Standing, now: Instant) -> bool {
        self.roster.make_room(newcomer, self.since_epoch(now))
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
                // What was withdrawn before has its answer.
                refused += usize::from(self.leave_queue(task.job.share(current)));
                task.job.refuse(current, why);
            }
        }
        refused
    }
}
