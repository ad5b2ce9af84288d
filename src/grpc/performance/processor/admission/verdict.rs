//! What the rules of an overload ([`Policy`](crate::grpc::performance::overload::Policy)) say of a message: before it is
//! queued, when there is no room for it, and when its turn has come.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::super::{
    AnswerStream, MessageHandler, engine::Engine, mailbox::Mailbox, slot::Input, stream::Arrival,
};
use crate::grpc::performance::{
    error::Refusal,
    monitor::{Class, Counter},
    overload::{Newcomer, Objection, Prospect, Standing, Verdict},
    worker_pool::{Job, Level, Line, Priority, Queued},
};

/// Somebody who leaves may have less to leave than the newcomer needs, or leave it to another; after so many it is refused
/// all the same.
const MOST_DISPLACED: usize = 4;

impl<H: MessageHandler> Engine<H> {
    /// A look at how things stand, if it is time; what others do about it is told to them.
    pub(in super::super) fn look(&self, now: Instant) {
        if let Some(condition) = self.pool.seam().look(now) {
            self.cache.spare_time(condition.level.has_time_to_spare());
        }
    }

    /// When to try again: not before what waits has drained, nor before `least` has passed. A little different for each
    /// message, so that those who were refused together do not come back together: multiples of the golden ratio spread
    /// evenly, whatever their number.
    pub(in super::super) fn retry_after(&self, least: Duration) -> Duration {
        const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_8;
        // Relaxed: each gets a number of its own.
        let chance = (self.refusals.fetch_add(1, Relaxed) as f64 * GOLDEN_RATIO).fract();
        let shared = self.pool.seam();
        shared.policy.retry_after(shared.drain_estimate().max(least), chance)
    }

    /// Counts an objection; gives the refusal where it is enforced.
    fn act_on(&self, verdict: Verdict, wait: Duration, budget: Option<Duration>) -> Option<Refusal> {
        let counter = match verdict.objection {
            Objection::Late => Counter::WouldBeLate,
            Objection::TooLong => Counter::WaitedTooLong,
            Objection::NotUrgent => Counter::NotUrgent,
        };
        self.monitor.count(counter);
        verdict.enforced.then(|| {
            let (shared, retry_after) = (self.pool.seam(), self.retry_after(Duration::ZERO));
            match verdict.objection {
                Objection::Late => {
                    Refusal::WouldBeLate { wait, budget: budget.unwrap_or_default(), retry_after }
                }
                Objection::TooLong => Refusal::WaitedTooLong {
                    waited: wait,
                    target: shared.policy.target(shared.forecast.mean()),
                    retry_after,
                },
                Objection::NotUrgent => Refusal::NotUrgent { retry_after },
            }
        })
    }
}

impl<H: MessageHandler, S, T, E> AnswerStream<H, S, T, E> {
    /// In which line a message of this priority would stand.
    fn line(&self, priority: Priority) -> Line {
        Line { priority, appetite: self.part.appetite() }
    }

    /// Refuses a message that could not be answered in time, while all of its budget remains: work for an answer that
    /// comes too late is taken from answers that would not.
    pub(in super::super) fn objection(
        &self,
        class: Class,
        priority: Priority,
        budget: Option<Duration>,
        now: Instant,
    ) -> Option<Refusal> {
        let engine = self.engine();
        let shared = engine.pool.seam();
        engine.look(now);
        if !shared.policy.judges(priority.rank(), budget.is_some()) {
            return None;
        }
        let newcomer = Newcomer {
            rank: priority.rank(),
            wait: shared.predicted_wait(shared.forecast.level(class), self.line(priority)),
            service: shared.forecast.service(class),
            budget,
            mean_service: shared.forecast.mean(),
        };
        let verdict = shared.policy.object(&newcomer, || self.part.shares());
        let refusal = verdict.and_then(|verdict| engine.act_on(verdict, newcomer.wait, budget));
        shared.policy.decided(refusal.is_some());
        refusal
    }

    /// Whether a message could be in time, whatever is done about those that could not.
    fn has_a_chance(&self, class: Class, priority: Priority, budget: Duration) -> bool {
        let shared = self.engine().pool.seam();
        let wait = shared.predicted_wait(shared.forecast.level(class), self.line(priority));
        !Prospect { wait, service: shared.forecast.service(class), budget }.is_late(1.0)
    }

    /// There is no room for a message that may not wait for it: somebody worse makes room, or it is refused. `Ok` when a
    /// place was taken.
    pub(in super::super) fn place_at_any_rate(
        &self,
        slot: u32,
        bytes: usize,
        now: Instant,
    ) -> Result<(), Refusal> {
        let engine = self.engine();
        let shared = engine.pool.seam();
        let Arrival { class, priority, deadline, .. } = self.entries[slot as usize].arrival;
        if shared.policy.may_displace(priority.rank()) {
            let newcomer = Standing {
                rank: priority.rank(),
                has_a_chance: deadline
                    .is_none_or(|deadline| self.has_a_chance(class, priority, deadline - now)),
                since: shared.since_epoch(now),
            };
            let most =
                if shared.would_fit(&newcomer, bytes, MOST_DISPLACED, now) { MOST_DISPLACED } else { 0 };
            for _ in 0..most {
                if !shared.make_room(&newcomer, now) {
                    break;
                }
                if shared.room.try_acquire(priority, bytes, now).is_ok() {
                    return Ok(());
                }
            }
        }
        shared.policy.revoked();
        Err(Refusal::Overloaded {
            waiting: shared.room.places_held(),
            capacity: shared.room.capacity(),
            retry_after: engine.retry_after(Duration::ZERO),
        })
    }

    /// Notes a message that is about to be queued, in case that it has to make room for another. From now on another
    /// stream may withdraw it; so its share has been put by now, with which its place is given back.
    pub(in super::super) fn note(&self, slot: u32, now: Instant) {
        let shared = self.engine().pool.seam();
        if !shared.is_crowded() {
            return;
        }
        let Arrival { class, priority, deadline, weight, .. } = self.entries[slot as usize].arrival;
        let job: Arc<dyn Job> = Arc::clone(&self.mailbox) as _;
        let since = shared.since_epoch(now);
        let service = shared.forecast.service(class);
        shared.note(Queued {
            job: Arc::downgrade(&job),
            unit: slot,
            life: self.mailbox.slots.get(slot).state.life(),
            priority,
            since,
            start_by: deadline.map(|deadline| shared.since_epoch(deadline).saturating_sub(service)),
            expected: since + shared.predicted_wait(shared.forecast.level(class), self.line(priority)),
            bytes: weight,
        });
    }
}

impl<H: MessageHandler> Mailbox<H> {
    /// The turn of a message has come: the queue control hears of its wait, and may find it too long.
    pub(in super::super) fn waited_too_long(
        &self,
        input: &Input<H>,
        level: Level,
        started: Instant,
    ) -> Option<Refusal> {
        let engine = &*self.engine;
        engine.look(started);
        let shared = engine.pool.seam();
        if level == Level::Long {
            // It waits for all that is short, by design: no sign that more comes than can be done.
            return None;
        }
        let wait = started.saturating_duration_since(input.accepted);
        let (rank, now) = (input.priority.rank(), shared.since_epoch(started));
        let verdict = shared.policy.dequeued(rank, now, wait, shared.forecast.mean());
        let verdict = verdict.filter(|_| input.deadline.is_none())?;
        let refusal = engine.act_on(verdict, wait, None);
        if refusal.is_some() {
            shared.policy.revoked();
        }
        refusal
    }
}
