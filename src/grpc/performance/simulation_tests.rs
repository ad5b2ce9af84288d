//! The whole data plane under thousands of random schedules, in virtual time: one seed decides everything.
//!
//! A schedule is a [`plan`] (configuration, arrivals, service times, deadlines, priorities, keys, and what goes wrong:
//! handlers that panic, fail, ignore their cancellation or get stuck, clients that leave, read slowly or break off, a
//! drain, threads that the system refuses, a clock that steps) and an order in which threads and tasks take their steps
//! (`platform::stage`). The code that runs is the real one; only the scheduler and the clock are the test's.
//!
//! After each step and each schedule the invariants of the data plane are checked:
//!
//! | invariant | where |
//! |---|---|
//! | one answer, that of its message, in its place; none is run twice, or when nobody waits | [`ledger`], [`clients`] |
//! | bounds on messages, bytes and threads | [`world`], [`ledger`], [`clients`] |
//! | no stall spreads: what is stuck is answered in time, and nothing waits beside a free worker | [`ledger`], [`world`] |
//! | no lost wake: when nothing can move, no worker sleeps beside a message that waits | [`world`] |
//! | the drain ends in time, and nothing that came later is run | [`clients`], [`ledger`] |
//!
//! (The sixth, that the steady state allocates nothing, is `tests/allocations.rs`.)
//!
//! Rare places in the code are marked with `reached!`; a run of [`ENOUGH`] schedules has to have been at each of them.
//!
//! Every run takes new seeds; one that fails says so. To run it again, and it alone:
//! ```sh
//! MILLSTREAM_SEED=123 cargo test --lib simulation_tests
//! ```
//! A seed that has found a fault goes into `simulation_tests/seeds.txt`. `MILLSTREAM_SCHEDULES` says how many schedules
//! to run.

mod actor;
mod clients;
mod ledger;
mod plan;
mod world;

use std::{
    collections::BTreeSet,
    env,
    hash::{BuildHasher, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::platform::{affinity, sources, stage::director::all_reached};

/// Schedules of an ordinary run of the tests, which is to be short; `.ci/run` asks for more.
const SCHEDULES: u64 = 400;
/// Schedules that reach every rare place: no other count is held to that.
const ENOUGH: u64 = 10_000;
/// Seeds that have found a fault. What a seed means changes with the code; that of its day is in the history.
const SEEDS: &str = include_str!("simulation_tests/seeds.txt");

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} = {text:?} is not a number")))
}

/// Runs the schedule of a seed, and fails with it.
fn check(seed: u64) -> world::Report {
    match catch_unwind(AssertUnwindSafe(|| world::run(seed))) {
        Ok(report) if report.faults.is_empty() => report,
        Ok(report) => panic!("MILLSTREAM_SEED={seed} breaks what must hold: {:#?}", report.faults),
        Err(_) => panic!("MILLSTREAM_SEED={seed} panics, as it says above"),
    }
}

/// On one core a hand-over is a change of threads, and wakes nobody on another.
fn stay_on_one_core() {
    if let Some(&core) = affinity::allowed_cores().first() {
        // Slower otherwise, and as right.
        let _ = affinity::pin_current_thread(core);
    }
}

#[test]
fn whatever_goes_wrong_in_whatever_order_what_must_hold_holds() {
    stay_on_one_core();
    if let Some(seed) = number("MILLSTREAM_SEED") {
        println!("{:#?}", plan::Plan::of(seed));
        println!("{:?}", check(seed));
        return;
    }
    let schedules = number("MILLSTREAM_SCHEDULES").unwrap_or(SCHEDULES);
    let first = RandomState::new().hash_one(0);
    println!("{schedules} schedules, from MILLSTREAM_SEED={first} on");
    let handovers: u64 = (0..schedules).map(|offset| check(first.wrapping_add(offset)).handovers).sum();
    println!("the threads took turns {handovers} times");
    assert!(handovers > schedules * 10, "the threads hardly meet: {handovers}");
    let (probes, reached) = (probes(), all_reached());
    let missing: Vec<_> = probes.iter().filter(|probe| !reached.contains_key(probe.as_str())).collect();
    println!("rare places, and how often they were reached: {reached:#?}");
    if schedules >= ENOUGH {
        assert!(missing.is_empty(), "{schedules} schedules never reach {missing:?}");
    }
}

#[test]
fn what_has_gone_wrong_once_does_not_again() {
    stay_on_one_core();
    for line in SEEDS.lines().filter(|line| !line.starts_with('#')) {
        check(line.parse().unwrap_or_else(|_| panic!("{line:?} is not a seed")));
    }
}

#[test]
fn a_seed_decides_everything() {
    stay_on_one_core();
    for seed in 0..20 {
        assert_eq!(check(seed), check(seed), "seed {seed}");
    }
}

#[test]
fn every_rare_place_has_a_name_of_its_own() {
    assert!(probes().len() > 10, "the sources are not where they are looked for");
}

/// The names in `reached!("…")` throughout the crate.
fn probes() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (path, code) in sources::below("") {
        for place in code.split("reached!(\"").skip(1) {
            let name = place.split('"').next().expect("a split has a first part").to_owned();
            assert!(names.insert(name.clone()), "{name:?} is reached in {path:?} and elsewhere");
        }
    }
    names
}
