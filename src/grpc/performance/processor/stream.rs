//! One stream, on the task that polls it: messages in, answers out.
//!
//! Everything here runs on that task alone. A poll goes round this circle until nothing moves:
//!
//! 1. take back returned slots, from the [`Mailbox`];
//! 2. expire messages whose deadline has passed;
//! 3. read and admit messages, while there are slots for them ([`admission`](super::admission)): a message that has to
//!    wait for room stops the reading, and with it, through HTTP/2 flow control, the client; what costs less than its
//!    hand-off is worked on here ([`in_place`](super::in_place));
//! 4. give out an answer, if the order allows one.
//!
//! **One answer.** A message is answered when its `outcome` is set and its turn has come, and `outcome` is set once: from
//! the slot that was returned, or here, by who withdrew it. A slot is free again when its message was answered *and* it
//! was returned, in whichever order. (One that was answered with a stale answer may go on to compute a fresh one: see
//! `admission`.)
//!
//! **Bounded.** There are never more than `stream_channel_capacity` slots, messages that were answered at their deadline
//! and still occupy a worker included.
//!
//! **The end.** When the input is over (or failed), what is in flight is answered first; then the stream ends (with the
//! error). Dropped early, everything unstarted is withdrawn, and what runs sees it at its next checkpoint; the stream
//! counts as open until it has.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Weak, atomic::Ordering::SeqCst},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_core::Stream;

use super::{
    Answer, Message, MessageHandler, Order, StreamOptions,
    admission::crowd::Part,
    batches::Batches,
    completions::{ANY, NOTHING},
    engine::{Engine, StreamPermit},
    in_place::InPlace,
    mailbox::Mailbox,
    reading::Reading,
    slot::Outcome,
    timer::Timer,
};
use crate::grpc::performance::{
    OptimizationContext,
    cache::CacheKey,
    error::{Interruption, OptimizationError, Refusal},
    monitor::{self, Class},
    worker_pool::{Expected, Look, Priority, Waiting},
};
use crate::platform::{clock, contain::drop_logged, stage::reached};

/// The target of the events of messages.
const TRACED: &str = "millstream::message";

/// What the task knows of a message in flight; the rest is in its [`Slot`](super::slot::Slot).
pub(super) struct Entry<H: MessageHandler, T> {
    pub(super) sequence: u64,
    /// Taken with the answer: `None` when the message was answered, and when the slot is free.
    pub(super) tag: Option<T>,
    pub(super) class: Class,
    pub(super) priority: Priority,
    pub(super) key: Option<CacheKey>,
    pub(super) accepted: Instant,
    pub(super) deadline: Option<Instant>,
    /// What the account of the stream was charged for it.
    pub(super) charged: Duration,
    /// Its handler vouches for it: the task may run it.
    pub(super) vouched: bool,
    /// Set once the answer is known, until it is given out.
    pub(super) outcome: Option<Outcome<H>>,
    /// Nobody else is at the slot.
    pub(super) returned: bool,
}

impl<H: MessageHandler, T> Entry<H, T> {
    /// What a slot holds that has not been used yet.
    pub(super) fn vacant(now: Instant) -> Self {
        Self {
            sequence: 0,
            tag: None,
            class: Class::DEFAULT,
            priority: Priority::Normal,
            key: None,
            accepted: now,
            deadline: None,
            charged: Duration::ZERO,
            vouched: false,
            outcome: None,
            returned: true,
        }
    }

    /// The message still lacks an answer.
    pub(super) fn is_open(&self) -> bool {
        self.tag.is_some() && self.outcome.is_none()
    }

    /// Says whether the message with this number, in this slot, still lacks an answer.
    pub(super) fn open_among(entries: &[Self]) -> impl Fn(u32, u64) -> bool {
        |slot, sequence| {
            let entry = &entries[slot as usize];
            entry.sequence == sequence && entry.is_open()
        }
    }
}

/// A message that waits for room in the lanes.
pub(super) struct Held {
    pub(super) slot: u32,
    pub(super) waiting: Waiting,
    pub(super) bytes: usize,
    pub(super) then: AfterHold,
}

/// What a held message does when it has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterHold {
    /// Look whether an equal message is in work; else go to a lane.
    Admission,
    /// Go to a lane: its turn to compute has come.
    Turn,
}

/// A message that the task looks out for; whatever comes back ends that.
struct Near<'a, H: MessageHandler> {
    mailbox: &'a Mailbox<H>,
    slot: u32,
}

impl<H: MessageHandler> Expected for Near<'_, H> {
    fn has_begun(&self) -> bool {
        !self.mailbox.slots.get(self.slot).state.is_queued()
    }

    fn is_over(&self) -> bool {
        self.mailbox.completions.is_ready()
    }
}

/// The answers of one stream, each message exactly once.
///
/// Made by [`OptimizedStreamProcessor::stream`](super::OptimizedStreamProcessor::stream). It ends when the input is over
/// and everything is answered; an error of the input, or of the stream as a whole, is its last item.
pub struct AnswerStream<H: MessageHandler, S, T, E> {
    pub(super) mailbox: Arc<Mailbox<H>>,
    pub(super) entries: Vec<Entry<H, T>>,
    pub(super) free: Vec<u32>,
    /// Slots whose answers are to leave, in that order: all that is in flight in request order, what is ready in
    /// completion order.
    pub(super) leaving: VecDeque<u32>,
    pub(super) held: VecDeque<Held>,
    pub(super) batches: Batches,
    pub(super) timer: Timer,
    pub(super) reading: Reading,
    pub(super) in_place: InPlace,
    pub(super) options: StreamOptions,
    pub(super) context: OptimizationContext,
    pub(super) input: Option<Pin<Box<S>>>,
    pub(super) failure: Option<E>,
    /// Slots that there may be.
    pub(super) capacity: usize,
    /// Messages accepted and not answered.
    pub(super) in_flight: usize,
    /// Those that have no outcome yet, as others are told of them.
    pub(super) part: Part,
    pub(super) last_activity: Instant,
    /// Room for what comes back, kept between polls.
    pub(super) back: Vec<u32>,
    /// The message queued last, if its outcome is near, and how to look out for it.
    pub(super) near: Option<(u32, Look)>,
    _permit: Option<Arc<StreamPermit>>,
}

// Nothing is pinned in place: the input is in a box.
impl<H: MessageHandler, S, T, E> Unpin for AnswerStream<H, S, T, E> {}

impl<H: MessageHandler, S, T, E> AnswerStream<H, S, T, E> {
    pub(super) fn new(
        engine: Arc<Engine<H>>,
        input: S,
        options: StreamOptions,
        context: OptimizationContext,
        capacity: usize,
        permit: Option<StreamPermit>,
    ) -> Self {
        let permit = permit.map(Arc::new);
        let charged = permit.as_ref().map_or_else(Weak::new, Arc::downgrade);
        Self {
            part: Part::new(&engine.crowd, options.peer, permit.is_some()),
            in_place: InPlace::new(engine.config.in_place_budget),
            mailbox: Arc::new(Mailbox::new(engine, context.connection_id.clone(), capacity, charged)),
            entries: Vec::new(),
            free: Vec::new(),
            leaving: VecDeque::new(),
            held: VecDeque::new(),
            batches: Batches::default(),
            timer: Timer::default(),
            reading: Reading::default(),
            options,
            last_activity: context.session_start,
            context,
            input: Some(Box::pin(input)),
            failure: None,
            capacity,
            in_flight: 0,
            back: Vec::new(),
            near: None,
            _permit: permit,
        }
    }

    /// Who the stream is, since when, and how much it has carried.
    #[must_use]
    pub fn context(&self) -> &OptimizationContext {
        &self.context
    }

    pub(super) fn engine(&self) -> &Engine<H> {
        &self.mailbox.engine
    }

    /// Step 1: what came back.
    fn take_back(&mut self) {
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
        let (entry, policy) = (&self.entries[slot as usize], &self.engine().pool.seam().policy);
        if policy.judges(entry.priority.rank(), entry.deadline.is_some()) {
            policy.revoked();
        }
        Outcome::failed(Refusal::Displaced { retry_after: self.engine().retry_after(Duration::ZERO) })
    }

    /// The answer to a message is known.
    pub(super) fn set_outcome(&mut self, slot: u32, outcome: Outcome<H>) {
        let entry = &mut self.entries[slot as usize];
        debug_assert!(entry.is_open(), "a message has one answer");
        if let Some(timing) = outcome.timing {
            self.part.correct(entry.charged, timing.service_time);
        }
        entry.outcome = Some(outcome);
        self.part.open -= 1;
        if self.options.order == Order::Completion {
            self.leaving.push_back(slot);
        }
    }

    /// Nobody else is at the slot any more.
    pub(super) fn set_returned(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        entry.returned = true;
        if entry.tag.is_none() {
            self.free.push(slot);
        }
    }

    /// Step 2: messages whose deadline has passed are answered, wherever they are.
    fn expire(&mut self) {
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
    fn next_answer(&mut self) -> Option<Answer<H::Response, T>> {
        let slot = *self.leaving.front()?;
        let entry = &mut self.entries[slot as usize];
        let outcome = entry.outcome.take()?;
        let tag = entry.tag.take().expect("a message is answered once");
        let (sequence, class, accepted) = (entry.sequence, entry.class, entry.accepted);
        if entry.returned {
            self.free.push(slot);
        }
        self.leaving.pop_front();
        self.in_flight -= 1;
        self.last_activity = clock::now();
        let sojourn = self.last_activity - accepted;
        let code = outcome.result.as_ref().err().map(OptimizationError::kind);
        let engine = self.engine();
        engine.monitor.record_sojourn(class, sojourn);
        engine.monitor.answered(code.map_or(monitor::Outcome::Ok, monitor::Outcome::from));
        if engine.config.enable_detailed_tracing {
            tracing::debug!(
                target: TRACED,
                connection_id = self.context.connection_id,
                sequence,
                class = class.name(),
                ?sojourn,
                timing = ?outcome.timing,
                cache_hit = outcome.cache_hit,
                failure = ?code,
                "answered"
            );
        }
        let Outcome { result, cache_hit, timing, charge } = outcome;
        drop(charge);
        Some(Answer { sequence, tag, result, cache_hit, timing })
    }

    /// What a worker is to wake the task for.
    fn awaited(&self) -> u32 {
        if self.reading.next_tick().is_some() {
            return NOTHING;
        }
        let full = self.free.is_empty() && self.entries.len() >= self.capacity;
        match self.options.order {
            Order::Completion => ANY,
            // Every slot that comes back lets a message in.
            Order::Request if full => ANY,
            Order::Request => self.leaving.front().copied().unwrap_or(NOTHING),
        }
    }

    /// Looks out for a message that is near; true when something has come back.
    fn look_out(&mut self) -> bool {
        let Some((slot, look)) = self.near.take() else { return false };
        // It may have come while another answer left; and who has a stale answer does not wait for the fresh one.
        if !self.entries[slot as usize].is_open() {
            return false;
        }
        self.mailbox.completions.ignore();
        let near = Near { mailbox: &self.mailbox, slot };
        self.engine().pool.seam().await_briefly(&near, look)
    }

    /// When the stream has been silent for too long. Not while it rests: something may have come that it has not read.
    fn idle_deadline(&self) -> Option<Instant> {
        let rests = self.reading.next_tick().is_some();
        let idle = self.in_flight == 0 && self.input.is_some() && !rests;
        idle.then(|| self.last_activity + self.context.config.stream_timeout)
    }
}

impl<H, S, T, E> Stream for AnswerStream<H, S, T, E>
where
    H: MessageHandler,
    S: Stream<Item = Result<Message<H::Request, T>, E>>,
    E: From<OptimizationError>,
{
    type Item = Result<Answer<H::Response, T>, E>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            this.mailbox.completions.register(cx.waker());
            this.take_back();
            this.expire();
            let more_at_hand = this.admit(cx);
            this.part.publish();
            if let Some(answer) = this.next_answer() {
                return Poll::Ready(Some(Ok(answer)));
            }
            if this.in_flight == 0 && this.input.is_none() {
                return Poll::Ready(this.failure.take().map(Err));
            }
            if !more_at_hand && this.look_out() {
                continue;
            }
            if !this.mailbox.completions.wait_for(this.awaited()) {
                continue;
            }
            let other = [this.idle_deadline(), this.reading.next_tick()].into_iter().flatten().min();
            let seam = this.mailbox.engine.pool.seam();
            let remind = |at, waker| seam.remind(at, waker);
            if this.timer.poll(other, Entry::open_among(&this.entries), remind, cx).is_ready() {
                if this.idle_deadline().is_some_and(|deadline| deadline <= clock::now()) {
                    let silent = this.context.config.stream_timeout;
                    this.input = None;
                    this.failure = Some(OptimizationError::StreamIdle(silent).into());
                }
                continue;
            }
            if more_at_hand {
                cx.waker().wake_by_ref();
            }
            this.in_place.renew();
            return Poll::Pending;
        }
    }
}

impl<H: MessageHandler, S, T, E> Drop for AnswerStream<H, S, T, E> {
    fn drop(&mut self) {
        self.mailbox.closed.store(true, SeqCst);
        let now = clock::now();
        self.part.close(self.engine().pool.seam().since_epoch(now));
        self.held.clear();
        for slot in 0..self.entries.len() as u32 {
            let place = self.mailbox.slots.get(slot);
            let entry = &mut self.entries[slot as usize];
            // Even a message that was answered may have been offered a turn since, for others to wait for.
            let turn = place.turn.lock().take();
            drop(turn);
            if entry.tag.is_none() {
                continue;
            }
            if entry.outcome.is_none() {
                self.mailbox.withdraw(slot, Interruption::Cancelled);
                if place.state.is_finished() {
                    drop_logged(place.outcome.take());
                }
            } else {
                drop_logged(entry.outcome.take());
            }
            self.mailbox.engine.monitor.answered(monitor::Outcome::Cancelled);
            if self.context.config.enable_detailed_tracing {
                tracing::debug!(
                    target: TRACED,
                    connection_id = self.context.connection_id,
                    sequence = entry.sequence,
                    class = entry.class.name(),
                    sojourn = ?(now - entry.accepted),
                    "cancelled"
                );
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(any(millstream_loom, millstream_shuttle)))]
mod tests;
