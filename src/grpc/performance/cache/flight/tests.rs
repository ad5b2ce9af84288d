use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use parking_lot::Mutex;

use super::*;
use crate::grpc::performance::config::OptimizationConfig;

fn flights() -> Arc<Flights> {
    Arc::new(Flights::new(&OptimizationConfig::default()).unwrap())
}

fn key(n: u32) -> CacheKey {
    CacheKey::of(&[&n.to_le_bytes()])
}

/// Writes down what followers are told, and keeps the leads.
#[derive(Default)]
struct Diary {
    resolved: Mutex<Vec<(u32, Bytes)>>,
    failed: Mutex<Vec<(u32, Bytes)>>,
    leads: Mutex<Vec<(u32, Lead)>>,
}

impl FlightSink for Diary {
    fn resolved(&self, token: u32, value: Bytes) {
        self.resolved.lock().push((token, value));
    }

    fn failed(&self, token: u32, failure: Bytes) {
        self.failed.lock().push((token, failure));
    }

    fn your_turn(&self, token: u32, lead: Lead) {
        self.leads.lock().push((token, lead));
    }
}

impl Diary {
    /// Who was told, and what, since the last time; in the order of the tokens.
    fn told(&self) -> Vec<(u32, Bytes)> {
        let mut told = std::mem::take(&mut *self.resolved.lock());
        told.sort();
        told
    }

    fn next_lead(&self) -> Option<(u32, Lead)> {
        self.leads.lock().pop()
    }
}

impl Flights {
    fn ask(self: &Arc<Self>, n: u32, sink: &Arc<impl FlightSink + 'static>, token: u32) -> Lookup {
        let sink = Arc::clone(sink);
        self.join(key(n), Wanted::Verdict, || Follower { sink, token }, Instant::now()).into()
    }

    fn lead(self: &Arc<Self>, n: u32) -> Lead {
        match self.join(key(n), Wanted::Verdict, || panic!("nobody to follow"), Instant::now()).into() {
            Lookup::Lead(lead) => lead,
            other => panic!("{other:?}"),
        }
    }

    /// A lead, and the followers with these tokens.
    fn lead_with(self: &Arc<Self>, n: u32, sink: &Arc<impl FlightSink + 'static>, tokens: &[u32]) -> Lead {
        let lead = self.lead(n);
        for token in tokens {
            assert!(matches!(self.ask(n, sink, *token), Lookup::Follow));
        }
        lead
    }

    fn stored(&self, n: u32) -> Option<Bytes> {
        self.store.get(&key(n), Instant::now()).map(|found| found.packed().open())
    }
}

fn answer(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn a_leader_that_completes_tells_each_follower_once_and_stores() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    let lead = flights.lead_with(1, &diary, &[10, 11, 12]);
    lead.complete(answer("done"));
    assert_eq!(diary.told(), [(10, answer("done")), (11, answer("done")), (12, answer("done"))]);
    assert!(matches!(flights.ask(1, &diary, 13), Lookup::Hit(value) if value == "done"));
    assert!(diary.next_lead().is_none());
    assert!(flights.table.is_empty());
    let stats = flights.store.stats();
    assert_eq!((stats.misses, stats.joins, stats.hits, stats.insertions), (1, 3, 1, 1));
    assert_eq!(stats.hit_ratio(), 0.8);
}

#[test]
fn an_answer_that_is_not_to_be_stored_is_told_and_not_stored() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    flights.lead_with(1, &diary, &[10]).resolve_without_storing(answer("once"));
    assert_eq!(diary.told(), [(10, answer("once"))]);
    assert_eq!(flights.stored(1), None);
    drop(flights.lead(1));
}

#[test]
fn a_leader_that_fails_passes_the_turn_on_to_one_and_the_others_wait() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    drop(flights.lead_with(1, &diary, &[10, 11, 12]));
    let (first, lead) = diary.next_lead().unwrap();
    assert_eq!(first, 10);
    assert!(diary.next_lead().is_none());
    assert!(diary.told().is_empty());
    assert!(matches!(flights.ask(1, &diary, 13), Lookup::Follow));

    drop(lead);
    let (second, lead) = diary.next_lead().unwrap();
    assert_eq!(second, 11);
    lead.complete(answer("at last"));
    assert_eq!(diary.told(), [(12, answer("at last")), (13, answer("at last"))]);
    assert_eq!(flights.stored(1).unwrap(), "at last");
    assert_eq!(flights.store.stats().misses, 3);
}

#[test]
fn a_leader_that_panics_passes_the_turn_on() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    let lead = flights.lead_with(1, &diary, &[10]);
    let panicked = std::thread::spawn(move || {
        let _lead = lead;
        panic!("as the test wants it");
    });
    assert!(panicked.join().is_err());
    assert_eq!(diary.next_lead().map(|(token, _)| token), Some(10));
}

#[test]
fn a_flight_that_nobody_follows_ends_with_its_leader() {
    let flights = flights();
    drop(flights.lead(1));
    assert!(flights.table.is_empty());
    drop(flights.lead(1));
}

/// A follower that has gone: it gives every turn back at once.
#[derive(Default)]
struct Gone(AtomicUsize);

impl FlightSink for Gone {
    fn resolved(&self, _: u32, _: Bytes) {
        panic!("nobody computed anything");
    }

    fn failed(&self, _: u32, _: Bytes) {
        panic!("nobody computed anything");
    }

    fn your_turn(&self, _: u32, lead: Lead) {
        self.0.fetch_add(1, SeqCst);
        drop(lead);
    }
}

#[test]
fn a_hundred_thousand_followers_that_have_gone_are_asked_in_a_loop() {
    let (flights, gone, diary) = (flights(), Arc::new(Gone::default()), Arc::new(Diary::default()));
    let lead = flights.lead(1);
    for token in 0..100_000 {
        assert!(matches!(flights.ask(1, &gone, token), Lookup::Follow));
    }
    assert!(matches!(flights.ask(1, &diary, 7), Lookup::Follow));
    drop(lead);
    assert_eq!(gone.0.load(SeqCst), 100_000);
    assert_eq!(diary.next_lead().map(|(token, _)| token), Some(7));
    assert!(flights.table.is_empty());
}

#[test]
fn an_abandoned_leader_tells_nobody_and_stores_nothing() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    let stuck = flights.lead_with(1, &diary, &[10, 11]);
    let watch = stuck.watch();
    watch.abandon();
    watch.clone().abandon();
    let (token, lead) = diary.next_lead().unwrap();
    assert_eq!(token, 10);
    assert!(diary.next_lead().is_none());

    stuck.complete(answer("too late"));
    assert!(diary.told().is_empty());
    assert_eq!(flights.stored(1), None);

    lead.complete(answer("in time"));
    assert_eq!(diary.told(), [(11, answer("in time"))]);
    assert_eq!(flights.stored(1).unwrap(), "in time");
}

#[test]
fn abandoning_a_leader_that_nobody_follows_lets_the_next_one_lead() {
    let flights = flights();
    let stuck = flights.lead(1);
    stuck.watch().abandon();
    let lead = flights.lead(1);
    drop(stuck);
    lead.complete(answer("the second"));
    assert_eq!(flights.stored(1).unwrap(), "the second");
}

#[test]
fn abandoning_a_leader_that_is_done_does_nothing_and_keeps_nothing_alive() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    let lead = flights.lead(1);
    let watch: FlightWatch = lead.watch();
    let value = Bytes::from(vec![1; 100]);
    lead.complete(value.clone());
    assert!(value.is_unique());
    let _next = flights.lead_with(2, &diary, &[10]);
    watch.abandon();
    assert_eq!(flights.stored(1).unwrap(), value);
    assert!(diary.next_lead().is_none());
}

#[test]
fn what_was_begun_before_a_clear_is_told_and_not_stored() {
    let clear: fn(&Flights) = Flights::clear;
    let invalidate: fn(&Flights) = |flights| assert!(!flights.invalidate(&key(1)));
    for forget in [clear, invalidate] {
        let (flights, diary) = (flights(), Arc::new(Diary::default()));
        let stale = flights.lead_with(1, &diary, &[10]);
        forget(&flights);
        let fresh = flights.lead_with(1, &diary, &[11]);
        stale.complete(answer("stale"));
        assert_eq!(diary.told(), [(10, answer("stale"))]);
        assert_eq!(flights.stored(1), None);
        fresh.complete(answer("fresh"));
        assert_eq!(diary.told(), [(11, answer("fresh"))]);
        assert_eq!(flights.stored(1).unwrap(), "fresh");
    }
}

#[test]
fn a_flight_off_the_table_still_passes_its_turn_on() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    let lead = flights.lead_with(1, &diary, &[10, 11]);
    flights.clear();
    let fresh = flights.lead(1);
    drop(lead);
    let (_, lead) = diary.next_lead().unwrap();
    lead.watch().abandon();
    drop(lead);
    let (token, lead) = diary.next_lead().unwrap();
    assert_eq!(token, 11);
    drop(lead);
    assert_eq!(flights.table.len(), 1, "the fresh one");
    fresh.complete(answer("fresh"));
}

/// Uses the cache while it is told.
struct Curious {
    flights: Arc<Flights>,
    seen: Mutex<Vec<Lookup>>,
}

impl FlightSink for Curious {
    fn resolved(&self, token: u32, _: Bytes) {
        let nobody = || panic!("the answer is known");
        let again = self.flights.join(key(1), Wanted::Verdict, nobody, Instant::now());
        self.seen.lock().push(again.into());
        self.flights.invalidate(&key(token));
        self.flights.clear();
    }

    fn failed(&self, _: u32, _: Bytes) {
        panic!("nobody fails");
    }

    fn your_turn(&self, _: u32, lead: Lead) {
        self.flights.invalidate(&key(1));
        lead.complete(Bytes::new());
    }
}

#[test]
fn a_sink_may_use_the_cache_and_an_answer_is_known_from_the_moment_it_is_told() {
    let flights = flights();
    let curious = Arc::new(Curious { flights: Arc::clone(&flights), seen: Mutex::default() });
    flights.lead_with(1, &curious, &[10]).complete(answer("known"));
    assert!(matches!(curious.seen.lock()[..], [Lookup::Hit(ref value)] if value == "known"));
    assert_eq!(flights.stored(1), None, "cleared by the sink");

    drop(flights.lead_with(2, &curious, &[10]));
    assert_eq!(flights.stored(2).unwrap(), "");
}

#[test]
fn an_answer_that_came_between_the_look_and_the_start_is_found_by_the_second_look() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    // Boarded without a first look: what a joiner does that was overtaken right after it.
    let now = flights.store.uptime(Instant::now());
    flights.store.insert(key(1), flights.store.prepare(b"there", None), flights.store.meta(now), now);
    let Boarding::Leads(lead) = flights.board(key(1), Wanted::Verdict, || panic!("nobody to follow")) else {
        panic!("a flight was on the table");
    };
    drop(lead);
    assert!(matches!(flights.ask(1, &diary, 1), Lookup::Hit(value) if value == "there"));
    assert_eq!(flights.store.stats().misses, 0);
    assert!(flights.table.is_empty());
}

/// Panics when it is told the token 0.
#[derive(Default)]
struct Touchy(Diary);

impl FlightSink for Touchy {
    fn resolved(&self, token: u32, value: Bytes) {
        assert_ne!(token, 0, "as the test wants it");
        self.0.resolved(token, value);
    }

    fn failed(&self, token: u32, failure: Bytes) {
        assert_ne!(token, 0, "as the test wants it");
        self.0.failed(token, failure);
    }

    fn your_turn(&self, token: u32, lead: Lead) {
        assert_ne!(token, 0, "as the test wants it");
        self.0.your_turn(token, lead);
    }
}

#[test]
fn a_sink_that_panics_costs_no_other_follower_anything() {
    let (flights, touchy) = (flights(), Arc::new(Touchy::default()));
    let lead = flights.lead_with(1, &touchy, &[0, 1, 2]);
    assert!(std::thread::spawn(move || lead.complete(answer("told"))).join().is_err());
    assert_eq!(touchy.0.told(), [(1, answer("told")), (2, answer("told"))]);
    assert_eq!(flights.stored(1).unwrap(), "told");

    let lead = flights.lead_with(2, &touchy, &[0, 1]);
    assert!(std::thread::spawn(move || drop(lead)).join().is_err());
    assert_eq!(touchy.0.next_lead().map(|(token, _)| token), Some(1));
    assert!(flights.table.is_empty());
}

mod outdated;
mod stress;
