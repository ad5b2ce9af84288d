//! From room to a lane: how a message that nothing stands against comes to be queued.
//!
//! 1. **Room**: it takes a place in the lanes and its bytes, both or neither. Where there is none it is refused, or takes the
//!    place of a worse one ([`verdict`](super::verdict)), or is *held*: it stands in line, and the stream reads nothing until
//!    it has room.
//! 2. **Entered**: its bytes are charged to it, and it looks for an equal message in work ([`equals`](super::equals)). If it
//!    follows that, it needs no worker, and gives its place back. It comes here once more if its turn to compute comes; then
//!    it lacks a place only.
//! 3. **Queued**: it is put to the account of its stream and to the forecast, and stands in a lane, by itself or behind
//!    others of its stream. What costs less than its hand-off the task runs here ([`in_place`](super::super::in_place)).
//!
//! **No place is lost.** Whoever has a place gives it back when it turns out to need no worker, or after it was run here; with
//! the share of a queued message goes its place, and whoever takes that, a worker or who withdraws the message, gives it back.
//! A held message that is withdrawn lets go of its wait, and with it of what it may just have been given.
//!
//! **From the hand-off on the message is not the task's.** Another stream may withdraw it once it is noted
//! (`note`), a worker may begin it once it is in a lane or a chain: so all that is written in its slot is written before.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use super::super::{
    AnswerStream, MessageHandler,
    mailbox::Mailbox,
    slot::Outcome,
    stream::{AfterHold, Arrival, Held},
};
use crate::{
    grpc::performance::{
        error::Refusal,
        monitor::Counter,
        overload::Appetite,
        worker_pool::{Charge, Level, Line, NoRoom, Priority, Task},
    },
    platform::{clock, stage::reached},
};

impl<H: MessageHandler, S, T, E> AnswerStream<H, S, T, E> {
    /// Takes a place and the bytes, or waits for them, or refuses, as configured.
    pub(super) fn find_room(&mut self, mailbox: &Arc<Mailbox<H>>, slot: u32, bytes: usize, now: Instant) {
        let shared = mailbox.engine.pool.seam();
        let priority = self.entries[slot as usize].arrival.priority;
        match shared.room.try_acquire(priority, bytes, now) {
            Ok(()) => self.enter(mailbox, slot, bytes, AfterHold::Admission, now),
            Err(NoRoom::Closed) => self.withdraw_and_settle(slot, Outcome::failed(Refusal::Draining)),
            Err(NoRoom::Full) if shared.policy.sheds(priority.rank()) => {
                match self.place_at_any_rate(slot, bytes, now) {
                    Ok(()) => self.enter(mailbox, slot, bytes, AfterHold::Admission, now),
                    Err(refusal) => self.withdraw_and_settle(slot, Outcome::failed(refusal)),
                }
            }
            Err(NoRoom::Full) => self.hold(slot, priority, bytes),
        }
    }

    fn hold(&mut self, slot: u32, priority: Priority, bytes: usize) {
        let waiting = self.engine().pool.seam().room.wait(priority, bytes);
        self.held.push_back(Held { slot, waiting, bytes, then: AfterHold::Admission });
    }

    /// A message has a place in the lanes and its bytes.
    pub(super) fn enter(
        &mut self,
        mailbox: &Arc<Mailbox<H>>,
        slot: u32,
        bytes: usize,
        then: AfterHold,
        now: Instant,
    ) {
        let shared = mailbox.engine.pool.seam();
        let place = mailbox.slots.get(slot);
        if then == AfterHold::Admission {
            if let Some(charge) = Charge::new(&shared.room, bytes) {
                let mut input = place.input.take().expect("the input of an unqueued message is the task's");
                input.charge = Some(charge);
                place.input.put(input);
            }
            if let Some(key) = self.entries[slot as usize].arrival.key
                && !self.lead(slot, key)
            {
                // It needs no worker, for now.
                shared.give_place_back();
                return;
            }
        }
        self.queue(mailbox, slot, now);
    }

    /// Puts what a message is expected to take to the account of its stream; says in which line it stands.
    fn charge(&mut self, slot: u32, now: Instant) -> Line {
        let shared = self.mailbox.engine.pool.seam();
        let entry = &mut self.entries[slot as usize];
        let Arrival { class, priority, .. } = entry.arrival;
        let expected = shared.forecast.service(class);
        entry.charged = expected.as_nanos() as u64;
        let appetite = self.part.charge(expected, shared.since_epoch(now));
        if appetite > Appetite::Modest {
            reached!("admission: a message stands behind those of streams that have used less");
        }
        Line { priority, appetite }
    }

    /// Queues a message that holds a place, behind others of its stream or by itself; or runs it on the spot.
    pub(super) fn queue(&mut self, mailbox: &Arc<Mailbox<H>>, slot: u32, now: Instant) {
        if self.is_to_run_here(slot) {
            return self.run_in_place(mailbox, slot);
        }
        let engine = &mailbox.engine;
        let shared = engine.pool.seam();
        mailbox.slots.get(slot).link.reset();
        engine.monitor.count(Counter::BatchedMessages);
        let class = self.entries[slot as usize].arrival.class;
        let line = self.charge(slot, now);
        let prospect = shared.prospect(class, line, self.in_flight);
        let share = &mailbox.slots.get(slot).share;
        let is_short = shared.forecast.queued(share, class, line) == Level::Short;
        self.note(slot, now);
        // What is long travels alone: company is to save hand-offs, and they are nothing to it. Beside a sleeping worker
        // company is a loss: the message is better off with a wake of its own. And where the wait is long, company is far
        // ahead of others: each is to wait as long as was predicted, or nobody can tell by the least wait whether all wait.
        let brief = || shared.is_brief(shared.predicted_wait(Level::Short, line));
        let company = self
            .batches
            .joinable(line, now, shared.level().batch_size(engine.config.batch_size), &engine.config)
            .filter(|_| is_short && !shared.anyone_asleep() && brief())
            .is_some_and(|last| mailbox.slots.get(last).link.extend(slot));
        if company {
            reached!("admission: a message joins a queued batch");
            self.batches.joined(line, slot, now);
        } else {
            if is_short {
                self.batches.opened(line, slot, now);
            }
            engine.monitor.count(Counter::Batches);
            let task = Task { job: Arc::clone(mailbox) as _, unit: slot, line };
            let woke = shared.submit(task, prospect.side());
            self.near = prospect.look(woke).map(|look| (slot, look));
        }
    }

    /// Messages that waited for room; false when some still do.
    ///
    /// Turns are given their places in the order in which they stand. Behind them stands one message at most that waits
    /// to be admitted; it may have been given room before the first of them came, and lacks only this look.
    pub(super) fn resume_held(&mut self, cx: &mut Context<'_>) -> bool {
        let mut position = 0;
        while let Some(held) = self.held.get_mut(position) {
            let Poll::Ready(room) = Pin::new(&mut held.waiting).poll(cx) else {
                let last = self.held.len() - 1;
                if position == last {
                    return false;
                }
                position = last;
                continue;
            };
            let held = self.held.remove(position);
            let Held { slot, bytes, then, .. } = held.expect("it was polled");
            match room {
                Ok(()) => {
                    let mailbox = Arc::clone(&self.mailbox);
                    self.enter(&mailbox, slot, bytes, then, clock::now());
                }
                Err(_) => self.withdraw_and_settle(slot, Outcome::failed(Refusal::Draining)),
            }
        }
        self.held.is_empty()
    }
}
