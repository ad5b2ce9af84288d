//! The flights that can be joined: at most one for each key. No operation waits for another thread.
//!
//! A key belongs to a bucket, whose flights lie in *berths*. A flight stays in its berth until it is struck off the table,
//! and there are as many berths as there ever were flights at a time.
//!
//! ```text
//!                 moor                      the bucket's word names it               strike
//!  no berth ─────────────▶ in a berth, none ─────────────────────────▶ Listed ──────────────────▶ Struck, berth empty
//!                                └─────────── another one of the key came first ──────────────────────▲
//! ```
//! **One word decides.** The word of a bucket says which flight was listed last: in which berth, with a number that counts
//! all that ever were. To list a flight one reads the word, looks for the key among the listed, and exchanges the word for
//! the next one. That fails if anything was listed meanwhile, and then one looks again. So whoever succeeds knows that no
//! other flight of the key was listed in between, nor before.
//!
//! **Who comes next finishes.** The exchange of the word lists the flight, but what a search goes by is the flight's own
//! [`Listing`]. Whoever reads the word first marks the flight that it names as listed, if nobody has. So each is marked
//! before the next one is listed, and a search that began with the word finds all of them. A mark that comes late does
//! nothing: it names berth and number, and no two flights stand for the same. For a flight takes its number after a word
//! that was read when it was in its berth already, and so after the numbers of all who were listed in that berth before.
//!
//! **Berths have [`Gate`]s**, so that who looks into one is counted, and what is there is let go by the last one to leave.
//! A thread that is stopped in one keeps that berth from being used again.
//!
//! **All that decides is SeqCst**: the words, and what is exchanged in a `Listing`. `Flights` tells why, for what is
//! invalidated while it is computed. The rest is ordered by the gates.

#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    iter,
    ops::Deref,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use once_cell::race::OnceBox;

use super::{
    super::key::CacheKey,
    crew::Flight,
    gate::{Ask, Entrance, Gate},
};
use crate::platform::atomic::AtomicU64;

/// Two cache lines each: with a thousand flights at a time, four to a bucket.
const BUCKETS: usize = 256;
/// Berths that are made at a time. With the bucket's word, and the way to more, they fill its two cache lines.
const BERTHS: usize = 7;

/// See the module.
pub(super) struct Table {
    buckets: Box<[Bucket]>,
}

/// Which flight was listed last in a bucket, or whether one is: its number, its berth, and how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word(u64);

const STANDING_BITS: u32 = 2;
/// In memory alone, as many flights in a bucket would take gigabytes.
const BERTH_BITS: u32 = 24;
/// What remains are 38 bits for the number: at ten million flights a second in one bucket it comes round in seven hours,
/// for which a thread would have to be stopped between reading a word and exchanging it.
const NUMBER: u64 = 1 << (STANDING_BITS + BERTH_BITS);

/// How a flight stands. Neither is set in the word of a bucket, and in that of a flight before it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Listed = 1,
    Struck = 2,
}

impl Word {
    /// Of a flight in this berth that is listed after this one.
    fn next(self, berth: usize) -> Self {
        assert!(berth < 1 << BERTH_BITS, "a bucket of {berth} flights");
        Self((self.0 & !(NUMBER - 1)).wrapping_add(NUMBER) | (berth as u64) << STANDING_BITS)
    }

    fn berth(self) -> usize {
        ((self.0 & (NUMBER - 1)) >> STANDING_BITS) as usize
    }

    /// Of the same flight.
    fn standing(self, standing: Standing) -> Self {
        Self(self.0 >> STANDING_BITS << STANDING_BITS | standing as u64)
    }

    fn is(self, standing: Standing) -> bool {
        self == self.standing(standing)
    }
}

/// What a flight knows of its place on the table.
pub(super) struct Listing(AtomicU64);

impl Default for Listing {
    /// Not on the table.
    fn default() -> Self {
        Self(AtomicU64::new(Word(0).standing(Standing::Struck).0))
    }
}

impl Listing {
    fn read(&self) -> Word {
        Word(self.0.load(SeqCst))
    }

    /// Whether the flight is on the table.
    pub(super) fn is_on(&self) -> bool {
        self.read().is(Standing::Listed)
    }

    fn change(&self, from: Word, to: Standing) -> bool {
        self.0.compare_exchange(from.0, from.standing(to).0, SeqCst, SeqCst).is_ok()
    }

    /// The flight that the word names is listed; if it is this one.
    fn confirm(&self, named: Word) {
        self.change(named, Standing::Listed);
    }

    /// Who struck it off gets to know its berth.
    fn strike(&self) -> Option<usize> {
        let word = self.read();
        (word.is(Standing::Listed) && self.change(word, Standing::Struck)).then(|| word.berth())
    }
}

impl Table {
    pub(super) fn new() -> Self {
        Self { buckets: iter::repeat_with(Bucket::default).take(BUCKETS).collect() }
    }

    fn bucket(&self, key: &CacheKey) -> &Bucket {
        // The lowest bits, which no check takes.
        &self.buckets[key.placement() as usize % BUCKETS]
    }

    /// Puts a new flight on the table.
    ///
    /// # Errors
    /// There is one for the key.
    pub(super) fn begin(&self, key: CacheKey) -> Result<Arc<Flight>, Arc<Flight>> {
        self.bucket(&key).begin(key)
    }

    /// Takes this flight off the table, if it is there.
    pub(super) fn strike(&self, flight: &Flight) {
        self.bucket(&flight.key()).strike(flight);
    }

    /// Takes the flight of the key off the table, if there is one.
    pub(super) fn strike_key(&self, key: &CacheKey) {
        let bucket = self.bucket(key);
        if let Some(flight) = bucket.search(key, bucket.latest()) {
            bucket.strike(&flight);
        }
    }

    /// Takes off all that are on the table when this begins.
    pub(super) fn strike_all(&self) {
        for bucket in &self.buckets {
            bucket.latest();
            bucket.listed().for_each(|flight| bucket.strike(&flight));
        }
    }
}

#[repr(align(128))]
#[derive(Default)]
struct Bucket {
    latest: AtomicU64,
    pier: Pier,
}

/// Berths, and the way to more.
#[derive(Default)]
struct Pier {
    berths: [Berth; BERTHS],
    more: OnceBox<Pier>,
}

impl Bucket {
    /// The flight that was listed last, and is marked as listed from now on, as all before it are.
    fn latest(&self) -> Word {
        let latest = Word(self.latest.load(SeqCst));
        // If something else lies there, what is named was struck, and so had been marked.
        if let Some(flight) = self.berth(latest.berth()).visit(Ask::AnythingOpen) {
            flight.listing.confirm(latest);
        }
        latest
    }

    /// The flight of a key among those that were listed when `_latest` was read, or later.
    fn search(&self, key: &CacheKey, _latest: Word) -> Option<Arc<Flight>> {
        let ask = Ask::Open(check(key));
        let mut flights = self.berths().filter_map(|berth| berth.visit(ask));
        let found = flights.find(|flight| flight.key() == *key && flight.listing.is_on())?;
        Some(Arc::clone(&found))
    }

    fn begin(&self, key: CacheKey) -> Result<Arc<Flight>, Arc<Flight>> {
        let mut moored: Option<(Arc<Flight>, usize)> = None;
        loop {
            let latest = self.latest();
            if let Some(other) = self.search(&key, latest) {
                if let Some((_, berth)) = moored {
                    self.berth(berth).clear();
                }
                return Err(other);
            }
            let Some((flight, berth)) = &moored else {
                let flight = Arc::new(Flight::new(key));
                let berth = self.moor(&flight);
                moored = Some((flight, berth));
                // The word is read anew: what was read before may be that of whoever has left the berth since.
                continue;
            };
            let next = latest.next(*berth);
            // Before the word names it. Nobody else writes it before that.
            flight.listing.0.store(next.0, SeqCst);
            if self.latest.compare_exchange(latest.0, next.0, SeqCst, SeqCst).is_ok() {
                flight.listing.confirm(next);
                return Ok(Arc::clone(flight));
            }
        }
    }

    /// Puts the flight into an empty berth.
    fn moor(&self, flight: &Arc<Flight>) -> usize {
        let mut pier = &self.pier;
        let mut first = 0;
        loop {
            if let Some(berth) = pier.berths.iter().position(|berth| berth.fill(flight)) {
                return first + berth;
            }
            pier = pier.more.get_or_init(Box::default);
            first += BERTHS;
        }
    }

    fn strike(&self, flight: &Flight) {
        if let Some(berth) = flight.listing.strike() {
            // It lies there until this: nobody else strikes it.
            self.berth(berth).clear();
        }
    }

    fn listed(&self) -> impl Iterator<Item = Arc<Flight>> {
        let flights = self.berths().filter_map(|berth| berth.visit(Ask::AnythingOpen));
        flights.filter(|flight| flight.listing.is_on()).map(|flight| Arc::clone(&flight))
    }

    fn piers(&self) -> impl Iterator<Item = &Pier> {
        iter::successors(Some(&self.pier), |pier| pier.more.get())
    }

    fn berths(&self) -> impl Iterator<Item = &Berth> {
        self.piers().flat_map(|pier| &pier.berths)
    }

    fn berth(&self, number: usize) -> &Berth {
        let pier = self.piers().nth(number / BERTHS).expect("a berth that was named is there");
        &pier.berths[number % BERTHS]
    }
}

/// By which keys are told apart before a berth is entered.
fn check(key: &CacheKey) -> u16 {
    (key.placement() >> 8) as u16
}

/// Room for one flight.
#[derive(Default)]
struct Berth {
    gate: Gate,
    flight: UnsafeCell<Option<Arc<Flight>>>,
}

// SAFETY: the content is read by those who are in, and changed by the one who has the claim, and the gate keeps the two
// apart and in order. `Arc<Flight>` is `Send` and `Sync`.
unsafe impl Sync for Berth {}

const _: () = {
    assert!(cfg!(any(millstream_loom, millstream_shuttle)) || size_of::<Bucket>() == 128);
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Arc<Flight>>();
};

impl Berth {
    /// Puts the flight here, if the berth is empty.
    fn fill(&self, flight: &Arc<Flight>) -> bool {
        if !self.gate.claim() {
            return false;
        }
        // SAFETY: by the claim, which ends with `publish`.
        unsafe { *self.flight.get() = Some(Arc::clone(flight)) };
        self.gate.publish(check(&flight.key()));
        true
    }

    /// Looks at what is here, if it is what one asks for.
    fn visit(&self, ask: Ask) -> Option<Visit<'_>> {
        match self.gate.enter(ask) {
            Entrance::In => Some(Visit(self)),
            Entrance::Stray => {
                self.leave();
                None
            }
            Entrance::Barred => None,
        }
    }

    /// Lets go what is here, as soon as nobody looks at it. For who has struck it, or moored it.
    fn clear(&self) {
        if let Some(visit) = self.visit(Ask::AnythingOpen) {
            visit.0.gate.close();
        }
    }

    fn leave(&self) {
        if self.gate.leave() {
            self.empty();
        }
    }

    /// For who has the claim on a berth that is not empty.
    fn empty(&self) {
        // SAFETY: by the claim, which ends with `vacate`.
        let flight = unsafe { &mut *self.flight.get() }.take();
        self.gate.vacate();
        drop(flight);
    }
}

/// Somebody looks at what is in a berth.
struct Visit<'a>(&'a Berth);

impl Deref for Visit<'_> {
    type Target = Arc<Flight>;

    fn deref(&self) -> &Arc<Flight> {
        // SAFETY: we are in until this is dropped.
        unsafe { &*self.0.flight.get() }.as_ref().expect("what is open is full")
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
impl Table {
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.listed().count()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
#[cfg(all(test, not(millstream_loom)))]
mod tests;
