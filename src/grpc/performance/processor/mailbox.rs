//! What a stream's task shares with the workers: its slots, and the way back.
//!
//! Workers and flights return slots by way of [`Completions`], which says who wakes the task.
//!
//! **A message is answered for from elsewhere** (its handler is stuck) by withdrawing it and raising the alarm, since
//! the slot itself cannot be returned while a worker is at it.
//!
//! **The end of a stream** (the client is gone) raises `closed`: unstarted messages are withdrawn by the task as it
//! goes, running ones notice at their next checkpoint, and a turn in a flight that arrives afterwards is passed on at
//! once. The mailbox itself lives until the last worker has let go of it.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Instant,
};

use bytes::Bytes;

use super::{
    MessageHandler, Timing,
    completions::Completions,
    engine::{Engine, StreamPermit},
    failure,
    slot::{Arena, Input, Outcome},
};
use crate::{
    grpc::performance::{
        cache::{FlightSink, Lead, Verdict},
        error::{Interruption, OptimizationError, Refusal},
        monitor::Counter,
        worker_pool::{
            Charge, Description, Forecast, Interlude, Job, JobContext, Life, Share, WithdrawnFrom,
        },
    },
    platform::{
        clock,
        contain::{contain, drop_logged},
        stage::reached,
    },
};

pub(super) struct Mailbox<H: MessageHandler> {
    pub(super) engine: Arc<Engine<H>>,
    pub(super) slots: Arena<H>,
    pub(super) completions: Completions,
    pub(super) closed: AtomicBool,
    /// What the stream is called, in reports.
    name: String,
    /// Taken hold of while a message runs: a client that takes its calls back as fast as it makes them is still charged
    /// for the work that they have left in the workers, where HTTP/2 has forgotten the calls.
    charged: Weak<StreamPermit>,
}

impl<H: MessageHandler> Mailbox<H> {
    pub(super) fn new(
        engine: Arc<Engine<H>>,
        name: String,
        capacity: usize,
        charged: Weak<StreamPermit>,
    ) -> Self {
        Self {
            engine,
            name,
            slots: Arena::new(capacity),
            completions: Completions::new(),
            closed: AtomicBool::new(false),
            charged,
        }
    }

    /// Nobody but the task will touch the slot any more.
    fn give_back(&self, slot: u32) {
        self.completions.bring(&self.slots, slot);
    }

    /// The caller does nothing more with a message that was withdrawn; the slot goes back, unless somebody is still at it.
    fn leave(&self, slot: u32) {
        if self.slots.get(slot).state.leave() {
            self.give_back(slot);
        } else {
            reached!("mailbox: a slot is left to who else is at it");
        }
    }

    /// Stores what became of a message that this thread has begun.
    fn conclude(&self, slot: u32, outcome: Outcome<H>) {
        let place = self.slots.get(slot);
        place.outcome.put(outcome);
        if place.state.finish().is_err() {
            reached!("mailbox: an outcome that nobody waits for");
            drop_logged(place.outcome.take());
        }
        self.give_back(slot);
    }

    /// Runs the handler on a message that was begun, if nothing stands against it by now.
    pub(super) fn serve(
        &self,
        slot: u32,
        input: Input<H>,
        started: Instant,
        waited_too_long: Option<Refusal>,
        forecast: &Forecast,
        interlude: &Interlude<'_>,
    ) -> Outcome<H> {
        let room = &self.engine.pool.seam().room;
        let stopped = if input.deadline.is_some_and(|deadline| deadline <= started) {
            Outcome::failed(Interruption::DeadlineExceeded)
        } else if let Some(refusal) = waited_too_long {
            Outcome::failed(refusal)
        } else if room.is_overdrawn() {
            reached!("mailbox: answers have piled up");
            Outcome::failed(Refusal::AnswersPileUp { held: room.bytes_held(), limit: room.byte_capacity() })
        } else {
            return self.handle(slot, input, started, forecast, interlude);
        };
        drop_logged(input);
        stopped
    }

    /// Runs the handler on a message. Whatever it does, there is an outcome.
    fn handle(
        &self,
        slot: u32,
        input: Input<H>,
        started: Instant,
        forecast: &Forecast,
        interlude: &Interlude<'_>,
    ) -> Outcome<H> {
        let Input { request, class, accepted, deadline, vouched, mut charge, lead, .. } = input;
        let engine = &*self.engine;
        let state = &self.slots.get(slot).state;
        let effort = forecast.begin(class, vouched);
        let result = contain(|| {
            let context = JobContext::new(state, deadline);
            let context = if H::is_undivided(&request) { context } else { context.lending(interlude) };
            let response = engine.call(request, class, lead, context)?;
            // In here, for it is the author's code as well.
            Ok((H::response_weight(&response), response))
        });
        let finished = clock::now();
        let service_time = (finished - started).saturating_sub(interlude.lent());
        let timing = Timing { queue_wait: started - accepted, service_time };
        forecast.learn_from(&effort, || timing.service_time);
        engine.monitor.record_run(class, timing.queue_wait, timing.service_time);
        let result = engine.outcome_of(result, class).map(|(weight, response)| {
            Charge::raise_to(&mut charge, &engine.pool.seam().room, weight);
            response
        });
        Outcome { result, cache_hit: false, timing: Some(timing), charge }
    }

    /// Takes a message that has no worker away from the stream's task's side or the supervisor's, and frees it.
    pub(super) fn withdraw(&self, slot: u32, why: Interruption) -> Option<WithdrawnFrom> {
        let place = self.slots.get(slot);
        let withdrawn = place.state.withdraw(why);
        if withdrawn == Some(WithdrawnFrom::Queued) {
            self.leave_unstarted(slot);
        }
        withdrawn
    }

    /// A message was withdrawn before it was started: what it held is free at once.
    fn leave_unstarted(&self, slot: u32) {
        let place = self.slots.get(slot);
        drop_logged(place.input.take());
        self.engine.pool.seam().withdrawn(&place.share);
    }

    /// An outsider has withdrawn a message: its stream is to answer it. One that was not started may be in the hands of a
    /// worker that is about to begin it.
    fn leave_to_stream(&self, slot: u32, from: WithdrawnFrom) {
        self.completions.raise_alarm();
        if from == WithdrawnFrom::Queued {
            self.leave_unstarted(slot);
            self.leave(slot);
        }
    }
}

impl<H: MessageHandler> Job for Mailbox<H> {
    fn split(&self, slot: u32) -> Option<u32> {
        self.slots.get(slot).link.cut()
    }

    fn share(&self, slot: u32) -> &Share {
        &self.slots.get(slot).share
    }

    fn run(&self, slot: u32, started: Instant, forecast: &Forecast, interlude: &Interlude<'_>) {
        // Before the message begins: who leaves meanwhile has either withdrawn it, or stays charged.
        let _charged = self.charged.upgrade();
        let place = self.slots.get(slot);
        if place.state.begin().is_err() {
            reached!("mailbox: a worker comes for a message that was withdrawn");
            self.leave(slot);
            return;
        }
        let input = place.input.take().expect("the input of a message that has begun is the worker's");
        let waited_too_long = self.waited_too_long(&input, place.share.level(), started);
        let outcome = self.serve(slot, input, started, waited_too_long, forecast, interlude);
        self.conclude(slot, outcome);
    }

    fn refuse(&self, slot: u32, why: Interruption) {
        self.withdraw(slot, why);
        self.leave(slot);
    }

    fn is_withdrawn(&self, slot: u32) -> bool {
        self.slots.get(slot).state.withdrawn().is_some()
    }

    fn describe(&self, slot: u32, life: Life) -> Option<Description> {
        let place = self.slots.get(slot);
        let (class, number) = place.labelled(life)?;
        let passed = place.state.passed();
        Some(Description { class, stream: self.name.clone(), number, passed })
    }

    fn displace(&self, slot: u32, life: Life) -> bool {
        if !self.slots.get(slot).state.withdraw_unstarted(life, Interruption::Displaced) {
            return false;
        }
        self.engine.monitor.count(Counter::Displaced);
        self.leave_to_stream(slot, WithdrawnFrom::Queued);
        true
    }

    fn life(&self, slot: u32) -> Life {
        self.slots.get(slot).state.life()
    }

    fn abandon(&self, slot: u32, life: Life, why: Interruption) -> bool {
        let place = self.slots.get(slot);
        let withdrawn = place.state.withdraw_from(life, why);
        // A message whose deadline has passed is answered, and still holds up those who follow it. From the withdrawal on
        // the worker may give the slot back, and somebody else's watch be in it.
        let watched = place.watch.lock().take_if(|(watched, _)| *watched == life);
        if let Some((_, watch)) = watched {
            if withdrawn.is_none() {
                reached!("mailbox: followers are taken from a leader that was answered before");
            }
            watch.abandon();
        }
        if let Some(from) = withdrawn {
            if why == Interruption::Overstayed {
                self.engine.monitor.count(Counter::Overstays);
            }
            self.leave_to_stream(slot, from);
        }
        withdrawn.is_some()
    }
}

impl<H: MessageHandler> Mailbox<H> {
    /// Answers a message that no worker has, with what somebody else has computed: found in the cache, or joined.
    pub(super) fn answer_with(&self, slot: u32, verdict: Verdict, found: Counter) {
        let place = self.slots.get(slot);
        if place.state.begin().is_err() {
            self.give_back(slot);
            return;
        }
        self.engine.monitor.count(found);
        let input = place.input.take().expect("the input of a message that has begun is its own");
        let result = read::<H>(verdict);
        let outcome = Outcome { result, cache_hit: true, timing: None, charge: input.charge };
        drop_logged(input.request);
        self.conclude(slot, outcome);
    }
}

impl<H: MessageHandler> FlightSink for Mailbox<H> {
    fn resolved(&self, slot: u32, value: Bytes) {
        self.answer_with(slot, Verdict::Answer(value), Counter::CacheJoins);
    }

    fn failed(&self, slot: u32, failure: Bytes) {
        self.answer_with(slot, Verdict::Failure(failure), Counter::CacheJoins);
    }

    fn your_turn(&self, slot: u32, lead: Lead) {
        *self.slots.get(slot).turn.lock() = Some(lead);
        self.completions.bring_urgently(&self.slots, slot);
        // The task may have left before it could see the turn; then nobody else will.
        if self.closed.load(SeqCst) {
            reached!("mailbox: a turn comes to a stream that has ended");
            let lead = self.slots.get(slot).turn.lock().take();
            drop(lead);
        }
    }
}

/// What somebody else has computed, as the answer to a message.
pub(super) fn read<H: MessageHandler>(verdict: Verdict) -> Result<H::Response, OptimizationError> {
    let result = || match verdict {
        Verdict::Answer(value) => H::from_cache(value).ok_or_else(unreadable),
        Verdict::Failure(failure) => Err(failed_before(&failure)),
    };
    contain(result).unwrap_or_else(|text| Err(OptimizationError::Panicked(text)))
}

/// A stored answer that the handler does not understand.
fn unreadable() -> OptimizationError {
    OptimizationError::CacheError("the handler cannot read back what it stored (from_cache gave None)".into())
}

/// What an equal message has failed with.
pub(super) fn failed_before(packed: &[u8]) -> OptimizationError {
    match failure::unpack(packed) {
        Some(error) => error.into(),
        None => OptimizationError::CacheError("a failure was stored that is none of the handler's".into()),
    }
}
