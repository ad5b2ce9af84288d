//! How a message gets its answer, once, and how answers leave the stream.
//!
//! The outcome of a message comes back in its slot, or is that it was withdrawn: by its deadline here, or by somebody else,
//! who has raised the alarm.

use std::time::Duration;

use super::{
    super::{Answer, MessageHandler, Order, slot::Outcome},
    AnswerStream, Arrival, Entry,
};
use crate::{
    grpc::performance::error::{Interruption, OptimizationError, Refusal},
    platform::{clock, contain::drop_logged, stage::reached},
};

/// The target of the events of messages.
const TRACED: &str = "millstream::message";

impl<H: MessageHandler, S, T, E> AnswerStream<H, S, T, E> {
    /// Step 1: what came back.
    pub(super) fn take_back(&mut self) {
        if !self.mailbox.completions.is_ready() {
            return;
        }
        let mut back = std::mem::take(&mut self.back);
        let alarm = self.mailbox.completions.take(&self.mailbox.slots, &mut back);
        for slot in back.drain(..) {
            self.take_back_one(slot);
        }
        self.back = back;
        if alarm {
            for slot in 0..self.entries.len() as u32 {
                self.answer_withdrawn(slot);
            }
        }
    }

    fn take_back_one(&mut self, slot: u32) {
        let place = self.mailbox.slots.get(slot);
        if place.state.is_finished() {
            let outcome = place.outcome.take().expect("a finished message has an outcome");
            if self.entries[slot as usize].is_open() {
                self.set_outcome(slot, outcome);
            } else {
                // It was answered from the cache, and computed for those who ask later.
                drop_logged(outcome);
            }
        } else if place.state.withdrawn().is_some() {
            // A turn that it was offered meanwhile goes to the next.
            let turn = place.turn.lock().take();
            drop(turn);
            self.answer_withdrawn(slot);
        } else {
            let lead = place.turn.lock().take();
            let lead = lead.expect("a slot that comes back unfinished was offered a turn");
            self.take_turn(slot, lead);
            return;
        }
        self.set_returned(slot);
    }

    /// Answers a message that somebody else withdrew.
    fn answer_withdrawn(&mut self, slot: u32) {
        let withdrawn = self.mailbox.slots.get(slot).state.withdrawn();
        if let Some(why) = withdrawn
            && self.entries[slot as usize].is_open()
        {
            let outcome = match why {
                Interruption::Displaced => self.displaced(slot),
                why => Outcome::failed(why),
            };
            self.set_outcome(slot, outcome);
        }
    }

    /// The answer to a message that has made room for another.
    fn displaced(&self, slot: u32) -> Outcome<H> {
        let Arrival { priority, deadline, .. } = self.entries[slot as usize].arrival;
        let policy = &self.engine().pool.seam().policy;
        if policy.judges(priority.rank(), deadline.is_some()) {
            policy.revoked();
        }
        Outcome::failed(Refusal::Displaced { retry_after: self.engine().retry_after(Duration::ZERO) })
    }

    /// The answer to a message is known.
    pub(in super::super) fn set_outcome(&mut self, slot: u32, outcome: Outcome<H>) {
        let entry = &mut self.entries[slot as usize];
        debug_assert!(entry.is_open(), "a message has one answer");
        if let Some(timing) = outcome.timing {
            self.part.correct(Duration::from_nanos(entry.charged), timing.service_time);
        }
        entry.outcome = Some(outcome);
        self.part.open -= 1;
        if self.options.order == Order::Completion {
            self.leaving.push_back(slot);
        }
    }

    /// Nobody else is at the slot any more.
    pub(in super::super) fn set_returned(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        entry.returned = true;
        if entry.tag.is_none() {
            self.free.push(slot);
        }
    }

    /// Step 2: messages whose deadline has passed are answered, wherever they are.
    pub(super) fn expire(&mut self) {
        if self.timer.is_empty() {
            return;
        }
        let now = clock::now();
        while let Some(slot) = self.timer.pop_due(now, Entry::open_among(&self.entries)) {
            if self.mailbox.withdraw(slot, Interruption::DeadlineExceeded).is_some() {
                self.set_outcome(slot, Outcome::failed(Interruption::DeadlineExceeded));
                if let Some(held) = self.held.iter().position(|held| held.slot == slot) {
                    reached!("stream: a deadline passes while the message waits for room");
                    self.held.remove(held);
                    self.set_returned(slot);
                }
            }
        }
    }

    /// Step 4: the next answer, if the order allows one.
    pub(super) fn next_answer(&mut self) -> Option<Answer<H::Response, T>> {
        let slot = *self.leaving.front()?;
        let entry = &mut self.entries[slot as usize];
        let outcome = entry.outcome.take()?;
        let tag = entry.tag.take().expect("a message is answered once");
        let arrival = entry.arrival;
        if entry.returned {
            self.free.push(slot);
        }
        self.leaving.pop_front();
        self.in_flight -= 1;
        Some(self.depart(&arrival, tag, outcome))
    }

    /// The answer to a message leaves.
    pub(in super::super) fn depart(
        &mut self,
        arrival: &Arrival,
        tag: T,
        outcome: Outcome<H>,
    ) -> Answer<H::Response, T> {
        self.last_activity = clock::now();
        let sojourn = self.last_activity - arrival.accepted;
        let engine = self.engine();
        engine.monitor.record_sojourn(arrival.class, sojourn);
        engine.monitor.answered(outcome.counts_as());
        self.trace(arrival, sojourn, Some(&outcome));
        let Outcome { result, cache_hit, timing, charge } = outcome;
        drop(charge);
        Answer { sequence: arrival.sequence, tag, result, cache_hit, timing }
    }

    /// The event of a message that is gone: with its answer, or, where that is `None`, with its stream.
    #[inline]
    pub(in super::super) fn trace(&self, arrival: &Arrival, sojourn: Duration, answer: Option<&Outcome<H>>) {
        if !self.engine().config.enable_detailed_tracing {
            return;
        }
        let failure = |answer: &Outcome<H>| answer.result.as_ref().err().map(OptimizationError::kind);
        tracing::debug!(
            target: TRACED,
            connection_id = self.context.connection_id,
            sequence = arrival.sequence,
            class = arrival.class.name(),
            ?sojourn,
            timing = answer.map(|answer| tracing::field::debug(answer.timing)),
            cache_hit = answer.map(|answer| answer.cache_hit),
            failure = answer.map(|answer| tracing::field::debug(failure(answer))),
            "{}",
            if answer.is_some() { "answered" } else { "cancelled" }
        );
    }
}
