//! Messages that cost less than their own hand-off: the task of the stream runs them.
//!
//! To hash a few kilobytes takes two microseconds; to wake a worker for that takes tens, and so does the way back. Such a
//! message is better worked on where it was read. But whoever does that keeps the I/O thread, and with it everybody whose
//! stream it reads, for as long as the handler likes. So it takes three:
//!
//! 1. **the author vouches**: [`MessageHandler::may_run_in_place`] says of a message that its handler cannot block;
//! 2. **the class is known to be short**: all but one in a thousand of its messages were done within what is left of the
//!    budget, by the CPU clock, and half of them by the wall clock
//!    ([`done_within`](crate::grpc::performance::worker_pool::Forecast::done_within)). The first thousand go to
//!    workers, and so does a class that takes longer than it used to;
//! 3. **the budget lasts**: what was run in place since the stream last waited for something, all together, took less than
//!    `in_place_budget`. It is renewed when the task lets others live, not when it gives out an answer: who takes answers
//!    as fast as they come polls again at once.
//!
//! **Nothing else changes.** A message comes here where it would have gone to a lane: the validator, the deadline, the
//! bounds on messages and bytes, the cache and the predicted wait have had their say, equal messages have joined it or it
//! has joined them, and it holds a place in the lanes until it is done, so that a drain waits for it. Its handler comes
//! from the pool, its panic is contained, its times are recorded and learnt from, and its outcome takes its turn among the
//! answers, as if a worker had brought it.
//!
//! **On the spot.** A message that is before all others of its stream has an answer that leaves at once ([`OnTheSpot`]).
//! Nobody but the task ever knows of it, so it needs no slot, no deadline in the timer and no right to its input: its
//! request stays where it was read, its place and bytes are given back in one step, and all that is recorded of it is so at
//! one look-up. Only one that joins an equal message in work is put into a slot, for that brings its answer to a mailbox.
//! What has an answer before it (in request order) goes through its slot, and waits there for its turn.
//!
//! **In an overload all messages queue**, at every level but normal: whether more comes than can be done shows in how long
//! they wait, and an I/O thread that is short of time has refusals to write. For the same reason the queue control does not
//! hear of what runs here: it waited for no worker.
//!
//! Closures whose author vouches for them run where they are spawned for the same reasons (`worker_pool`'s `spawn::in_place`);
//! that what costs less than its hand-off is known by the same signs, and learnt from in the same way.
//!
//! **Nobody watches.** A worker that hangs is noticed, its message answered for, and its thread replaced; here a handler that
//! hangs takes its stream along, and all others of that I/O thread, which may be the only one. That is what the author vouches
//! for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    AnswerStream, MessageHandler, Timing,
    engine::Engine,
    mailbox::{self, Mailbox},
    slot::Outcome,
    stream::Arrival,
};
use crate::{
    grpc::performance::{
        cache::{CacheKey, Follower, Lead, Lookup, Verdict},
        error::Interruption,
        monitor::{Class, Counter},
        worker_pool::{Charge, Interlude, JobContext, Known},
    },
    platform::{
        clock,
        contain::{contain, drop_logged},
        stage::{self, reached},
    },
};

/// What the task of a stream may still run before it lets others live.
#[derive(Debug)]
pub(super) struct InPlace {
    budget: Duration,
    left: Duration,
}

impl InPlace {
    pub(super) fn new(budget: Duration) -> Self {
        Self { budget, left: budget }
    }

    /// The task lets others live.
    pub(super) fn renew(&mut self) {
        self.left = self.budget;
    }

    fn spend(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }
}

/// What came of a message whose answer could leave at once.
pub(super) enum OnTheSpot<H: MessageHandler> {
    /// It is to go to a worker, or waits for room.
    Declined(H::Request),
    /// An equal one is in work; it has been put into its slot, and waits for that.
    Follows,
    /// It has its answer without that: an equal one has come to its end just now, or its time is over.
    Answered(Outcome<H>),
    /// It was run, and recorded as one that leaves now, so long after it came.
    Ran { outcome: Outcome<H>, sojourn: Duration },
}

impl<H: MessageHandler, S, T, E> AnswerStream<H, S, T, E> {
    /// The class of a message, if it is one to be run here, so far as its author vouches for it.
    fn costs_less_than_its_hand_off(&self, class: Class) -> Option<Known> {
        self.engine().pool.seam().costs_less_than_its_hand_off(class, self.in_place.left)
    }

    /// The same, of a message that is about to be queued. One that has its answer, and is computed for those who ask later,
    /// is not run here: it goes behind all other work.
    pub(super) fn is_to_run_here(&self, slot: u32) -> bool {
        let entry = &self.entries[slot as usize];
        entry.arrival.vouched
            && entry.is_open()
            && self.costs_less_than_its_hand_off(entry.arrival.class).is_some()
    }

    /// Runs a message that was read just now, before all others of its stream, and needs no slot for it; its place and its
    /// bytes are taken, and given back when it is done, since its answer leaves then.
    pub(super) fn on_the_spot(
        &mut self,
        slot: u32,
        arrival: &Arrival,
        bytes: usize,
        request: H::Request,
    ) -> OnTheSpot<H> {
        let Some(known) = self.costs_less_than_its_hand_off(arrival.class) else {
            return OnTheSpot::Declined(request);
        };
        let engine = &*self.mailbox.engine;
        let room = &engine.pool.seam().room;
        if room.try_acquire(arrival.priority, bytes, arrival.accepted).is_err() {
            return OnTheSpot::Declined(request);
        }
        let (request, lead) = match arrival.key {
            None => (request, None),
            Some(key) => match self.board(slot, key, arrival, bytes, request) {
                Boarded::Leads(request, lead) => (request, Some(lead)),
                Boarded::Follows => {
                    // It needs no worker, for now.
                    room.release(1, 0);
                    return OnTheSpot::Follows;
                }
                Boarded::Found(outcome) => {
                    room.release(1, bytes);
                    return OnTheSpot::Answered(outcome);
                }
            },
        };
        reached!("in place: a message runs on the spot");
        // Where no key was made and looked up, what lies between are quick looks at the message: they count as its work, since
        // to read the clock once more would take as long.
        let started = if arrival.key.is_some() { clock::now() } else { arrival.accepted };
        if arrival.deadline.is_some_and(|deadline| deadline <= started) {
            room.release(1, bytes);
            drop_logged((request, lead));
            return OnTheSpot::Answered(Outcome::failed(Interruption::DeadlineExceeded));
        }
        let (outcome, sojourn) = engine.run_on_the_spot(arrival, known, request, lead, started);
        room.release(1, bytes);
        let service = outcome.timing.map_or(Duration::ZERO, |timing| timing.service_time);
        self.part.correct(Duration::ZERO, service);
        self.in_place.spend(service);
        self.last_activity = arrival.accepted + sojourn;
        OnTheSpot::Ran { outcome, sojourn }
    }

    /// Looks whether an equal message is in work. Only one that is to wait for it is put into its slot, with its bytes.
    fn board(
        &self,
        slot: u32,
        key: CacheKey,
        arrival: &Arrival,
        bytes: usize,
        request: H::Request,
    ) -> Boarded<H> {
        let (mailbox, mut request) = (&self.mailbox, Some(request));
        let place = || mailbox.slots.get(slot);
        let follower = || {
            let charge = Charge::new(&mailbox.engine.pool.seam().room, bytes);
            let request = request.take().expect("one follower is made");
            place().fill(arrival.input(request, charge));
            // What it is about to follow may come to its end meanwhile, and then it does not.
            stage::point();
            Follower { sink: Arc::clone(mailbox) as _, token: slot }
        };
        let (lookup, count) = match mailbox.engine.cache.join_at(key, follower, arrival.accepted) {
            // What becomes of it is counted when it is known.
            Lookup::Follow => return Boarded::Follows,
            Lookup::Lead(lead) => (Ok(lead), Counter::CacheMisses),
            Lookup::Hit(stored) => (Err(Verdict::Answer(stored)), Counter::CacheHits),
            Lookup::Failure(packed) => (Err(Verdict::Failure(packed)), Counter::CacheHits),
        };
        mailbox.engine.monitor.count(count);
        let request = request.unwrap_or_else(|| {
            let input = place().input.take().expect("the input of an unqueued message is the task's");
            input.charge.into_iter().for_each(Charge::let_go);
            input.request
        });
        match lookup {
            Ok(lead) => Boarded::Leads(request, lead),
            Err(verdict) => {
                drop_logged(request);
                let result = mailbox::read::<H>(verdict);
                Boarded::Found(Outcome { result, cache_hit: true, timing: None, charge: None })
            }
        }
    }

    /// Runs a message that holds a place in the lanes, and answers it.
    pub(super) fn run_in_place(&mut self, mailbox: &Arc<Mailbox<H>>, slot: u32) {
        reached!("in place: the task of a stream runs a message");
        let engine = &mailbox.engine;
        let shared = engine.pool.seam();
        engine.monitor.count(Counter::RunInPlace);
        let place = mailbox.slots.get(slot);
        place.state.begin().expect("a message that was not queued is withdrawn by its own task alone");
        let input = place.input.take().expect("the input of a message that has begun is whose it is");
        let started = clock::now();
        let outcome = mailbox.serve(slot, input, started, None, &shared.forecast, &Interlude::none(started));
        self.in_place.spend(outcome.timing.map_or(Duration::ZERO, |timing| timing.service_time));
        shared.give_place_back();
        self.settle(slot, outcome);
    }
}

/// How a message stands to those that are equal to it.
enum Boarded<H: MessageHandler> {
    /// It is to be computed, for all of them.
    Leads(H::Request, Lead),
    Follows,
    Found(Outcome<H>),
}

impl<H: MessageHandler> Engine<H> {
    /// Runs a message that nobody else knows of, and records all of it; says how long after it came it is done.
    fn run_on_the_spot(
        &self,
        arrival: &Arrival,
        known: Known,
        request: H::Request,
        lead: Option<Lead>,
        started: Instant,
    ) -> (Outcome<H>, Duration) {
        let Arrival { class, accepted, deadline, .. } = *arrival;
        let forecast = &self.pool.seam().forecast;
        let call = || contain(|| self.call(request, class, lead, JobContext::unattended(deadline)));
        let (result, service_time) = forecast.follow(known, started, call);
        let queue_wait = started - accepted;
        let result = self.outcome_of(result, class);
        let timing = Some(Timing { queue_wait, service_time });
        let outcome = Outcome { result, cache_hit: false, timing, charge: None };
        let sojourn = queue_wait + service_time;
        self.monitor.ran_in_place(class, queue_wait, service_time, sojourn, outcome.counts_as());
        (outcome, sojourn)
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_stream_runs_what_its_budget_allows_and_as_much_again_once_it_has_waited() {
        let us = Duration::from_micros;
        let mut in_place = InPlace::new(us(50));
        in_place.spend(us(30));
        assert_eq!(in_place.left, us(20));
        in_place.spend(us(1000));
        assert_eq!(in_place.left, us(0));
        in_place.renew();
        assert_eq!(in_place.left, us(50));
    }
}
