//! What the threads of a pool and its handles have in common.

use std::{
    io,
    sync::{
        Arc, Once,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
    time::{Duration, Instant},
};

use crossbeam::{channel::Sender, utils::CachePadded};

use super::{
    credit::Credit,
    crew::{Crew, Level},
    floor::Floor,
    forecast::{Forecast, Known, Share},
    haste::Haste,
    job::Task,
    line::Line,
    lookout::{Expected, Look, Lookout, Prospect},
    priority::Priority,
    room::Room,
    roster::{Queued, Roster},
    sleepers::Side,
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
    pub(super) front: Crew,
    pub(super) background: Crew,
    pub(super) events: Sender<Event>,
    pub(super) niceness: u8,
    pub(super) spin: Duration,
    /// A message that runs for longer overstays.
    pub(super) timeout: Duration,
    /// Searchers that may spin at a time; more would only take cores from those who bring the work.
    pub(super) most_spinning: usize,
    /// What their spinning has won.
    pub(super) spinning: CachePadded<Credit>,
    lookout: Lookout,
    pub(super) in_place_budget: Duration,
    pub(super) haste: Haste,
    /// Threads that run something long.
    pub(super) long_running: AtomicUsize,
    pub(super) floor: Option<Floor>,
    unpinned: Once,
    afloat: Once,
    pushy: Once,
    pub(crate) forecast: Arc<Forecast>,
    pub(crate) policy: Policy,
    roster: Roster,
    /// What the times of the policy count from.
    epoch: Instant,
}

/// Seats for what runs long: as many as workers, on the same cores, so that each core always has one to go on with.
fn background_seats(config: &OptimizationConfig) -> usize {
    if config.enable_length_scheduling { config.worker_count } else { 0 }
}

fn tell(events: &Sender<Event>, event: Event) {
    // Nobody listens only when the supervisor is gone, and then the pool is over.
    let _ = events.send(event);
}

impl Shared {
    pub(super) fn new(
        config: &OptimizationConfig,
        cores: &[Core],
        events: Sender<Event>,
        haste: Haste,
    ) -> Self {
        let half = (config.worker_count / 2).max(1);
        let capacity = config.worker_queue_capacity;
        let front = Crew::new(capacity, config.worker_count, cores);
        let background = Crew::new(capacity, background_seats(config), cores);
        let sleepers = [&front, &background].map(|crew| Arc::clone(&crew.sleepers));
        let supervisor = events.clone();
        let room = Room::new(config, move || {
            sleepers.iter().for_each(|sleepers| sleepers.wake_all());
            tell(&supervisor, Event::Over);
        });
        Self {
            room: Arc::new(room),
            front,
            background,
            events,
            niceness: config.worker_niceness,
            spin: config.worker_spin,
            timeout: config.worker_timeout,
            most_spinning: half,
            spinning: CachePadded::new(Credit::full()),
            lookout: Lookout::new(config.await_spin, half),
            in_place_budget: config.in_place_budget,
            unpinned: Once::new(),
            pushy: Once::new(),
            forecast: Arc::new(Forecast::new(config.worker_count).by_length(config.enable_length_scheduling)),
            long_running: AtomicUsize::new(0),
            floor: Floor::of(config.long_work_share),
            haste,
            afloat: Once::new(),
            policy: Policy::new(config),
            roster: Roster::new(config.worker_queue_capacity),
            epoch: clock::now(),
        }
    }

    /// Queues a task whose place in the room the caller holds, and sees to it that somebody comes for it; `side` is
    /// where the submitter would have that be. True when somebody was woken for it.
    pub(crate) fn submit(&self, task: Task, side: Side) -> bool {
        match task.job.share(task.unit).level() {
            Level::Short => {
                let woke = self.front.submit(task, side);
                self.tell_if_pressed();
                woke
            }
            Level::Long => self.background.submit(task, side),
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
        self.long_running.load(Relaxed) > 0 || !self.background.lanes.is_empty()
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
        tell(&self.events, event);
    }

    /// Has the supervisor wake this at that time, or never, when the pool is over before.
    pub(crate) fn remind(&self, at: Instant, waker: Waker) {
        self.tell(Event::Remind { at, waker });
    }

    pub(super) fn crew(&self, level: Level) -> &Crew {
        match level {
            Level::Short => &self.front,
            Level::Long => &self.background,
        }
    }

    /// What to expect of a message that is about to be queued by who has so many under way, this one included.
    pub(crate) fn prospect(&self, class: Class, line: Line, in_flight: usize) -> Prospect {
        // First, for the rest takes a look at what the workers write for each message. What waits is counted too: it may
        // have been sent by others, and the predicted wait knows only some of what is brief.
        if !Lookout::suits(in_flight) || !Lookout::suits(self.room.places_held()) {
            return Prospect::Far;
        }
        let wait = self.predicted_wait(self.forecast.level(class), line);
        self.lookout.prospect(self.forecast.service(class), wait)
    }

    /// How to look out for a message of a class that comes next, for who has found the one before it done.
    pub(super) fn look_of_who_caught_up(&self, class: Class) -> Option<Look> {
        self.lookout.suits_caught_up(self.forecast.service(class)).then_some(Look::CaughtUp)
    }

    /// Looks out for a message that was queued; true when it is over.
    pub(crate) fn await_briefly(&self, message: &(impl Expected + ?Sized), look: Look) -> bool {
        // What is long is never near, and so never looked out for.
        let nudge = || {
            self.front.sleepers.wake_one(Side::Elsewhere);
        };
        self.lookout.await_briefly(message, look, nudge)
    }

    /// Tasks in the lanes, for who sees to it that none is forgotten.
    #[cfg(test)]
    #[cfg(not(millstream_loom))]
    pub(crate) fn waiting(&self) -> [usize; 2] {
        [Level::Short, Level::Long].map(|level| self.crew(level).lanes.waiting())
    }

    /// A worker has a task: what was chained behind its head is everybody's.
    pub(super) fn cut_rest(&self, level: Level, seat: usize, task: &Task) {
        if let Some(rest) = task.job.split(task.unit) {
            self.crew(level).lanes.push_rest(seat, Task { unit: rest, ..task.clone() });
            self.call_for(level, Side::Elsewhere);
        }
    }

    /// Something is in the lanes again: somebody is to come for it, or it is to be told that nobody is free.
    fn call_for(&self, level: Level, side: Side) {
        self.crew(level).notify(side);
        if level == Level::Short {
            self.tell_if_pressed();
        }
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
        let level = share.level();
        let lanes = &self.crew(level).lanes;
        if self.leave_queue(share) && lanes.count_death(self.room.places_held()) {
            lanes.sweep();
            self.call_for(level, Side::Any);
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

    pub(super) fn report_afloat(&self, error: &io::Error) {
        self.afloat.call_once(|| {
            tracing::warn!(%error, "the platform refuses the lowest scheduling class; long work has niceness 19 instead");
        });
    }

    /// How long a message of this level and line would wait if it were queued now.
    pub(crate) fn predicted_wait(&self, level: Level, line: Line) -> Duration {
        self.forecast.wait(level, line, !self.crew(level).sleepers.anyone_free())
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
            let priority = Priority::ALL[rank];
            let any = self.forecast.has_waiting(priority);
            if any { self.predicted_wait(Level::Short, Line::last_of(priority)) } else { Duration::ZERO }
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

    /// The class of a message, if it is one that costs less than its hand-off: short enough to be done within what is left
    /// of a budget by who has it at hand, as far as its author vouches for it. In an overload all messages queue.
    pub(crate) fn costs_less_than_its_hand_off(&self, class: Class, left: Duration) -> Option<Known> {
        let quiet = self.level() == OverloadLevel::Normal;
        quiet.then(|| self.forecast.done_within(class, left))?
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

    /// Whether so many at most of those who would [make room](Self::make_room) would leave as many bytes as the newcomer
    /// lacks. An estimate, so that nobody leaves in vain: by what was noted, and some of it may have gone.
    pub(crate) fn would_fit(&self, newcomer: &Standing, bytes: usize, most: usize, now: Instant) -> bool {
        let lacking = (self.room.bytes_held() + bytes).saturating_sub(self.room.byte_capacity());
        lacking == 0 || self.roster.bytes_of_worst(newcomer, most, self.since_epoch(now)) >= lacking
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
                // What was withdrawn before has its answer.
                refused += usize::from(self.leave_queue(task.job.share(current)));
                task.job.refuse(current, why);
            }
        }
        refused
    }
}
