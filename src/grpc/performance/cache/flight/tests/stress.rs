//! The same promises with several threads at once.

use std::{collections::HashSet, sync::Barrier};

use super::*;
use crate::grpc::performance::cache::invalidation::Scope;

#[test]
fn a_thousand_concurrent_equals_are_one_computation() {
    const THREADS: u32 = 4;
    const EACH: u32 = 250;
    let flights = flights();
    for round in 0..50 {
        let (diary, barrier) = (Arc::new(Diary::default()), Barrier::new(THREADS as usize));
        let (computations, hits, follows) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (flights, diary) = (&flights, &diary);
                let (barrier, computations, hits, follows) = (&barrier, &computations, &hits, &follows);
                scope.spawn(move || {
                    barrier.wait();
                    for n in 0..EACH {
                        match flights.ask(round, diary, thread * EACH + n) {
                            Lookup::Failure(_) => panic!("nobody fails"),
                            Lookup::Hit(value) => {
                                assert_eq!(value, "one for all");
                                hits.fetch_add(1, SeqCst);
                            }
                            Lookup::Follow => {
                                follows.fetch_add(1, SeqCst);
                            }
                            Lookup::Lead(lead) => {
                                computations.fetch_add(1, SeqCst);
                                std::thread::yield_now();
                                lead.complete(answer("one for all"));
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(computations.into_inner(), 1);
        assert_eq!(diary.told().len(), follows.load(SeqCst));
        assert_eq!(hits.into_inner() + follows.into_inner() + 1, (THREADS * EACH) as usize);
        assert!(flights.table.is_empty());
    }
}

/// Notices when two compute at a time.
struct Workshop {
    at_work: AtomicUsize,
    computations: AtomicUsize,
}

impl Workshop {
    /// Fails two times of three; what it computes is not stored, so that there is always something to compute.
    fn compute(&self, lead: Lead) {
        assert_eq!(self.at_work.fetch_add(1, SeqCst), 0, "two at a time");
        std::thread::yield_now();
        let nth = self.computations.fetch_add(1, SeqCst);
        self.at_work.fetch_sub(1, SeqCst);
        if nth.is_multiple_of(3) {
            lead.resolve_without_storing(Bytes::new());
        }
    }
}

impl FlightSink for Workshop {
    fn resolved(&self, _: u32, value: Bytes) {
        assert_eq!(value, "");
    }

    fn failed(&self, _: u32, _: Bytes) {
        panic!("no failure is to be known");
    }

    fn your_turn(&self, _: u32, lead: Lead) {
        self.compute(lead);
    }
}

#[test]
fn leaders_that_fail_and_leaders_that_do_not_compute_one_at_a_time() {
    let flights = flights();
    let workshop = Arc::new(Workshop { at_work: AtomicUsize::new(0), computations: AtomicUsize::new(0) });
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for token in 0..5000 {
                    if let Lookup::Lead(lead) = flights.ask(1, &workshop, token) {
                        workshop.compute(lead);
                    }
                }
            });
        }
    });
    let stats = flights.store.stats();
    assert_eq!(workshop.computations.load(SeqCst) as u64, stats.misses);
    assert_eq!(stats.hits + stats.joins + stats.misses, 20_000);
    assert!(flights.table.is_empty());
}

/// Ends a lead in one of the ways that there are.
fn end(flights: &Flights, lead: Lead, how: u32) {
    match how % 10 {
        0 => drop(lead),
        1 => lead.watch().abandon(),
        2 => lead.resolve_without_storing(Bytes::from_static(b"chaos")),
        3 => {
            flights.invalidate(&key(how % 3));
            lead.complete(Bytes::from_static(b"chaos"));
        }
        // Over from the moment it is abandoned, also within a sink.
        4 => {
            lead.watch().abandon();
            lead.complete(Bytes::from_static(b"too late"));
        }
        5 => {
            flights.clear();
            drop(lead);
        }
        6 => lead.fail(Bytes::from_static(b"chaos"), Duration::from_micros(10)),
        // Whoever joined after this computes anew.
        7 => {
            flights.invalidations().invalidate(Scope::tag("chaos"));
            lead.fresh(Freshness::new().tag("chaos")).complete(Bytes::from_static(b"chaos"));
        }
        _ => lead.complete(Bytes::from_static(b"chaos")),
    }
}

/// Counts what each follower is told, and ends the leads that it is given, one way or another.
struct Chaos {
    flights: Arc<Flights>,
    told: Vec<AtomicUsize>,
}

impl FlightSink for Chaos {
    fn resolved(&self, token: u32, value: Bytes) {
        assert_eq!(value, "chaos");
        self.told[token as usize].fetch_add(1, SeqCst);
    }

    fn failed(&self, token: u32, failure: Bytes) {
        self.resolved(token, failure);
    }

    fn your_turn(&self, token: u32, lead: Lead) {
        self.told[token as usize].fetch_add(1, SeqCst);
        end(&self.flights, lead, token / 3);
    }
}

#[test]
fn every_follower_is_told_exactly_once_whatever_happens() {
    const THREADS: u32 = 4;
    const EACH: u32 = 20_000;
    let flights = flights();
    let chaos = Arc::new(Chaos {
        flights: Arc::clone(&flights),
        told: (0..THREADS * EACH).map(|_| AtomicUsize::new(0)).collect(),
    });
    let follows = Mutex::new(HashSet::new());
    let barrier = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (flights, chaos, follows, barrier) = (&flights, &chaos, &follows, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let mut followed = Vec::new();
                let mut held = VecDeque::new();
                for n in 0..EACH {
                    let token = thread * EACH + n;
                    match flights.ask(token % 3, chaos, token) {
                        Lookup::Follow => followed.push(token),
                        Lookup::Hit(value) | Lookup::Failure(value) => assert_eq!(value, "chaos"),
                        Lookup::Lead(lead) => held.push_back((lead, token)),
                    }
                    if held.len() > 1 || n % 7 == 0 {
                        held.pop_front().into_iter().for_each(|(lead, token)| end(flights, lead, token / 3));
                    }
                    if n % 11 == 0 {
                        flights.invalidate(&key(token % 3));
                    }
                }
                held.into_iter().for_each(|(lead, token)| end(flights, lead, token / 3));
                follows.lock().extend(followed);
            });
        }
    });
    let follows = follows.into_inner();
    assert!(!follows.is_empty());
    for (token, told) in chaos.told.iter().enumerate() {
        let expected = usize::from(follows.contains(&(token as u32)));
        assert_eq!(told.load(SeqCst), expected, "follower {token}");
    }
    assert!(flights.table.is_empty());
}

/// Something that changes, and is told of when it has.
struct Source {
    flights: Arc<Flights>,
    version: AtomicUsize,
    /// What everybody knows to have been invalidated.
    announced: AtomicUsize,
}

impl Source {
    fn change(&self) {
        let version = self.version.fetch_add(1, SeqCst) + 1;
        self.flights.invalidations().invalidate(Scope::tag("source"));
        self.announced.fetch_max(version, SeqCst);
    }

    fn compute(&self, lead: Lead) {
        let read = self.version.load(SeqCst) as u32;
        std::thread::yield_now();
        lead.fresh(Freshness::new().tag("source")).complete(Bytes::copy_from_slice(&read.to_le_bytes()));
    }
}

/// The token is what was announced when the follower joined.
impl FlightSink for Source {
    fn resolved(&self, token: u32, value: Bytes) {
        let read = u32::from_le_bytes(value.as_ref().try_into().unwrap());
        assert!(read >= token, "{read} was told to one who knew of {token}");
    }

    fn failed(&self, _: u32, _: Bytes) {
        panic!("nobody fails");
    }

    fn your_turn(&self, _: u32, lead: Lead) {
        self.compute(lead);
    }
}

#[test]
fn nobody_who_knows_of_an_invalidation_is_given_what_was_computed_before_it() {
    let flights = flights();
    let source = Arc::new(Source {
        flights: Arc::clone(&flights),
        version: AtomicUsize::new(0),
        announced: AtomicUsize::new(0),
    });
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (flights, source) = (&flights, &source);
            scope.spawn(move || {
                for n in 0..20_000 {
                    if thread == 0 && n % 5 == 0 {
                        source.change();
                    }
                    let known = source.announced.load(SeqCst) as u32;
                    match flights.ask(1, source, known) {
                        Lookup::Hit(value) => source.resolved(known, value),
                        Lookup::Failure(_) => panic!("nobody fails"),
                        Lookup::Lead(lead) => source.compute(lead),
                        Lookup::Follow => {}
                    }
                }
            });
        }
    });
    let stats = flights.store.stats();
    assert_eq!(stats.hits + stats.joins + stats.misses, 80_000);
    assert!(flights.table.is_empty());
}
