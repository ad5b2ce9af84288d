//! One computation at a time per key, however many ask.
//!
//! A *flight* is one key being worked on. Whoever asks first holds its *turn*, as a [`Lead`], and computes; whoever
//! asks meanwhile is a [`Follower`], and is told.
//!
//! ```text
//!  join, nothing there          complete                      landed: stored, off the table
//!  ───────────────────▶ Computing ─────────▶ Settled(answer) ─────────────────────────────▶
//!                        │    ▲ turn + 1: the next follower leads
//!                        └────┘ the lead is dropped, or abandoned
//!                        │
//!                        └─ … and nobody follows: off the table
//! ```
//!
//! **The right to act is a number.** A flight counts its turns; who holds the current number may settle the flight or
//! pass the turn on, and either moves the number, under the lock of the flight. So of a leader that completes, its drop,
//! and a watch that abandons it, exactly one succeeds, and a leader that comes back late finds its number gone: it
//! stores nothing and tells nobody.
//!
//! **Nobody is forgotten.** Followers are added under the lock of the table's shard, to a flight that is on the table;
//! a flight leaves the table under the same lock, settled (its answer is given to the joiner instead), or without
//! followers. Each follower is taken off its flight once, and told once: `resolved`, or `your_turn`.
//!
//! **Nothing is computed twice** for want of a moment: a leader stores its answer and takes its flight off the table
//! under one lock, so a joiner that finds no flight, looks into the store again, and finds nothing there either, is
//! right to compute.
//!
//! **Nothing stale comes back.** `invalidate` and `clear` take flights off the table, then empty the store, then take
//! flights off again. A detached flight goes on for the followers that it has, but stores nothing, since it does that
//! under the table's lock and only while it is there; whoever asks later starts a new one. The second time is for a
//! leader that came between, and found the old answer on its second look into the store: nobody joins it any more.
//!
//! **Locks**: shard of the table → flight, or shard of the table → shard of the store. Each is held for a few
//! instructions, and never while a [`FlightSink`] is called, a value copied, or anything freed.

mod lead;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;
use dashmap::{DashMap, Entry};
use parking_lot::Mutex;

pub use self::lead::{FlightSink, FlightWatch, Follower, Lead, Lookup};

use self::lead::Turn;
use super::{
    key::{CacheKey, Placement},
    store::{Prepared, Store},
};

/// The flights of one cache, over its store.
pub(super) struct Flights {
    table: DashMap<CacheKey, Arc<Flight>, Placement>,
    store: Store,
}

/// How somebody who found nothing in the store goes on.
enum Boarding {
    Settled(Bytes),
    Leads(Lead),
    Follows,
}

impl Flights {
    pub(super) fn new(store: Store) -> Self {
        Self { table: DashMap::default(), store }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn join(
        self: &Arc<Self>,
        key: CacheKey,
        follower: impl FnOnce() -> Follower,
        now: Instant,
    ) -> Lookup {
        let counters = self.store.counters();
        if let Some(stored) = self.store.get(&key, now) {
            counters.hits.add(1);
            return Lookup::Hit(stored.body.open());
        }
        match self.board(key, follower) {
            Boarding::Follows => Lookup::Follow,
            Boarding::Settled(value) => {
                counters.hits.add(1);
                Lookup::Hit(value)
            }
            // An earlier flight may have landed between the look into the store and this one's start.
            Boarding::Leads(lead) => match self.store.get(&key, now) {
                Some(stored) => {
                    counters.hits.add(1);
                    let value = stored.body.open();
                    lead.resolve_without_storing(value.clone());
                    Lookup::Hit(value)
                }
                None => {
                    counters.misses.add(1);
                    Lookup::Lead(lead)
                }
            },
        }
    }

    fn board(self: &Arc<Self>, key: CacheKey, make: impl FnOnce() -> Follower) -> Boarding {
        let mut make = Some(make);
        let mut follower = None;
        loop {
            match self.table.entry(key) {
                Entry::Vacant(slot) => {
                    let flight = Arc::new(Flight::new(key));
                    slot.insert(Arc::clone(&flight));
                    return Boarding::Leads(Lead::new(Turn::first(Arc::clone(self), flight)));
                }
                Entry::Occupied(slot) => {
                    if let Some(boarding) = slot.get().board(&mut follower) {
                        return boarding;
                    }
                }
            }
            // There is a flight to follow; the follower is made outside the lock, and then taken by the first flight
            // that is found.
            follower = make.take().map(|make| make());
        }
    }

    /// The flight's answer is known, and its followers told: stores it, if the flight is still on the table, and takes
    /// the flight off.
    pub(super) fn land(&self, flight: &Arc<Flight>, answer: Option<Prepared>, now: Instant) {
        let mut displaced = None;
        let landed = self.table.remove_if(&flight.key, |_, on_table| {
            let attached = Arc::ptr_eq(on_table, flight);
            if attached {
                displaced =
                    answer.map(|answer| self.store.insert(flight.key, answer, self.store.meta(now), now));
            }
            attached
        });
        // Outside the lock.
        drop((landed, displaced));
    }

    /// Ends the turn if nobody follows, and takes the flight off the table. False: somebody joined meanwhile, and is to
    /// be given the turn.
    pub(super) fn close(&self, flight: &Arc<Flight>, turn: u64) -> bool {
        let closed = self
            .table
            .remove_if(&flight.key, |_, on_table| Arc::ptr_eq(on_table, flight) && flight.end_if_alone(turn));
        // Not on the table: nobody can join any more, so what the flight says now is final.
        closed.is_some() || flight.end_if_alone(turn) || !flight.is_at(turn)
    }

    /// Whether there was something stored.
    pub(super) fn invalidate(&self, key: &CacheKey) -> bool {
        let before = self.table.remove(key);
        let removed = self.store.remove(key);
        let during = self.table.remove(key);
        drop((before, during));
        removed
    }

    pub(super) fn clear(&self) {
        self.detach_all();
        self.store.clear();
        self.detach_all();
    }

    fn detach_all(&self) {
        // Kept, so that what was the last hold on a flight is let go outside the lock.
        let mut detached = Vec::new();
        self.table.retain(|_, flight| {
            detached.push(Arc::clone(flight));
            false
        });
    }
}

/// One key being worked on.
pub(super) struct Flight {
    key: CacheKey,
    crew: Mutex<Crew>,
}

struct Crew {
    /// The turn that may settle the flight or pass it on.
    turn: u64,
    /// Set once the flight is settled.
    answer: Option<Bytes>,
    followers: VecDeque<Follower>,
}

/// What becomes of a turn that is given back.
pub(super) enum Relief {
    /// Another turn is on, or the flight is settled.
    Past,
    /// The follower leads now, with this turn.
    Next(Follower, u64),
    /// The turn is still on: there is nobody to give it to.
    Nobody,
}

impl Flight {
    fn new(key: CacheKey) -> Self {
        Self { key, crew: Mutex::new(Crew { turn: 0, answer: None, followers: VecDeque::new() }) }
    }

    pub(super) fn key(&self) -> CacheKey {
        self.key
    }

    /// Joins a flight that is on the table. `None`: there is a place for a follower, and none was brought.
    fn board(&self, follower: &mut Option<Follower>) -> Option<Boarding> {
        let mut crew = self.crew.lock();
        if let Some(answer) = &crew.answer {
            return Some(Boarding::Settled(answer.clone()));
        }
        crew.followers.push_back(follower.take()?);
        Some(Boarding::Follows)
    }

    /// The answer is known: gives the followers that are to be told. `None`: the turn is over.
    pub(super) fn settle(&self, turn: u64, answer: &Bytes) -> Option<VecDeque<Follower>> {
        let mut crew = self.crew.lock();
        if crew.turn != turn {
            return None;
        }
        crew.turn += 1;
        crew.answer = Some(answer.clone());
        Some(std::mem::take(&mut crew.followers))
    }

    /// The turn is given back.
    pub(super) fn relieve(&self, turn: u64) -> Relief {
        let mut crew = self.crew.lock();
        if crew.turn != turn {
            return Relief::Past;
        }
        match crew.followers.pop_front() {
            None => Relief::Nobody,
            Some(follower) => {
                crew.turn += 1;
                Relief::Next(follower, crew.turn)
            }
        }
    }

    fn end_if_alone(&self, turn: u64) -> bool {
        let mut crew = self.crew.lock();
        let ends = crew.turn == turn && crew.followers.is_empty();
        if ends {
            crew.turn += 1;
        }
        ends
    }

    /// Whether the turn is on.
    pub(super) fn is_at(&self, turn: u64) -> bool {
        self.crew.lock().turn == turn
    }
}

#[cfg(test)]
mod tests;
