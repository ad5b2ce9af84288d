//! One stream, on the task that polls it: messages in, answers out.
//!
//! Everything here runs on that task alone. A poll goes round this circle until nothing moves (steps 1, 2 and 4 are in
//! [`answers`]):
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

mod answers;
mod entry;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Weak, atomic::Ordering::SeqCst},
    task::{Context, Poll},
    time::Instant,
};

use futures_core::Stream;

pub(super) use self::entry::{AfterHold, Arrival, Entry, Held};

use super::{
    Answer, Message, MessageHandler, Order, StreamOptions,
    admission::{Admitted, crowd::Part},
    batches::Batches,
    completions::{ANY, NOTHING},
    engine::{Engine, StreamPermit},
    in_place::InPlace,
    mailbox::Mailbox,
    reading::Reading,
    timer::Timer,
};
use crate::grpc::performance::{
    OptimizationContext,
    error::{Interruption, OptimizationError},
    monitor,
    worker_pool::{Expected, Look},
};
use crate::platform::{clock, contain::drop_logged};

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
            this.take_back();
            this.expire();
            let admitted = this.admit(cx);
            this.part.publish();
            let more_at_hand = match admitted {
                Admitted::Answered(answer) => return Poll::Ready(Some(Ok(answer))),
                Admitted::All => false,
                Admitted::Some => true,
            };
            if let Some(answer) = this.next_answer() {
                return Poll::Ready(Some(Ok(answer)));
            }
            if this.in_flight == 0 && this.input.is_none() {
                return Poll::Ready(this.failure.take().map(Err));
            }
            if !more_at_hand && this.look_out() {
                continue;
            }
            if !this.mailbox.completions.wait_for(this.awaited(), cx.waker()) {
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
            let arrival = entry.arrival;
            self.trace(&arrival, now - arrival.accepted, None);
        }
    }
}

#[cfg(test)]
#[cfg(not(any(millstream_loom, millstream_shuttle)))]
mod tests;
