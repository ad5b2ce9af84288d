//! Messages that cost less than their own hand-off: the task of the stream runs them.
//!
//! To hash a few kilobytes takes two microseconds; to wake a worker for that takes tens, and so does the way back. Such a
//! message is better worked on where it was read. But whoever does that keeps the I/O thread, and with it everybody whose
//! stream it reads, for as long as the handler likes. So it takes three:
//!
//! 1. **the author vouches**: [`MessageHandler::may_run_in_place`] says of a message that its handler cannot block;
//! 2. **the class is known to be short**: all but one in a thousand of its messages were done within what is left of the
//!    budget, by the CPU clock, and half of them by the wall clock
//!    ([`is_done_within`](crate::grpc::performance::worker_pool::Forecast::is_done_within)). The first thousand go to
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
//! **In an overload all messages queue**, at every level but normal: whether more comes than can be done shows in how long
//! they wait, and an I/O thread that is short of time has refusals to write. For the same reason the queue control does not
//! hear of what runs here: it waited for no worker.
//!
//! **Nobody watches.** A worker that hangs is noticed, its message answered for, and its thread replaced; here a handler that
//! hangs takes its stream along, and all others of that I/O thread, which may be the only one. That is what the author vouches
//! for.

use std::{sync::Arc, time::Duration};

use super::{AnswerStream, MessageHandler, mailbox::Mailbox};
use crate::{
    grpc::performance::{monitor::Counter, overload::OverloadLevel, worker_pool::Interlude},
    platform::{clock, stage::reached},
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

impl<H: MessageHandler, S, T, E> AnswerStream<H, S, T, E> {
    /// Whether a message that is about to be queued is to be run here. One that has its answer, and is computed for those
    /// who ask later, is not: it goes behind all other work.
    pub(super) fn costs_less_than_its_hand_off(&self, slot: u32) -> bool {
        let entry = &self.entries[slot as usize];
        if !entry.vouched || !entry.is_open() {
            return false;
        }
        let shared = self.engine().pool.seam();
        shared.level() == OverloadLevel::Normal
            && shared.forecast.is_done_within(entry.class, self.in_place.left)
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
