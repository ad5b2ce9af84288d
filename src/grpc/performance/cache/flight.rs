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
//! **Nothing outdated is told.** An answer may depend on something that was invalidated while it was computed; which,
//! one may know only now. Then it is told to those who joined before its computation began to be outdated, and not
//! stored; of those who joined later one computes anew, and the others go on waiting. Each follower has the time of its
//! joining, on the clock of the [`invalidation`](super::invalidation)s.
//!
//! **A stale answer** is served while it is computed anew. Who finds one and no flight starts a flight, alone; everybody
//! else is served. For that nobody waits for a lock: if the shard of the table is held, somebody else will be next.
//!
//! **A leader that is stuck** is overtaken: by a supervisor that has its [`FlightWatch`], or by a follower in
//! `get_or_compute` that has waited for `worker_timeout`. If the leader has found the answer, and was stopped before it
//! told, such a follower takes it from the flight.
//!
//! **Locks**: shard of the table → flight; the store has none. Each is held for a few instructions, and never while a [`FlightSink`] is called, a value copied, or anything freed.
//! A thread that is stopped under the lock of a shard holds up who misses there: for the few hundred instructions of a
//! landing, in one of [`SHARDS`] shards. A hit takes none of these locks.

mod crew;
mod finding;
mod lead;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dashmap::{DashMap, Entry};

pub use self::lead::{FlightSink, FlightWatch, Follower, Lead, Lookup};

pub(crate) use self::finding::Verdict;
pub(super) use self::finding::{Finding, Wanted};

use self::{
    crew::{Flight, Relief, Settlement, Waiting},
    finding::Terms,
    lead::Turn,
};
use super::{
    classes::{Classes, Place},
    freshness::Freshness,
    invalidation::{Invalidations, Moment},
    key::{CacheKey, Placement},
    stats::Count,
    store::{Found, Prepared, Store, Uptime},
    value::{Meta, Stored},
};
use crate::{
    grpc::performance::{config::OptimizationConfig, error::OptimizationError, monitor::Class},
    platform::clock,
};

/// Of the table: many, since they cost a cache line each, and who misses waits for who is stopped in the same one.
const SHARDS: usize = 256;

/// The flights of one cache, over its store.
pub(super) struct Flights {
    table: DashMap<CacheKey, Arc<Flight>, Placement>,
    store: Store,
    classes: Classes,
    invalidations: Invalidations,
    /// Of the answers that nobody gave a class.
    unclassed: Place,
    /// For how long answers are stale, if their handler does not say.
    stale: Duration,
    /// How long a follower waits for one leader.
    patience: Duration,
}

/// How somebody who found nothing in the store goes on.
enum Boarding {
    Settled(Verdict),
    Leads(Lead),
    Follows(FlightWatch),
    /// What the flight has found is of no use to who asks now: it is to leave the table, and another one to begin.
    Over,
}

/// What somebody who joins gets.
pub(super) enum Joined {
    Hit(Verdict),
    Lead(Lead),
    Follow(FlightWatch),
}

impl From<Joined> for Lookup {
    fn from(joined: Joined) -> Self {
        match joined {
            Joined::Hit(Verdict::Answer(value)) => Self::Hit(value),
            Joined::Hit(Verdict::Failure(failure)) => Self::Failure(failure),
            Joined::Lead(lead) => Self::Lead(lead),
            Joined::Follow(_) => Self::Follow,
        }
    }
}

/// What a look into the store gave.
struct Sighting {
    finding: Finding,
    stale: bool,
}

/// What somebody gets who does not join.
pub(crate) enum Look {
    Nothing,
    Hit(Verdict),
    /// With the duty to compute it anew, if nobody has that.
    Stale(Verdict, Option<Lead>),
}

impl Flights {
    pub(super) fn new(config: &OptimizationConfig) -> Result<Self, OptimizationError> {
        Ok(Self {
            store: Store::new(config)?,
            table: DashMap::with_hasher_and_shard_amount(Placement::default(), SHARDS),
            classes: Classes::new(config),
            invalidations: Invalidations::new(),
            unclassed: Place::from(Class::DEFAULT),
            stale: config.cache_stale_ttl,
            patience: config.worker_timeout,
        })
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn classes(&self) -> &Classes {
        &self.classes
    }

    pub(super) fn invalidations(&self) -> &Invalidations {
        &self.invalidations
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    fn find(&self, key: &CacheKey, wanted: Wanted, now: Instant) -> Option<Sighting> {
        let seen = self.see(self.store.get(key, now)?.stored(), wanted)?;
        Some(self.judge(key, seen, || now))
    }

    /// The same, now. Reads the clock only where it has to.
    fn find_now(&self, key: &CacheKey, wanted: Wanted) -> Option<Sighting> {
        let seen = self.see(self.store.get_now(key)?.stored(), wanted)?;
        Some(self.judge(key, seen, clock::now))
    }

    /// What is taken along of an answer that is there, if it may be served.
    fn see(&self, stored: &Stored, wanted: Wanted) -> Option<Stored> {
        self.serves(&stored.meta, wanted).then(|| stored.clone())
    }

    #[inline]
    fn serves(&self, meta: &Meta, wanted: Wanted) -> bool {
        wanted.is(meta.failure) && !self.invalidations.any_since(meta.begun, &meta.scopes)
    }

    fn judge(&self, key: &CacheKey, seen: Stored, now: impl FnOnce() -> Instant) -> Sighting {
        let Meta { begun, scopes, failure, .. } = seen.meta;
        let stale = self.is_stale(&seen.meta, now);
        self.classes.hit(key, seen.meta.place);
        let bytes = self.classes.unpack(seen.meta.place, seen.body);
        let verdict = if failure { Verdict::Failure(bytes) } else { Verdict::Answer(bytes) };
        Sighting { finding: Finding { verdict, begun, scopes }, stale }
    }

    /// Counts what is served.
    fn hit(&self, verdict: Verdict, stale: bool) -> Verdict {
        self.count_hit(stale);
        if verdict.is_failure() {
            self.store.counters().add(Count::FailureHits, 1);
        }
        verdict
    }

    #[inline]
    fn count_hit(&self, stale: bool) {
        self.store.counters().add(Count::Hits, 1);
        if stale {
            self.store.counters().add(Count::StaleHits, 1);
        }
    }

    /// A look without joining. What is not there is not counted: who goes on to join is counted then.
    pub(super) fn look(self: &Arc<Self>, key: CacheKey) -> Look {
        self.seen(key, self.find_now(&key, Wanted::Verdict), clock::now)
    }

    #[cfg(test)]
    fn look_at(self: &Arc<Self>, key: CacheKey, now: Instant) -> Look {
        self.seen(key, self.find(&key, Wanted::Verdict, now), || now)
    }

    fn seen(self: &Arc<Self>, key: CacheKey, found: Option<Sighting>, now: impl FnOnce() -> Instant) -> Look {
        match found {
            None => Look::Nothing,
            Some(Sighting { finding, stale: false }) => Look::Hit(self.hit(finding.verdict, false)),
            Some(Sighting { finding, stale: true }) => {
                let duty = self.take_duty(key, now());
                Look::Stale(self.hit(finding.verdict, true), duty)
            }
        }
    }

    /// An answer, stale or not, for who would not compute it.
    #[inline]
    pub(super) fn answer(&self, key: &CacheKey) -> Option<Bytes> {
        self.served(key, self.store.get_now(key), clock::now)
    }

    #[cfg(test)]
    pub(super) fn answer_at(&self, key: &CacheKey, now: Instant) -> Option<Bytes> {
        self.served(key, self.store.get(key, now), || now)
    }

    /// Nothing but the handle on the bytes is copied, and that once: on the way of a hit it counts.
    #[inline]
    fn served(
        &self,
        key: &CacheKey,
        found: Option<Found<'_>>,
        now: impl FnOnce() -> Instant,
    ) -> Option<Bytes> {
        let Some(found) = found.filter(|found| self.serves(&found.stored().meta, Wanted::Answer)) else {
            self.store.counters().add(Count::Misses, 1);
            return None;
        };
        let Stored { body, meta } = found.stored();
        self.count_hit(self.is_stale(meta, now));
        self.classes.hit(key, meta.place);
        if let Some(bytes) = body.as_plain() {
            return Some(bytes.clone());
        }
        let (body, place) = (body.clone(), meta.place);
        drop(found);
        Some(self.classes.unpack(place, body))
    }

    #[inline]
    fn is_stale(&self, meta: &Meta, now: impl FnOnce() -> Instant) -> bool {
        meta.stale > 0 && meta.is_stale(self.store.uptime(now()))
    }

    pub(super) fn join(
        self: &Arc<Self>,
        key: CacheKey,
        wanted: Wanted,
        follower: impl FnOnce() -> Follower,
        now: Instant,
    ) -> Joined {
        let missed = || self.store.counters().add(Count::Misses, 1);
        if let Some(Sighting { finding, stale }) = self.find(&key, wanted, now) {
            if stale && let Some(lead) = self.take_duty(key, now) {
                missed();
                return Joined::Lead(lead);
            }
            return Joined::Hit(self.hit(finding.verdict, stale));
        }
        match self.board(key, wanted, follower) {
            Boarding::Follows(watch) => Joined::Follow(watch),
            Boarding::Settled(verdict) => Joined::Hit(self.hit(verdict, false)),
            // An earlier flight may have landed between the look into the store and this one's start.
            Boarding::Leads(lead) => match self.find(&key, wanted, now) {
                Some(Sighting { finding, stale }) => {
                    let verdict = self.hit(finding.verdict.clone(), stale);
                    lead.found(finding);
                    Joined::Hit(verdict)
                }
                None => {
                    missed();
                    Joined::Lead(lead)
                }
            },
            Boarding::Over => unreachable!("a flight that is over is replaced"),
        }
    }

    /// The duty to compute a stale answer anew, unless somebody has it. Waits for no lock.
    fn take_duty(self: &Arc<Self>, key: CacheKey, now: Instant) -> Option<Lead> {
        if !self.table.try_get(&key).is_absent() {
            return None;
        }
        let lead = match self.table.try_entry(key)? {
            Entry::Vacant(slot) => {
                let flight = Arc::new(Flight::new(key));
                slot.insert(Arc::clone(&flight));
                Lead::new(Turn::first(Arc::clone(self), flight))
            }
            Entry::Occupied(_) => return None,
        };
        // An earlier flight may have landed since the answer was found stale.
        match self.find(&key, Wanted::Verdict, now) {
            Some(Sighting { finding, stale: false }) => {
                lead.found(finding);
                None
            }
            _ => Some(lead),
        }
    }

    fn board(self: &Arc<Self>, key: CacheKey, wanted: Wanted, make: impl FnOnce() -> Follower) -> Boarding {
        let mut make = Some(make);
        let mut follower = None;
        loop {
            // Let go outside the lock.
            let mut over = None;
            match self.table.entry(key) {
                Entry::Vacant(slot) => {
                    let flight = Arc::new(Flight::new(key));
                    slot.insert(Arc::clone(&flight));
                    return Boarding::Leads(Lead::new(Turn::first(Arc::clone(self), flight)));
                }
                Entry::Occupied(slot) => match self.board_flight(slot.get(), wanted, &mut follower) {
                    Some(Boarding::Over) => over = Some(slot.remove()),
                    Some(boarding) => return boarding,
                    None => {}
                },
            }
            if over.is_none() {
                // There is a flight to follow; the follower is made outside the lock, and then taken by the first flight
                // that is found.
                follower = make.take().map(|make| make());
            }
        }
    }

    /// Joins a flight that is on the table. `None`: there is a place for a follower, and none was brought.
    fn board_flight(
        self: &Arc<Self>,
        flight: &Arc<Flight>,
        wanted: Wanted,
        follower: &mut Option<Follower>,
    ) -> Option<Boarding> {
        Some(match flight.board(follower, wanted, &self.invalidations)? {
            Ok(turn) => Boarding::Follows(FlightWatch::of(self, flight, turn)),
            Err(Some(verdict)) => Boarding::Settled(verdict),
            Err(None) => Boarding::Over,
        })
    }

    /// Makes ready to store what a leader found; `None`: it is not to be stored.
    fn admit(
        &self,
        key: &CacheKey,
        finding: &Finding,
        terms: &Terms,
        now: Uptime,
    ) -> Option<(Prepared, Meta)> {
        let Finding { verdict, begun, .. } = finding;
        let meta = self.meta(verdict.is_failure(), *begun, terms, now)?;
        if finding.is_outdated(&self.invalidations) {
            return None;
        }
        if !self.classes.admit(terms.place, key) {
            self.store.counters().add(Count::NotAdmitted, 1);
            return None;
        }
        Some((self.prepare(verdict.bytes(), terms), meta))
    }

    fn prepare(&self, bytes: &[u8], terms: &Terms) -> Prepared {
        self.store.prepare(bytes, self.classes.compress(terms.place, bytes))
    }

    /// What is kept beside the bytes; `None`: they are not to be kept.
    fn meta(&self, failure: bool, begun: Moment, terms: &Terms, now: Uptime) -> Option<Meta> {
        let Terms { freshness: Freshness { ttl, stale, scopes }, place } = *terms;
        let mut meta = Meta { begun, scopes, place, failure, ..self.store.meta(now) };
        if let Some(ttl) = ttl {
            meta.expires = now + ttl;
        }
        if meta.expires <= now {
            return None;
        }
        if !failure {
            let stale = stale.unwrap_or(self.stale).as_millis();
            meta.stale = u32::try_from(stale).unwrap_or(u32::MAX);
            meta.expires = meta.expires + Duration::from_millis(u64::from(meta.stale));
        }
        Some(meta)
    }

    /// Stores an answer that nobody has joined for, in place of what is there.
    pub(super) fn insert(&self, key: CacheKey, value: &[u8], freshness: Freshness, now: Instant) {
        let now = self.store.uptime(now);
        let terms = Terms { freshness, place: self.unclassed };
        match self.meta(false, self.invalidations.now(), &terms, now) {
            Some(meta) => drop(self.store.insert(key, self.prepare(value, &terms), meta, now)),
            None => {
                self.store.remove(&key);
            }
        }
    }

    /// The flight's answer is known, and its followers told: stores it, if the flight is still on the table, and takes
    /// the flight off.
    fn land(&self, flight: &Arc<Flight>, answer: Option<(Prepared, Meta)>, now: Uptime) {
        let mut displaced = None;
        let landed = self.table.remove_if(&flight.key(), |_, on_table| {
            let attached = Arc::ptr_eq(on_table, flight);
            if attached {
                displaced =
                    answer.map(|(prepared, meta)| self.store.insert(flight.key(), prepared, meta, now));
            }
            attached
        });
        // Outside the lock.
        drop((landed, displaced));
    }

    /// Ends the turn if nobody follows, and takes the flight off the table. False: somebody joined meanwhile, and is to
    /// be given the turn.
    fn close(&self, flight: &Arc<Flight>, turn: u64) -> bool {
        let closed = self.table.remove_if(&flight.key(), |_, on_table| {
            Arc::ptr_eq(on_table, flight) && flight.end_if_alone(turn)
        });
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

#[cfg(test)]
mod tests;
