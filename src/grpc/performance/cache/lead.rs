//! The two ends of a flight: who computes, and who is told.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    sync::{Arc, Weak},
    time::Instant,
};

use bytes::Bytes;

use super::flight::{Flight, Flights, Relief};

/// Where followers are told, on whatever thread completes, drops or abandons the lead.
///
/// No lock is held meanwhile: the cache may be called from here. Other followers wait behind each call, so it is to
/// hand over and return. A panic goes to whoever completes, drops or abandons, once the other followers are told; a
/// second one on the way there aborts the process, as panics in destructors do.
pub trait FlightSink: Send + Sync {
    /// The answer that the follower was waiting for.
    fn resolved(&self, token: u32, value: Bytes);

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
/// It ends with [`complete`](Self::complete), or [`resolve_without_storing`](Self::resolve_without_storing). Dropping
/// it (a failure, a panic, a cancellation) makes one of the followers compute; the others go on waiting.
#[must_use = "dropping it passes the turn to somebody else"]
pub struct Lead {
    turn: Turn,
}

impl Lead {
    pub(super) fn new(turn: Turn) -> Self {
        Self { turn }
    }

    /// Gives the answer to all followers, and stores it, unless the key was invalidated meanwhile. Nothing of that
    /// happens if the lead was abandoned (see [`watch`](Self::watch)).
    pub fn complete(self, value: Bytes) {
        self.complete_at(value, Instant::now());
    }

    /// As [`complete`](Self::complete), and the time to live starts at `now`.
    pub(super) fn complete_at(self, value: Bytes, now: Instant) {
        self.turn.settle(&value, true, now);
    }

    /// Gives the answer to all followers, and does not store it.
    pub fn resolve_without_storing(self, value: Bytes) {
        self.turn.settle(&value, false, Instant::now());
    }

    /// A handle for whoever supervises the computation.
    #[must_use]
    pub fn watch(&self) -> FlightWatch {
        let Turn { flights, flight, number } = &self.turn;
        FlightWatch { flights: Arc::clone(flights), flight: Arc::downgrade(flight), number: *number }
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
    /// Makes one of the followers compute, if there is one; the stuck leader tells nobody and stores nothing if it comes
    /// back. Nothing happens if the leader was done already.
    pub fn abandon(&self) {
        if let Some(flight) = self.flight.upgrade() {
            Turn { flights: Arc::clone(&self.flights), flight, number: self.number }.pass_on();
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
}

impl Turn {
    pub(super) fn first(flights: Arc<Flights>, flight: Arc<Flight>) -> Self {
        Self { flights, flight, number: 0 }
    }

    fn is_on(&self) -> bool {
        self.flight.is_at(self.number)
    }

    fn settle(&self, value: &Bytes, store: bool, now: Instant) {
        if let Some(followers) = self.flight.settle(self.number, value) {
            drop(Landing { turn: self, followers, value, store, now });
        }
    }

    /// Gives the turn to the next follower.
    ///
    /// A follower that drops its lead at once comes back here from within `your_turn`. What is given back on a thread
    /// that is giving away already waits for that to return: a queue of followers that all have gone is a loop, not a
    /// recursion.
    fn pass_on(self) {
        let mut turn = Some(self);
        let begun = GIVEN_BACK.try_with(|given_back| {
            let mut given_back = given_back.borrow_mut();
            if let Some(waiting) = given_back.as_mut() {
                waiting.extend(turn.take());
                return false;
            }
            *given_back = Some(Vec::new());
            true
        });
        // A thread that is ending has no queue any more, and recurses.
        let _passing = begun.unwrap_or(false).then_some(Passing);
        while let Some(next) = turn {
            next.hand_over();
            turn = GIVEN_BACK.try_with(|given_back| given_back.borrow_mut().as_mut()?.pop()).ok().flatten();
        }
    }

    fn hand_over(self) {
        loop {
            match self.flight.relieve(self.number) {
                Relief::Past => return,
                Relief::Next(follower, number) => {
                    self.flights.store().counters().misses.add(1);
                    let lead = Lead::new(Self { number, ..self });
                    return follower.sink.your_turn(follower.token, lead);
                }
                Relief::Nobody if self.flights.close(&self.flight, self.number) => return,
                Relief::Nobody => {}
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
    followers: VecDeque<Follower>,
    value: &'a Bytes,
    store: bool,
    now: Instant,
}

impl Landing<'_> {
    fn tell(&mut self) {
        while let Some(Follower { sink, token }) = self.followers.pop_front() {
            self.turn.flights.store().counters().joins.add(1);
            sink.resolved(token, self.value.clone());
        }
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.tell();
        // After the followers, who are not to wait for a copy.
        let Turn { flights, flight, .. } = self.turn;
        let answer = self.store.then(|| flights.store().prepare(self.value));
        flights.land(flight, answer, self.now);
    }
}

thread_local! {
    /// Turns that were given back while this thread was giving another one away; `None`: it is not.
    static GIVEN_BACK: RefCell<Option<Vec<Turn>>> = const { RefCell::new(None) };
}

/// The thread is giving turns away. The end of it also when a sink panics: what waits is given away then.
struct Passing;

impl Drop for Passing {
    fn drop(&mut self) {
        for turn in GIVEN_BACK.take().into_iter().flatten() {
            turn.pass_on();
        }
    }
}
