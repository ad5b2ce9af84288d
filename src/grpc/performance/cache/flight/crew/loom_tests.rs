use std::sync::Arc;

use bytes::Bytes;
use loom::thread;

use super::*;
use crate::grpc::performance::cache::{
    flight::{FlightSink, Lead},
    invalidation::{Scope, Scopes},
};

struct Silent;

impl FlightSink for Silent {
    fn resolved(&self, _: u32, _: Bytes) {}
    fn failed(&self, _: u32, _: Bytes) {}
    fn your_turn(&self, _: u32, _: Lead) {}
}

fn follower(token: u32) -> Option<Follower> {
    Some(Follower { sink: Arc::new(Silent), token })
}

fn finding(begun: Moment) -> Finding {
    let mut scopes = Scopes::default();
    scopes.add_tag("red");
    Finding { verdict: Verdict::Answer(Bytes::from_static(b"done")), begun, scopes }
}

/// A flight that is worked on, and the clock of the invalidations.
type Shared = Arc<(Flight, Invalidations)>;

fn shared() -> Shared {
    Arc::new((Flight::new(CacheKey::of(&[b"key"])), Invalidations::new()))
}

fn spawn<R: 'static>(
    shared: &Shared,
    work: impl FnOnce(&Flight, &Invalidations) -> R + 'static,
) -> thread::JoinHandle<R> {
    let shared = Arc::clone(shared);
    thread::spawn(move || work(&shared.0, &shared.1))
}

/// Whether it follows now; if not, what it found.
fn join(flight: &Flight, invalidations: &Invalidations, token: u32) -> Result<(), Option<Verdict>> {
    flight
        .board(&mut follower(token), Wanted::Verdict, invalidations)
        .expect("a follower was brought")
        .map(drop)
}

fn tokens(told: VecDeque<Waiting>) -> Vec<u32> {
    let mut tokens: Vec<u32> = told.into_iter().map(|waiting| waiting.follower.token).collect();
    tokens.sort_unstable();
    tokens
}

#[test]
fn who_joins_while_a_flight_is_settled_is_told_or_takes_the_answer() {
    loom::model(|| {
        let shared = shared();
        let joining = [1, 2].map(|token| spawn(&shared, move |flight, clock| join(flight, clock, token)));
        let settlement = shared.0.settle(0, &finding(shared.1.now()), &shared.1).unwrap();
        assert!(settlement.next.is_none());
        let mut following = Vec::new();
        for (token, joined) in (1..).zip(joining.map(|thread| thread.join().unwrap())) {
            match joined {
                Ok(()) => following.push(token),
                Err(verdict) => assert!(verdict.is_some()),
            }
        }
        assert_eq!(tokens(settlement.told), following);
    });
}

#[test]
fn a_turn_is_ended_once_by_who_settles_or_who_abandons_and_the_follower_is_seen_to() {
    loom::model(|| {
        let shared = shared();
        assert!(join(&shared.0, &shared.1, 7).is_ok());
        let abandoning = spawn(
            &shared,
            |flight, _| matches!(flight.relieve(0), Relief::Next(follower, 2) if follower.token == 7),
        );
        let settled = shared.0.settle(0, &finding(shared.1.now()), &shared.1);
        let passed_on = abandoning.join().unwrap();
        assert_eq!(settled.map(|settlement| tokens(settlement.told)), (!passed_on).then(|| vec![7]));
        assert_eq!(shared.0.is_at(2), passed_on);
    });
}

#[test]
fn who_joins_while_a_leader_gives_up_leads_or_finds_the_flight_over() {
    loom::model(|| {
        let shared = shared();
        let joining = spawn(&shared, |flight, clock| join(flight, clock, 7));
        let led = match shared.0.relieve(0) {
            Relief::Next(follower, 2) => Some(follower.token),
            Relief::Over => None,
            _ => panic!("it was on"),
        };
        match joining.join().unwrap() {
            Ok(()) => assert_eq!(led, Some(7)),
            Err(nothing) => assert!(nothing.is_none() && led.is_none()),
        }
    });
}

#[test]
fn of_two_that_relieve_in_turn_each_has_the_queue_for_itself() {
    loom::model(|| {
        let shared = shared();
        assert!((1..=2).all(|token| join(&shared.0, &shared.1, token).is_ok()));
        let other = spawn(
            &shared,
            |flight, _| matches!(flight.relieve(2), Relief::Next(follower, 4) if follower.token == 2),
        );
        assert!(matches!(shared.0.relieve(0), Relief::Next(follower, 2) if follower.token == 1));
        let relieved = other.join().unwrap();
        assert!(shared.0.is_at(if relieved { 4 } else { 2 }));
    });
}

#[test]
fn who_knows_of_an_invalidation_is_not_told_what_was_begun_before_it() {
    loom::model(|| {
        let shared = shared();
        let begun = shared.1.now();
        let joining = spawn(&shared, |flight, clock| {
            clock.invalidate(Scope::tag("red"));
            join(flight, clock, 7)
        });
        let settlement = shared.0.settle(0, &finding(begun), &shared.1).unwrap();
        assert!(settlement.told.is_empty(), "told something outdated");
        match joining.join().unwrap() {
            Ok(()) => {
                assert!(settlement.next.is_some_and(|(follower, turn)| (follower.token, turn) == (7, 2)))
            }
            Err(verdict) => assert!(verdict.is_none() && settlement.next.is_none()),
        }
    });
}
