//! What a message has of those that are equal to it: their answer, from the cache or by waiting for it; or the duty to
//! compute it for all.

use std::{sync::Arc, time::Instant};

use super::super::{
    AnswerStream, MessageHandler,
    mailbox::{Mailbox, failed_before},
    slot::Outcome,
    stream::{AfterHold, Arrival, Held},
};
use crate::{
    grpc::performance::{
        cache::{CacheKey, Follower, Lead, Look, Lookup, Verdict},
        error::Refusal,
        monitor::Counter,
        worker_pool::{Charge, NoRoom, Priority},
    },
    platform::{
        clock,
        contain::{contain, drop_logged},
        stage::reached,
    },
};

/// What the cache has for a message.
pub(super) enum Cached<H: MessageHandler> {
    /// Its answer; with the duty to compute it anew, if it is stale and nobody has that.
    Answer(Outcome<H>, Option<Lead>),
    /// An answer of so many bytes, for which there is no room now.
    Large(usize),
    Nothing,
}

impl<H: MessageHandler, S, T, E> AnswerStream<H, S, T, E> {
    /// What the cache has for a message. Its answers hold bytes like others: the cache may let go of what it shares with
    /// them, and a compressed one is a copy.
    pub(super) fn cached(&self, key: CacheKey, priority: Priority, now: Instant) -> Cached<H> {
        let engine = self.engine();
        let (verdict, duty) = match engine.cache.look(key) {
            Look::Nothing => return Cached::Nothing,
            Look::Hit(verdict) => (verdict, None),
            Look::Stale(verdict, duty) => (verdict, duty),
        };
        let (result, bytes) = match verdict {
            Verdict::Answer(stored) => {
                let read = contain(|| {
                    let response = H::from_cache(stored)?;
                    Some((H::response_weight(&response), response))
                });
                let read = read.unwrap_or_else(|panic| {
                    tracing::error!(panic, "a handler panicked at a stored answer");
                    None
                });
                let Some((bytes, response)) = read else {
                    // Whoever joins next would find it, too.
                    engine.cache.invalidate(&key);
                    return Cached::Nothing;
                };
                (Ok(response), bytes)
            }
            Verdict::Failure(packed) => (Err(failed_before(&packed)), 0),
        };
        let room = &engine.pool.seam().room;
        if bytes > 0 && room.try_acquire_bytes(priority, bytes, now).is_err() {
            drop_logged(result);
            return Cached::Large(bytes);
        }
        engine.monitor.count(Counter::CacheHits);
        let charge = Charge::new(room, bytes);
        Cached::Answer(Outcome { result, cache_hit: true, timing: None, charge }, duty)
    }

    /// Computes a stale answer anew, for those who ask later, once the message has its answer: on a worker, behind all
    /// other work. Its slot is busy for as long. In an overload, or where there is no
    /// room at once, that is left to a later message.
    pub(super) fn refresh(
        &mut self,
        slot: u32,
        request: H::Request,
        lead: Lead,
        weight: usize,
        now: Instant,
    ) {
        let mailbox = Arc::clone(&self.mailbox);
        let shared = mailbox.engine.pool.seam();
        // Where all that comes has an answer, nobody else looks whether the overload is over.
        mailbox.engine.look(now);
        let spare = shared.level().has_time_to_spare();
        if !spare || shared.room.try_acquire(Priority::Low, weight, now).is_err() {
            drop(lead);
            drop_logged(request);
            self.set_returned(slot);
            return;
        }
        let arrival = &mut self.entries[slot as usize].arrival;
        (arrival.priority, arrival.deadline) = (Priority::Low, None);
        let again = Arrival { accepted: now, ..*arrival };
        mailbox.slots.get(slot).fill(again.input(request, Charge::new(&shared.room, weight)));
        Self::give_lead(&mailbox, slot, lead);
        self.queue(&mailbox, slot, now);
    }

    /// Looks whether an equal message is in work; true when this one is to be computed.
    pub(super) fn lead(&mut self, slot: u32, key: CacheKey) -> bool {
        let mailbox = Arc::clone(&self.mailbox);
        let follower = || Follower { sink: Arc::clone(&mailbox) as _, token: slot };
        match mailbox.engine.cache.join(key, follower) {
            Lookup::Lead(lead) => {
                mailbox.engine.monitor.count(Counter::CacheMisses);
                Self::give_lead(&mailbox, slot, lead);
                true
            }
            // What becomes of it is counted when it is known.
            Lookup::Follow => false,
            Lookup::Hit(stored) => {
                mailbox.answer_with(slot, Verdict::Answer(stored), Counter::CacheHits);
                false
            }
            Lookup::Failure(packed) => {
                mailbox.answer_with(slot, Verdict::Failure(packed), Counter::CacheHits);
                false
            }
        }
    }

    fn give_lead(mailbox: &Mailbox<H>, slot: u32, lead: Lead) {
        let place = mailbox.slots.get(slot);
        *place.watch.lock() = Some((place.state.life(), lead.watch()));
        let mut input = place.input.take().expect("the input of an unqueued message is the task's");
        input.lead = Some(lead);
        place.input.put(input);
    }

    /// The leader that this message followed has failed: now it is this one's turn to compute.
    pub(in super::super) fn take_turn(&mut self, slot: u32, lead: Lead) {
        let mailbox = Arc::clone(&self.mailbox);
        mailbox.engine.monitor.count(Counter::CacheMisses);
        Self::give_lead(&mailbox, slot, lead);
        let (room, now) = (&mailbox.engine.pool.seam().room, clock::now());
        match room.try_return(now) {
            Ok(()) => self.enter(&mailbox, slot, 0, AfterHold::Turn, now),
            Err(NoRoom::Closed) => self.withdraw_and_settle(slot, Outcome::failed(Refusal::Draining)),
            Err(NoRoom::Full) => {
                reached!("admission: a message whose turn has come waits for a place");
                // Before those who wait to be admitted, maybe for the bytes that this one holds.
                let turns = self.held.iter().take_while(|held| held.then == AfterHold::Turn).count();
                let waiting = room.wait_to_return();
                self.held.insert(turns, Held { slot, waiting, bytes: 0, then: AfterHold::Turn });
            }
        }
    }
}
