//! The simulator against what queueing theory knows exactly. Traces are seeded, so each test passes always or never;
//! the tolerances are what so many correlated jobs leave of noise.

use std::{num::NonZeroUsize, time::Duration};

use super::*;

const MS: Duration = Duration::from_millis(1);

fn servers(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// `jobs` Poisson arrivals that load `count` servers to `load` with service times of mean 1 ms.
fn trace(count: usize, load: f64, service: ServiceTimes, jobs: u32, seed: u64) -> Vec<Job> {
    let rate = load * count as f64 / service.mean().as_secs_f64();
    poisson_trace(rate, service, Duration::from_secs_f64(f64::from(jobs) / rate), seed)
}

/// Waiting times in units of the mean service time.
fn waits(discipline: Discipline, count: usize, trace: &[Job]) -> Vec<f64> {
    let sojourns = simulate(discipline, servers(count), trace);
    sojourns
        .iter()
        .zip(trace)
        .map(|(sojourn, job)| (*sojourn - job.service).as_secs_f64() / MS.as_secs_f64())
        .collect()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

#[track_caller]
fn assert_close(what: &str, simulated: f64, exact: f64, tolerance: f64) {
    let error = (simulated / exact - 1.0).abs();
    assert!(
        error < tolerance,
        "{what}: simulated {simulated}, exactly {exact}, off by {:.1}%",
        error * 100.0
    );
}

/// The probability that an arrival at `count` exponential servers finds all busy (Erlang's C formula).
fn erlang_c(count: usize, load: f64) -> f64 {
    let offered = load * count as f64;
    // Erlang's B by its recursion, which neither overflows nor cancels.
    let blocked = (1..=count).fold(1.0, |b, n| offered * b / (n as f64 + offered * b));
    blocked / (1.0 - load * (1.0 - blocked))
}

#[test]
fn exponential_servers_keep_erlangs_mean_and_tail() {
    for (count, load) in [(1, 0.5), (1, 0.8), (2, 0.7), (8, 0.8)] {
        let waits = waits(
            Discipline::FirstCome,
            count,
            &trace(count, load, ServiceTimes::Exponential(MS), 600_000, 11),
        );
        let busy = erlang_c(count, load);
        // Whoever waits waits for an exponential time with this rate, in units of the service rate.
        let drain = count as f64 * (1.0 - load);
        let of = |what: &str| format!("{what} of {count} servers at {load}");
        assert_close(&of("mean wait"), mean(&waits), busy / drain, 0.06);
        for level in [0.1, 0.01] {
            let time = (busy / level).ln() / drain;
            let beyond = waits.iter().filter(|&&wait| wait > time).count() as f64 / waits.len() as f64;
            assert_close(&of("tail"), beyond, level, if level < 0.05 { 0.2 } else { 0.08 });
        }
    }
}

#[test]
fn a_server_with_fixed_times_keeps_the_mean_of_pollaczek_and_khinchine() {
    for load in [0.3, 0.7, 0.9] {
        let waits = waits(Discipline::FirstCome, 1, &trace(1, load, ServiceTimes::Fixed(MS), 300_000, 12));
        assert_close(&format!("mean wait at {load}"), mean(&waits), load / (2.0 * (1.0 - load)), 0.04);
    }
}

#[test]
fn a_mixed_law_keeps_the_mean_of_pollaczek_and_khinchine() {
    let mixed = ServiceTimes::Mixed { short: MS / 5, long: 10 * MS, long_share: 0.05 };
    let second_moment = 0.95 * 0.04 + 0.05 * 100.0;
    let load = 0.6;
    let waits = waits(Discipline::FirstCome, 1, &trace(1, load, mixed, 600_000, 13));
    let mean_service = mixed.mean().as_secs_f64() / MS.as_secs_f64();
    let exact = load / mean_service * second_moment / (2.0 * (1.0 - load));
    assert_close("mean wait", mean(&waits), exact, 0.05);
}

/// The mean sojourn time of one exponential server under shortest remaining first, in service times: the formula of
/// Schrage and Miller, integrated numerically.
fn schrage_miller(load: f64) -> f64 {
    const STEP: f64 = 0.001;
    // Up to here: load of jobs shorter than x, their second moment, and the time to get x done among them.
    let (mut below, mut second, mut residence, mut sojourn) = (0.0, 0.0, 0.0, 0.0);
    for n in 0..20_000 {
        let x = (f64::from(n) + 0.5) * STEP;
        let density = (-x).exp();
        below += load * x * density * STEP;
        second += load * x * x * density * STEP;
        residence += STEP / (1.0 - below);
        let truncated = second + load * x * x * density;
        sojourn += density * STEP * (truncated / (2.0 * (1.0 - below).powi(2)) + residence);
    }
    sojourn
}

#[test]
fn shortest_remaining_first_keeps_the_mean_of_schrage_and_miller() {
    for load in [0.5, 0.8] {
        let trace = trace(1, load, ServiceTimes::Exponential(MS), 300_000, 14);
        let sojourns: Vec<f64> = simulate(Discipline::ShortestRemaining, servers(1), &trace)
            .iter()
            .map(|sojourn| sojourn.as_secs_f64() / MS.as_secs_f64())
            .collect();
        assert_close(&format!("mean sojourn at {load}"), mean(&sojourns), schrage_miller(load), 0.03);
    }
}

#[test]
fn among_equals_nobody_is_interrupted() {
    let trace = trace(2, 0.9, ServiceTimes::Fixed(MS), 10_000, 15);
    assert_eq!(
        simulate(Discipline::ShortestRemaining, servers(2), &trace),
        simulate(Discipline::FirstCome, servers(2), &trace)
    );
}

#[test]
fn an_interrupted_job_goes_on_where_it_was_and_on_whichever_server_is_free() {
    let job = |arrival: u32, service: u32| Job { arrival: arrival * MS, service: service * MS };
    // At 2 the last arrival takes the server of the 10 ms, which goes on at 3 with 8 left, on the server that is free.
    let trace = [job(0, 3), job(0, 10), job(2, 5)];
    assert_eq!(simulate(Discipline::ShortestRemaining, servers(2), &trace), [3 * MS, 11 * MS, 5 * MS]);
}

#[test]
fn more_servers_than_jobs_make_nobody_wait() {
    let trace = trace(1, 0.9, ServiceTimes::Exponential(MS), 100, 16);
    for discipline in [Discipline::FirstCome, Discipline::ShortestRemaining] {
        let sojourns = simulate(discipline, servers(1000), &trace);
        assert!(sojourns.iter().zip(&trace).all(|(sojourn, job)| *sojourn == job.service), "{discipline:?}");
    }
}

#[test]
#[should_panic(expected = "arrival 1 of the trace is earlier")]
fn a_trace_that_goes_back_in_time_is_refused() {
    let trace = [Job { arrival: MS, service: MS }, Job { arrival: Duration::ZERO, service: MS }];
    let _ = simulate(Discipline::FirstCome, servers(1), &trace);
}
