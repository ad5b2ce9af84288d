//! Answers that are worthless, stale, or none.

use super::*;
use crate::grpc::performance::cache::invalidation::Scope;

fn tagged(tag: &str) -> Freshness {
    Freshness::new().tag(tag)
}

impl Flights {
    fn invalidate_tag(&self, tag: &str) {
        self.invalidations.invalidate(Scope::tag(tag));
    }
}

#[test]
fn what_was_begun_before_an_invalidation_is_told_to_who_joined_before_it_and_stored_for_nobody() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    let stale = flights.lead_with(1, &diary, &[10, 11]);
    flights.invalidate_tag("red");
    for token in [20, 21, 22] {
        assert!(matches!(flights.ask(1, &diary, token), Lookup::Follow));
    }
    stale.fresh(tagged("red")).complete(answer("old"));
    assert_eq!(diary.told(), [(10, answer("old")), (11, answer("old"))]);
    assert_eq!(flights.stored(1), None);
    let (token, lead) = diary.next_lead().unwrap();
    assert_eq!(token, 20, "the first of those who came later computes");
    assert!(diary.next_lead().is_none());
    lead.fresh(tagged("red")).complete(answer("new"));
    assert_eq!(diary.told(), [(21, answer("new")), (22, answer("new"))]);
    assert!(matches!(flights.ask(1, &diary, 30), Lookup::Hit(value) if value == "new"));
}

#[test]
fn an_invalidation_of_something_else_makes_no_difference() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    let lead = flights.lead_with(1, &diary, &[10]);
    flights.invalidate_tag("blue");
    assert!(matches!(flights.ask(1, &diary, 20), Lookup::Follow));
    lead.fresh(tagged("red")).complete(answer("good"));
    assert_eq!(diary.told(), [(10, answer("good")), (20, answer("good"))]);
    assert!(matches!(flights.ask(1, &diary, 30), Lookup::Hit(value) if value == "good"));
}

#[test]
fn an_outdated_answer_that_nobody_joined_late_for_is_not_stored() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    let stale = flights.lead_with(1, &diary, &[10]);
    flights.invalidate_tag("red");
    stale.fresh(tagged("red")).complete(answer("old"));
    assert_eq!(diary.told(), [(10, answer("old"))]);
    assert!(flights.table.is_empty());
    assert_eq!(flights.stored(1), None);
    drop(flights.lead(1));
}

/// Invalidates what it is told of, and asks again.
struct Doubter(Arc<Flights>, Mutex<Vec<Lookup>>);

impl FlightSink for Doubter {
    fn resolved(&self, _: u32, value: Bytes) {
        assert_eq!(value, "old");
        self.0.invalidate_tag("red");
        let again = self.0.join(key(1), Wanted::Verdict, || panic!("nobody to follow"), Instant::now());
        self.1.lock().push(again.into());
    }

    fn failed(&self, _: u32, _: Bytes) {
        panic!("nobody fails");
    }

    fn your_turn(&self, _: u32, _: Lead) {
        panic!("it was told already");
    }
}

#[test]
fn an_answer_that_is_invalidated_while_it_is_told_is_not_given_to_who_asks_then() {
    let flights = flights();
    let doubter = Arc::new(Doubter(Arc::clone(&flights), Mutex::default()));
    flights.lead_with(1, &doubter, &[10]).fresh(tagged("red")).complete(answer("old"));
    let Some(Lookup::Lead(lead)) = doubter.1.lock().pop() else { panic!("it computes anew") };
    assert_eq!(flights.table.len(), 1, "the flight of the old answer has left the new one in place");
    lead.fresh(tagged("red")).complete(answer("new"));
    assert_eq!(flights.stored(1).unwrap(), "new");
}

#[test]
fn a_turn_that_is_passed_on_begins_when_it_is_passed_on() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    let first = flights.lead_with(1, &diary, &[10, 11]);
    flights.invalidate_tag("red");
    drop(first);
    let (_, lead) = diary.next_lead().unwrap();
    lead.fresh(tagged("red")).complete(answer("new"));
    assert_eq!(diary.told(), [(11, answer("new"))]);
    assert!(matches!(flights.ask(1, &diary, 30), Lookup::Hit(value) if value == "new"));
}

#[test]
fn a_failure_is_told_once_to_each_and_known_for_its_time() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    let (start, ttl) = (Instant::now(), Duration::from_millis(1));
    flights.lead_with(1, &diary, &[10, 11]).fail_at(answer("broken"), ttl, start);
    assert_eq!(*diary.failed.lock(), [(10, answer("broken")), (11, answer("broken"))]);
    assert!(diary.told().is_empty() && diary.next_lead().is_none());
    let ask = |wanted, now| flights.join(key(1), wanted, || panic!("nobody to follow"), now);
    let before = start + ttl - Duration::from_nanos(1);
    assert!(matches!(ask(Wanted::Verdict, before), Joined::Hit(Verdict::Failure(why)) if why == "broken"));
    assert!(matches!(ask(Wanted::Answer, before), Joined::Lead(_)), "failures of others are nothing to it");
    assert!(matches!(ask(Wanted::Verdict, start + ttl), Joined::Lead(_)));
    assert_eq!(flights.store.stats().failure_hits, 1);
}

#[test]
fn while_an_answer_is_stale_exactly_one_computes_it_and_the_others_are_served() {
    let (flights, diary) = (flights(), Arc::new(Diary::default()));
    let start = Instant::now();
    let (ttl, stale) = (Duration::from_millis(10), Duration::from_millis(100));
    let freshness = Freshness::new().ttl(ttl).stale_while_revalidate(stale);
    flights.lead(1).fresh(freshness).complete_at(answer("old"), start);
    let look = |now| flights.look_at(key(1), now);
    let nanosecond = Duration::from_nanos(1);
    assert!(matches!(look(start + ttl - nanosecond), Look::Hit(_)), "it is fresh");

    let Look::Stale(old, Some(duty)) = look(start + ttl) else { panic!("the duty is to be had") };
    assert_eq!(old, Verdict::Answer(answer("old")));
    for _ in 0..10 {
        assert!(matches!(look(start + ttl), Look::Stale(_, None)));
        assert!(matches!(flights.join(key(1), Wanted::Verdict, || panic!(), start + ttl), Joined::Hit(_)));
    }
    drop(duty);
    let Joined::Lead(lead) = flights.join(key(1), Wanted::Verdict, || panic!(), start + ttl) else {
        panic!("a duty that was not done is somebody else's")
    };
    lead.fresh(freshness).complete_at(answer("new"), start + ttl);
    assert!(matches!(look(start + ttl), Look::Hit(Verdict::Answer(new)) if new == "new"));

    let end = start + ttl + ttl + stale;
    assert!(matches!(look(end - nanosecond), Look::Stale(_, Some(_))));
    assert!(matches!(look(end), Look::Nothing), "stale for so long and no longer");
    assert!(diary.told().is_empty());
    assert_eq!(flights.store.stats().stale_hits, 22);
}

#[test]
fn a_class_whose_answers_are_never_hit_is_told_and_no_longer_stored_and_others_are() {
    let config = OptimizationConfig { cache_capacity: 100, ..OptimizationConfig::default() };
    let flights = Arc::new(Flights::new(&config).unwrap());
    let once = crate::Class::new("once");
    for n in 0..10_000 {
        flights.lead(n).class(once).complete(answer("once"));
    }
    let refused = flights.store.stats().not_admitted;
    assert!(refused > 5000, "{refused}");
    let useful = crate::Class::new("useful");
    assert_ne!(Place::from(once), Place::from(useful));
    for n in 10_000..10_050 {
        flights.lead(n).class(useful).complete(answer("useful"));
    }
    assert_eq!(flights.store.stats().not_admitted, refused);
    for n in 20_000..23_000 {
        flights.lead(n).class(once).complete(answer("hit"));
        flights.stored(n);
        let _ = flights.look(key(n));
    }
    let before = flights.store.stats().not_admitted;
    for n in 30_000..30_100 {
        flights.lead(n).class(once).complete(answer("hit"));
    }
    assert_eq!(flights.store.stats().not_admitted, before, "it has recovered");
}

#[test]
fn answers_are_judged_by_the_time_for_which_a_cache_keeps_them_that_has_grown() {
    const ANSWERS: u32 = 20_000;
    let config = OptimizationConfig { cache_capacity: 100, ..OptimizationConfig::default() };
    let flights = Arc::new(Flights::new(&config).unwrap());
    flights.resize(2 * ANSWERS as usize, 64 << 20).unwrap();
    for n in 0..ANSWERS {
        flights.lead(n).complete(answer("asked for again when all others were"));
    }
    assert_eq!(flights.store.stats().not_admitted, 0);
    let hits = (0..ANSWERS).filter(|n| flights.stored(*n).is_some()).count();
    assert!(hits * 100 > ANSWERS as usize * 95, "{hits} of {ANSWERS}");
}
