//! The two ends of a flight: who computes, and who is told.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    super::{freshness::Freshness, invalidation::Moment, stats::Count},
    Finding, Flight, Flights, Relief, Settlement, Terms, Verdict, Waiting, Wanted,
};
use crate::{grpc::performance::monitor::Class, platform::clock};

/// What a look-up found.
#[derive(Debug)]
#[must_use = "a lead that is dropped passes the turn on"]
pub enum Lookup {
    /// The answer.
    Hit(Bytes),
    /// There is none, as was found not long ago (see [`Lead::fail`]).
    Failure(Bytes),
    /// Nobody has it: compute it.
    Lead(Lead),
    /// Somebody is computing it: the follower will be told.
    Follow,
}

/// Where followers are told, on whatever thread completes, drops or abandons the lead.
///
/// No lock is held meanwhile: the cache may be called from here. Other followers wait behind each call, so it is to
/// hand over and return. A panic goes to whoever completes, drops or abandons, once the other followers are told; a
/// second one on the way there aborts the process, as panics in destructors do.
pub trait FlightSink: Send + Sync {
    /// The answer that the follower was waiting for.
    fn resolved(&self, token: u32, value: Bytes);

    /// There is no answer, and whoever computed has said that the others are to be content with that: see
    /// [`Lead::fail`].
    fn failed(&self, token: u32, failure: Bytes);

    /// Whoever computed has given up: the follower computes now, for itself and for all that still wait. If it does not
    /// want to any more, it drops the lead, here or later, and the next one is asked.
    fn your_turn(&self, token: u32, lead: Lead);
}

/// Somebody who waits for a computation that is going on.
pub struct Follower {
    /// Whom to tell.
    pub sink: Arc<dyn FlightSink>,
    /// Handed back to the sink: which of those that it waits for this is.
    pub token: u32,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("token", &self.token).finish_non_exhaustive()
    }
}

/// The duty to compute an answer, for oneself and for all that ask meanwhile.
///
/// It ends with [`complete`](Self::complete), [`resolve_without_storing`](Self::resolve_without_storing), or
/// [`fail`](Self::fail). Dropping it (a failure, a panic, a cancellation) makes one of the followers compute; the others
/// go on waiting.
#[must_use = "dropping it passes the turn to somebody else"]
pub struct Lead {
    turn: Turn,
    terms: Terms,
}

impl Lead {
    pub(super) fn new(turn: Turn) -> Self {
        Self { turn, terms: Terms::default() }
    }

    /// How long the answer is good for, and what makes it worthless.
    ///
    /// Of what is invalidated while the answer is computed, everything counts that the answer depends on, also when
    /// that is said only at the end.
    pub fn fresh(mut self, freshness: Freshness) -> Self {
        self.terms.freshness = freshness;
        self
    }

    /// What kind of work it is: whether answers are stored, and compressed, is learnt by class.
    pub fn class(mut self, class: Class) -> Self {
        self.terms.place = class.into();
        self
    }

    /// Gives the answer to all followers, and stores it, unless the key was invalidated meanwhile, or the answers of its
    /// class are never asked for again. Nothing of that happens if the lead was abandoned (see [`watch`](Self::watch)).
    pub fn complete(self, value: Bytes) {
        self.complete_at(value, clock::now());
    }

    /// As [`complete`](Self::complete), and the time to live starts at `now`.
    pub(crate) fn complete_at(self, value: Bytes, now: Instant) {
        self.settle(Verdict::Answer(value), Some(now));
    }

    /// Gives the answer to all followers, and does not store it.
    pub fn resolve_without_storing(self, value: Bytes) {
        self.settle(Verdict::Answer(value), None);
    }

    /// There is no answer, and for so long nobody is to try again: tells all followers, and all who ask until then.
    /// What the bytes mean is between those who lead and those who ask.
    pub fn fail(self, failure: Bytes, ttl: Duration) {
        self.fail_at(failure, ttl, clock::now());
    }

    pub(crate) fn fail_at(mut self, failure: Bytes, ttl: Duration, now: Instant) {
        self.terms.freshness = self.terms.freshness.ttl(ttl);
        self.settle(Verdict::Failure(failure), Some(now));
    }

    fn settle(&self, verdict: Verdict, store: Option<Instant>) {
        let finding = Finding { verdict, begun: self.turn.begun, scopes: self.terms.freshness.scopes };
        self.turn.settle(&finding, store.map(|now| (&self.terms, now)));
    }

    /// Somebody else has found it, and stored it.
    pub(super) fn found(self, finding: Finding) {
        self.turn.settle(&finding, None);
    }

    /// A handle for whoever supervises the computation.
    #[must_use]
    pub fn watch(&self) -> FlightWatch {
        let Turn { flights, flight, number, .. } = &self.turn;
        FlightWatch::of(flights, flight, *number)
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // After `complete` the turn is over, and this all there is to do.
        if self.turn.is_on() {
            self.turn.clone().pass_on();
        }
    }
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").field("turn", &self.turn).finish()
    }
}

/// Takes a flight away from a leader that is stuck. It does not keep the flight, or its answer, alive.
#[derive(Clone)]
pub struct FlightWatch {
    flights: Arc<Flights>,
    flight: Weak<Flight>,
    number: u64,
}

impl FlightWatch {
    pub(super) fn of(flights: &Arc<Flights>, flight: &Arc<Flight>, number: u64) -> Self {
        Self { flights: Arc::clone(flights), flight: Arc::downgrade(flight), number }
    }

    /// Whether the turn is over.
    #[cfg(test)]
    pub(in super::super) fn is_over(&self) -> bool {
        self.flight.upgrade().is_none_or(|flight| !flight.is_at(self.number))
    }

    /// For a follower that has waited for long: abandons the leader if it is still the same, and watches the one that
    /// leads now. If the leader has found something and has not come to tell, this is it.
    pub(in super::super) fn overtake(&mut self) -> Option<Finding> {
        let flight = self.flight.upgrade()?;
        match flight.progress() {
            Ok(turn) if turn == self.number => self.abandon(),
            Ok(_) => {}
            Err(finding) => return Some(finding),
        }
        match flight.progress() {
            Ok(turn) => {
                self.number = turn;
                None
            }
            Err(finding) => Some(finding),
        }
    }

    /// Makes one of the followers compute, if there is one; the stuck leader tells nobody and stores nothing if it comes
    /// back. Nothing happens if the leader was done already.
    pub fn abandon(&self) {
        if let Some(flight) = self.flight.upgrade() {
            let flights = Arc::clone(&self.flights);
            let begun = flights.invalidations().now();
            Turn { flights, flight, number: self.number, begun }.pass_on();
        }
    }
}

impl fmt::Debug for FlightWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightWatch").field("number", &self.number).finish_non_exhaustive()
    }
}

/// One turn at a flight: the right to settle it or to pass it on, once, and by whoever comes first.
#[derive(Clone)]
pub(super) struct Turn {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    number: u64,
    /// Before its computation began, by the clock of the invalidations.
    begun: Moment,
}

impl Turn {
    pub(super) fn first(flights: Arc<Flights>, flight: Arc<Flight>) -> Self {
        let begun = flights.invalidations().now();
        Self { flights, flight, number: 0, begun }
    }

    /// The next one, which begins now.
    fn next(self, number: u64) -> Self {
        let begun = self.flights.invalidations().now();
        Self { number, begun, ..self }
    }

    fn is_on(&self) -> bool {
        self.flight.is_at(self.number)
    }

    fn settle(&self, finding: &Finding, store: Option<(&Terms, Instant)>) {
        let Some(settlement) = self.flight.settle(self.number, finding, self.flights.invalidations()) else {
            return;
        };
        let Settlement { told, next } = settlement;
        let next = next.map(|(follower, number)| Handover::new(follower, self.clone().next(number)));
        Landing { turn: self, told, next, finding, store }.tell();
    }

    /// Gives the turn to the next follower, if this one is still on.
    fn pass_on(self) {
        if let Some(handover) = self.relieve() {
            handover.deliver();
        }
    }

    /// From here on this turn is over.
    fn relieve(self) -> Option<Handover> {
        match self.flight.relieve(self.number) {
            Relief::Past => None,
            Relief::Next(follower, number) => Some(Handover::new(follower, self.next(number))),
            Relief::Over => {
                self.flights.end(&self.flight);
                None
            }
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?}", self.number, self.flight.key())
    }
}

/// From settled to off the table. It is finished when it is dropped, also when a sink panics.
struct Landing<'a> {
    turn: &'a Turn,
    told: VecDeque<Waiting>,
    next: Option<Handover>,
    finding: &'a Finding,
    /// How it is stored, and when; `None`: it is not.
    store: Option<(&'a Terms, Instant)>,
}

impl Landing<'_> {
    fn tell(&mut self) {
        while let Some(Waiting { follower: Follower { sink, token }, wanted, .. }) = self.told.pop_front() {
            // Who is content with an answer only counts itself once it has one: it may ask again, or have taken it already.
            if wanted == Wanted::Verdict {
                self.turn.flights.count_join();
            }
            match self.finding.verdict.clone() {
                Verdict::Answer(value) => sink.resolved(token, value),
                Verdict::Failure(failure) => sink.failed(token, failure),
            }
        }
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.tell();
        if let Some(next) = self.next.take() {
            next.deliver();
            return;
        }
        // After the followers, who are not to wait for a copy.
        let Turn { flights, flight, .. } = self.turn;
        let now = flights.store().uptime(self.store.map_or_else(clock::now, |(_, now)| now));
        let answer = self.store.and_then(|(terms, _)| flights.admit(&flight.key(), self.finding, terms, now));
        flights.land(flight, answer, now);
    }
}

/// A follower that is to hear that it leads.
struct Handover {
    follower: Follower,
    lead: Lead,
}

thread_local! {
    /// What is to be handed over once the sink returns that this thread is calling; `None`: it is not.
    static WAITING: RefCell<Option<Vec<Handover>>> = const { RefCell::new(None) };
}

impl Handover {
    fn new(follower: Follower, turn: Turn) -> Self {
        turn.flights.store().counters().add(Count::Misses, 1);
        Self { follower, lead: Lead::new(turn) }
    }

    /// Tells the follower; later, if this thread is telling one already.
    ///
    /// A follower that drops its lead at once comes here again from within `your_turn`. So a queue of followers that
    /// have all gone is a loop, not a recursion.
    fn deliver(self) {
        let mut handover = Some(self);
        let begun = WAITING.try_with(|waiting| {
            let mut waiting = waiting.borrow_mut();
            if let Some(waiting) = waiting.as_mut() {
                waiting.extend(handover.take());
                return false;
            }
            *waiting = Some(Vec::new());
            true
        });
        // A thread that is ending has no queue any more, and recurses.
        let _telling = begun.unwrap_or(false).then(|| Telling);
        while let Some(Self { follower: Follower { sink, token }, lead }) = handover {
            sink.your_turn(token, lead);
            handover = WAITING.try_with(|waiting| waiting.borrow_mut().as_mut()?.pop()).ok().flatten();
        }
    }
}

/// The thread is telling followers. It ends also when a sink panics, and what waits is handed over then.
struct Telling;

impl Drop for Telling {
    fn drop(&mut self) {
        for handover in WAITING.take().into_iter().flatten() {
            handover.deliver();
        }
    }
}
