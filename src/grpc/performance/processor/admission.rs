//! Step 3 of a stream's circle: reading messages, and everything that is decided before a worker is involved.
//!
//! In this order: the validator ([`inspection`]), the deadline, the size, the cache ([`equals`]), the predicted wait
//! ([`verdict`]), room ([`entrance`]), an equal message in work ([`equals`] again), the lane ([`entrance`] again). Whatever
//! stops a message on its way gives its answer; the stream lives on.

pub(super) mod crowd;
mod entrance;
mod equals;
mod inspection;
mod verdict;

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

use self::{
    equals::Cached,
    inspection::{Inspection, inspect},
};
use super::{
    Answer, AnswerStream, Message, MessageHandler,
    in_place::OnTheSpot,
    slot::Outcome,
    stream::{Arrival, Entry},
};
use crate::grpc::performance::{
    error::{Interruption, Refusal},
    monitor::Counter,
    worker_pool::Priority,
};
use crate::platform::{clock, contain::drop_logged, stage::reached};

/// Messages that one poll admits at most, so that a stream with many at hand lets the other tasks of its thread live.
const ADMISSIONS_PER_POLL: usize = 64;

/// What came of reading.
pub(super) enum Admitted<R, T> {
    /// A message has its answer already, and that leaves now.
    Answered(Answer<R, T>),
    /// All that there is, as far as there is room for it.
    All,
    /// There may be more: it stopped to let others live, or an answer leave.
    Some,
}

impl<H: MessageHandler, S, T, E> AnswerStream<H, S, T, E> {
    /// A slot for the next message, if there may be one more.
    fn slot(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            self.batches.forget(slot);
            return Some(slot);
        }
        if self.entries.len() >= self.capacity {
            return None;
        }
        let slot = self.entries.len() as u32;
        self.mailbox.slots.grow_to(slot);
        self.entries.push(Entry::vacant(self.context.session_start));
        self.make_room();
        Some(slot)
    }

    /// Whatever lists slots gets room for all of them, so that only a stream that is deeper than ever before allocates.
    fn make_room(&mut self) {
        let depth = self.entries.capacity();
        self.free.reserve(depth - self.free.len());
        self.back.reserve(depth - self.back.len());
        self.leaving.reserve(depth - self.leaving.len());
    }

    /// Accepts a message, and takes it as far as it gets: into the slot, or, where its answer can leave at once, there.
    fn accept(&mut self, slot: u32, mut message: Message<H::Request, T>) -> Option<Answer<H::Response, T>> {
        let now = clock::now();
        let engine = &*self.mailbox.engine;
        engine.monitor.count(Counter::Accepted);
        let (inspection, verdict) = inspect(engine, &mut message, now);
        let Message { request, tag, .. } = message;
        let Inspection { class, priority, weight, deadline, key, vouched } = inspection;
        let deadline = [deadline, self.options.deadline].into_iter().flatten().min();
        let sequence = self.context.message_count;
        self.context.increment_message_count();
        self.last_activity = now;
        self.reading.found(priority == Priority::High, now);
        self.part.open += 1;
        let limit = engine.pool.seam().room.byte_capacity();
        let budget = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let (mut refresh, mut bytes) = (None, weight);
        let stopped = if let Err(error) = verdict {
            Some(Outcome::failed(error))
        } else if budget.is_some_and(|budget| budget.is_zero()) {
            Some(Outcome::failed(Interruption::DeadlineExceeded))
        } else if weight > limit {
            Some(Outcome::failed(Refusal::TooLarge { weight, limit }))
        } else {
            match key.map_or(Cached::Nothing, |key| self.cached(key, priority, now)) {
                Cached::Answer(answer, duty) => {
                    refresh = duty;
                    Some(answer)
                }
                Cached::Large(heavy) => {
                    reached!("admission: an answer of the cache waits for room");
                    bytes = weight.max(heavy.min(limit));
                    None
                }
                Cached::Nothing => self.objection(class, priority, budget, now).map(Outcome::failed),
            }
        };
        let arrival = Arrival { sequence, class, priority, weight, key, accepted: now, deadline, vouched };
        // Who is before all others leaves as soon as its answer is there, and nobody else has to know of it.
        let is_next = self.leaving.is_empty();
        let request = match stopped {
            Some(outcome) => {
                if is_next && refresh.is_none() {
                    drop_logged(request);
                    self.part.open -= 1;
                    return Some(self.depart(&arrival, tag, outcome));
                }
                self.take_in(slot, arrival, tag);
                self.set_outcome(slot, outcome);
                match refresh {
                    Some(lead) => self.refresh(slot, request, lead, weight, now),
                    None => {
                        drop_logged(request);
                        self.set_returned(slot);
                    }
                }
                return None;
            }
            None if is_next && vouched => match self.on_the_spot(slot, &arrival, bytes, request) {
                OnTheSpot::Declined(request) => request,
                OnTheSpot::Follows => {
                    self.take_in(slot, arrival, tag);
                    self.watch_deadline(slot);
                    return None;
                }
                OnTheSpot::Ran { outcome, sojourn } => {
                    self.part.open -= 1;
                    self.trace(&arrival, sojourn, Some(&outcome));
                    let Outcome { result, cache_hit, timing, .. } = outcome;
                    return Some(Answer { sequence, tag, result, cache_hit, timing });
                }
                OnTheSpot::Answered(outcome) => {
                    self.part.open -= 1;
                    return Some(self.depart(&arrival, tag, outcome));
                }
            },
            None => request,
        };
        let mailbox = Arc::clone(&self.mailbox);
        mailbox.slots.get(slot).fill(arrival.input(request, None));
        self.take_in(slot, arrival, tag);
        self.watch_deadline(slot);
        self.find_room(&mailbox, slot, bytes, now);
        None
    }

    /// A message is in flight from now on, in this slot.
    fn take_in(&mut self, slot: u32, arrival: Arrival, tag: T) {
        self.in_flight += 1;
        self.entries[slot as usize] = Entry::of(arrival, tag);
        if self.options.order == super::Order::Request {
            self.leaving.push_back(slot);
        }
    }

    /// The message in this slot is to be answered by its deadline, if it has one.
    fn watch_deadline(&mut self, slot: u32) {
        let Arrival { deadline, sequence, .. } = self.entries[slot as usize].arrival;
        if let Some(deadline) = deadline {
            self.timer.add(deadline, slot, sequence);
            self.timer.sweep(self.in_flight, Entry::open_among(&self.entries));
        }
    }

    /// Answers a message that nobody else knows.
    pub(super) fn settle(&mut self, slot: u32, outcome: Outcome<H>) {
        self.set_outcome(slot, outcome);
        self.set_returned(slot);
    }

    /// The same, for a message whose input is in its slot already.
    fn withdraw_and_settle(&mut self, slot: u32, outcome: Outcome<H>) {
        let withdrawn = self.mailbox.withdraw(slot, Interruption::Cancelled);
        debug_assert!(withdrawn.is_some(), "a message that was not queued is the task's to withdraw");
        self.settle(slot, outcome);
    }
}

impl<H, S, T, E> AnswerStream<H, S, T, E>
where
    H: MessageHandler,
    S: Stream<Item = Result<Message<H::Request, T>, E>>,
{
    /// Reads and admits while it can, and may.
    pub(super) fn admit(&mut self, cx: &mut Context<'_>) -> Admitted<H::Response, T> {
        if self.reading.rests(clock::now) {
            self.resume_held(cx);
            return Admitted::All;
        }
        for read in 0..ADMISSIONS_PER_POLL {
            if !self.resume_held(cx) || self.input.is_none() {
                return Admitted::All;
            }
            let Some(slot) = self.slot() else { return Admitted::All };
            let by_the_clock = self.reading.by_the_clock(self.engine().pool.seam().is_swamped());
            let mut unwoken = Context::from_waker(Waker::noop());
            let input = self.input.as_mut().expect("checked above");
            match input.as_mut().poll_next(if by_the_clock { &mut unwoken } else { cx }) {
                Poll::Ready(Some(Ok(message))) => {
                    // What was answered on the spot leaves now: who takes it asks for the next one anyway, and looks into
                    // the input then.
                    if let Some(answer) = self.accept(slot, message) {
                        self.free.push(slot);
                        return Admitted::Answered(answer);
                    }
                    let entry = &self.entries[slot as usize];
                    if entry.outcome.is_some() && self.leaving.front() == Some(&slot) {
                        return Admitted::Some;
                    }
                    continue;
                }
                Poll::Ready(Some(Err(failure))) => {
                    self.failure = Some(failure);
                    self.input = None;
                }
                Poll::Ready(None) => self.input = None,
                Poll::Pending if by_the_clock => {
                    let now = clock::now();
                    let since_epoch = self.engine().pool.seam().since_epoch(now);
                    self.reading.pause(read > 0, self.part.open == 0, now, since_epoch);
                }
                Poll::Pending => {}
            }
            self.free.push(slot);
            return Admitted::All;
        }
        Admitted::Some
    }
}
