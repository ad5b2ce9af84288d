//! One computation at a time per key, however many ask.
//!
//! A *flight* is one key being worked on. Whoever asks first holds its *turn*, as a [`Lead`], and computes; whoever
//! asks meanwhile is a [`Follower`], and is told.
//!
//! ```text
//!  join, nothing there          complete                      landed: stored, off the table
//!  ───────────────────▶ Computing ─────────▶ Settled(answer) ─────────────────────────────▶
//!                        │    ▲ the next turn: the next follower leads
//!                        └────┘ the lead is dropped, or abandoned
//!                        │
//!                        └─ … and nobody follows: off the table
//! ```
//!
//! **The right to act is a number.** A flight counts its turns; who ends the current one may settle the flight or pass
//! the turn on, and a turn ends by one exchange. So of a leader that completes, its drop, and a watch that abandons it,
//! exactly one succeeds, and a leader that comes back late finds its turn gone: it stores nothing and tells nobody.
//!
//! **Nobody is forgotten.** Who joins a flight is either among its followers, or finds it over, and takes what was found
//! or begins another one. A flight is over once it is settled, or was given up while it had no followers (see `crew`).
//! Each follower is taken off its flight once, and told once: `resolved`, or `your_turn`.
//!
//! **Nothing is computed twice.** There is at most one flight of a key on the table (see `table`). A leader stores its
//! answer before it takes its flight off, so a joiner that finds no flight, looks into the store again, and finds nothing
//! there either, is right to compute.
//!
//! **Nothing stale comes back.** `invalidate` and `clear` take flights off the table, then empty the store, then take
//! flights off again. A flight that is off the table goes on for the followers that it has, and stores nothing: what its
//! leader puts into the store is hidden, until it has seen that the flight is still on the table. All of that is SeqCst.
//! So either the leader sees that its flight was taken off, or what it has hidden is removed with the rest. Whoever asks
//! later starts a new flight. The second time is for a leader that came between, and found the old answer on its second
//! look into the store: nobody joins it any more.
//!
//! **Nothing outdated is told.** An answer may depend on something that was invalidated while it was computed; which,
//! one may know only now. Then it is told to those who joined before its computation began to be outdated, and not
//! stored; of those who joined later one computes anew, and the others go on waiting. Each follower has the time of its
//! joining, on the clock of the [`invalidation`](super::invalidation)s.
//!
//! **A stale answer** is served while it is computed anew. Who finds one and no flight starts a flight, alone; everybody
//! else is served.
//!
//! **A leader that is stuck** is overtaken: by a supervisor that has its [`FlightWatch`], or by a follower in
//! `get_or_compute` that has waited for `worker_timeout`. If the leader has found the answer, and was stopped before it
//! told, such a follower takes it from the flight.
//!
//! **No locks**: whatever instruction a thread is stopped at, others go on joining, leading and landing, also for the same
//! key. What a stopped leader delays is the news of its own followers. (A flight and a follower are an allocation each, though,
//! and the allocator may have locks of its own.)

mod crew;
mod finding;
mod gate;
mod lead;
mod pile;
mod table;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

pub use self::lead::{FlightSink, FlightWatch, Follower, Lead, Lookup};

pub(crate) use self::finding::Verdict;
pub(super) use self::finding::{Finding, Wanted};

use self::{
    crew::{Flight, Relief, Settlement, Waiting},
    finding::Terms,
    lead::Turn,
    table::Table,
};
use super::{
    classes::{Classes, Place},
    freshness::Freshness,
    invalidation::{Invalidations, Moment},
    key::CacheKey,
    stats::{Count, Counters},
    store::{Found, Prepared, Store, Uptime},
    value::{Meta, Packed},
};
use crate::{
    grpc::performance::{config::OptimizationConfig, error::OptimizationError, monitor::Class},
    platform::clock,
};

/// The flights of one cache, over its store.
pub(super) struct Flights {
    table: Table,
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
            table: Table::new(),
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
        let seen = self.see(&self.store.get(key, now)?, wanted)?;
        Some(self.judge(key, seen, || now))
    }

    /// The same, now. Reads the clock only where it has to.
    fn find_now(&self, key: &CacheKey, wanted: Wanted) -> Option<Sighting> {
        let seen = self.see(&self.store.get_now(key)?, wanted)?;
        Some(self.judge(key, seen, clock::now))
    }

    /// What is taken along of an answer that is there, if it may be served.
    fn see(&self, found: &Found<'_>, wanted: Wanted) -> Option<(Packed, Meta)> {
        self.serves(found.meta(), wanted).then(|| (found.packed(), *found.meta()))
    }

    #[inline]
    fn serves(&self, meta: &Meta, wanted: Wanted) -> bool {
        wanted.is(meta.failure) && !self.invalidations.any_since(meta.begun, &meta.scopes)
    }

    fn judge(
        &self,
        key: &CacheKey,
        (packed, meta): (Packed, Meta),
        now: impl FnOnce() -> Instant,
    ) -> Sighting {
        let Meta { begun, scopes, failure, place, .. } = meta;
        let stale = self.is_stale(&meta, now);
        self.classes.hit(key, || place);
        let bytes = self.classes.unpack(place, packed);
        let verdict = if failure { Verdict::Failure(bytes) } else { Verdict::Answer(bytes) };
        Sighting { finding: Finding { verdict, begun, scopes }, stale }
    }

    /// Counts what is served.
    fn hit(&self, verdict: Verdict, stale: bool) -> Verdict {
        let counters = self.store.counters();
        self.count_hit(counters, stale);
        if verdict.is_failure() {
            counters.add(Count::FailureHits, 1);
        }
        verdict
    }

    #[inline]
    fn count_hit(&self, counters: &Counters, stale: bool) {
        self.store.count_hit(counters);
        if stale {
            counters.add(Count::StaleHits, 1);
        }
    }

    /// Counts who was answered by a computation that was going on.
    pub(super) fn count_join(&self) {
        self.store.counters().add(Count::Joins, 1);
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
    #[inline(always)]
    pub(super) fn answer(&self, key: &CacheKey) -> Option<Bytes> {
        self.served(key, self.store.get_now(key), clock::now)
    }

    #[cfg(test)]
    pub(super) fn answer_at(&self, key: &CacheKey, now: Instant) -> Option<Bytes> {
        self.served(key, self.store.get(key, now), || now)
    }

    /// Nothing but the handle on the bytes is copied, and that once: on the way of a hit it counts.
    #[inline(always)]
    fn served(
        &self,
        key: &CacheKey,
        found: Option<Found<'_>>,
        now: impl FnOnce() -> Instant,
    ) -> Option<Bytes> {
        let missed = || {
            self.store.counters().add(Count::Misses, 1);
            None
        };
        let Some(found) = found else { return missed() };
        if let Some(bytes) = found.as_simple() {
            self.count_hit(found.counters(), false);
            self.classes.hit(key, || found.meta().place);
            return Some(bytes.clone());
        }
        if !self.serves(found.meta(), Wanted::Answer) {
            return missed();
        }
        let meta = found.meta();
        self.count_hit(found.counters(), self.is_stale(meta, now));
        self.classes.hit(key, || meta.place);
        if let Some(bytes) = found.as_plain() {
            return Some(bytes.clone());
        }
        let (packed, place) = (found.packed(), meta.place);
        drop(found);
        Some(self.classes.unpack(place, packed))
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

    /// The duty to compute a stale answer anew, unless somebody has it.
    fn take_duty(self: &Arc<Self>, key: CacheKey, now: Instant) -> Option<Lead> {
        let flight = self.table.begin(key).ok()?;
        let lead = Lead::new(Turn::first(Arc::clone(self), flight));
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
            let flight = match self.table.begin(key) {
                Ok(flight) => return Boarding::Leads(Lead::new(Turn::first(Arc::clone(self), flight))),
                Err(flight) => flight,
            };
            match self.board_flight(&flight, wanted, &mut follower) {
                Some(Boarding::Over) => self.table.strike(&flight),
                Some(boarding) => return boarding,
                // There is a flight to follow: now a follower is made, once, and taken by the first that is not over.
                None => follower = make.take().map(|make| make()),
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
        self.store.prefetch(&key);
        let now = self.store.uptime(now);
        let terms = Terms { freshness, place: self.unclassed };
        match self.meta(false, self.invalidations.now(), &terms, now) {
            Some(meta) => self.store.insert(key, self.prepare(value, &terms), meta, now),
            None => {
                self.store.remove(&key);
            }
        }
    }

    /// The flight's answer is known, and its followers told: stores it, if the flight is still on the table, and takes
    /// the flight off.
    fn land(&self, flight: &Flight, answer: Option<(Prepared, Meta)>, now: Uptime) {
        let is_on_table = || flight.listing.is_on();
        if let Some((prepared, meta)) = answer.filter(|_| is_on_table()) {
            self.store.insert_while(flight.key(), prepared, meta, now, &is_on_table);
        }
        self.table.strike(flight);
    }

    /// The flight has ended without an answer, and nobody follows.
    fn end(&self, flight: &Flight) {
        self.table.strike(flight);
    }

    /// Whether there was something stored.
    pub(super) fn invalidate(&self, key: &CacheKey) -> bool {
        self.table.strike_key(key);
        let removed = self.store.remove(key);
        self.table.strike_key(key);
        removed
    }

    pub(super) fn resize(&self, entries: usize, bytes: usize) -> Result<(), OptimizationError> {
        self.store.resize(entries, bytes)?;
        self.classes.resize(entries);
        Ok(())
    }

    pub(super) fn clear(&self) {
        self.table.strike_all();
        self.store.clear();
        self.table.strike_all();
    }
}

#[cfg(all(test, millstream_shuttle))]
mod shuttle_tests;
#[cfg(test)]
mod tests;
