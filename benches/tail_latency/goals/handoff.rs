//! Goals of the hand-off itself. All are judged on `WorkerPool::spawn`, the figures of the stream processor beside them; but
//! tiny jobs on closures whose author vouches for them, since without that word each goes to another thread.

use super::{Goal, Part};
use crate::{
    contenders::{Entry, entries},
    experiments::{
        round_trip::{Rhythm, RoundTrip},
        tiny_jobs::IN_FLIGHT,
    },
    goal::{least, most},
    results::{Results, over},
    scenarios::SMALL,
};

const POOL: &str = "millstream";
const STREAM: &str = "millstream_stream";
/// Its closures are vouched for.
const VOUCHED: &str = "millstream_in_place";
/// Its handler vouches for what is so short.
const VOUCHED_STREAM: &str = "millstream_stream_in_place";

fn peers() -> impl Iterator<Item = &'static Entry> {
    entries().filter(|entry| entry.is_peer())
}

fn ratio(figure: Option<f64>, of: Option<f64>) -> Option<f64> {
    Some(figure? / of?)
}

fn p50(time: &RoundTrip) -> f64 {
    time.p50_us
}

fn p99(time: &RoundTrip) -> f64 {
    time.p99_us
}

pub(super) fn round_trip_back_to_back(results: &Results) -> Goal {
    let rhythm = Rhythm::BACK_TO_BACK;
    let inline = results.round_trip(rhythm, "inline", p50);
    let overhead = |name| Some(results.round_trip(rhythm, name, p50)? - inline?);
    let best = least(peers().map(|peer| overhead(peer.name)));
    let best_p99 = least(peers().map(|peer| results.round_trip(rhythm, peer.name, p99)));
    Goal::new(
        1,
        "back-to-back round trip, 20 µs job: overhead over inline at p50 at most 1/5 of the best peer's; p99 no worse \
         than the best peer's",
        vec![
            Part::at_most("overhead at p50, of the best peer's", ratio(overhead(POOL), best), 0.2),
            Part::at_most("p99 in µs, and the best peer's", results.round_trip(rhythm, POOL, p99), best_p99),
            Part::at_most("overhead at p50 on a stream", ratio(overhead(STREAM), best), 0.2).informative(),
        ],
    )
}

pub(super) fn round_trip_spaced(results: &Results) -> Goal {
    let rhythm = Rhythm::SPACED;
    let best = |what| least(peers().map(|peer| results.round_trip(rhythm, peer.name, what)));
    let part = |what: &str, name, figure| {
        Part::at_most(what, results.round_trip(rhythm, name, figure), best(figure))
    };
    Goal::new(
        2,
        "round trip spaced by 1 ms, everyone asleep: p50 and p99 no worse than the best peer's",
        vec![
            part("p50 in µs, and the best peer's", POOL, p50),
            part("p99 in µs, and the best peer's", POOL, p99),
            part("p50 in µs on a stream", STREAM, p50).informative(),
            part("p99 in µs on a stream", STREAM, p99).informative(),
        ],
    )
}

pub(super) fn tiny_jobs(results: &Results) -> Goal {
    let per_s = |in_flight, name| over(results.tiny_jobs.get(&(in_flight, name))?, |rate| *rate);
    let part = |in_flight: usize, name, how: &str| {
        let best = most(peers().map(|peer| per_s(in_flight, peer.name)));
        let what = format!("jobs/s of {name} ({how}) with {in_flight} in flight, of the best peer's");
        Part::at_least(what, ratio(per_s(in_flight, name), best), 1.3)
    };
    let judged = IN_FLIGHT.map(|in_flight| part(in_flight, VOUCHED, "vouched for: they may run in place"));
    let others = [
        (POOL, "not vouched for: all handed over"),
        (STREAM, "not vouched for"),
        (VOUCHED_STREAM, "vouched for"),
    ];
    let shown = others.map(|(name, how)| IN_FLIGHT.map(|in_flight| part(in_flight, name, how).informative()));
    Goal::new(
        3,
        "tiny jobs: jobs/s at least 1.3 times the best peer's, at 64 and 1,024 in flight",
        judged.into_iter().chain(shown.into_iter().flatten()).collect(),
    )
}

pub(super) fn cpu(results: &Results) -> Goal {
    let cell = results.cell(SMALL, 0.5);
    let beyond = |name: &str| over(&cell?.series(name, false)?.rounds, |outcome| outcome.cpu_beyond_us);
    let best = least(peers().map(|peer| beyond(peer.name)));
    Goal::new(
        4,
        "CPU per job beyond the job, at 50% load of 100 µs jobs: at most half of the best peer's; idle: at most 0.2% \
         of a core over 10 s",
        vec![
            Part::at_most("CPU beyond the job, of the best peer's", ratio(beyond(POOL), best), 0.5),
            Part::at_most("share of a core while idle", results.idle, 0.002),
            Part::at_most("CPU beyond the job on streams", ratio(beyond(STREAM), best), 0.5).informative(),
            Part::at_most("CPU beyond the job inline", ratio(beyond("inline"), best), 0.5).informative(),
        ],
    )
}

pub(super) fn probe(results: &Results) -> Goal {
    let late = |name| over(results.probes.get(name)?, |probed| probed.late_p99_us);
    let per_s = |name| over(results.probes.get(name)?, |probed| probed.jobs_per_s);
    let rivals = || entries().filter(|entry| entry.is_bounded_peer());
    let best_late = least(rivals().map(|peer| late(peer.name)));
    let best_per_s = most(rivals().map(|peer| per_s(peer.name)));
    Goal::new(
        5,
        "probe task's lateness while saturated: p99 at most 150 µs and at least 10 times better than the best \
         two-worker peer's, at no more than 5% less throughput",
        vec![
            Part::at_most("p99 in µs", late(POOL), 150.0),
            Part::at_least("times better than the best peer", ratio(best_late, late(POOL)), 10.0),
            Part::at_least("throughput, of the best peer's", ratio(per_s(POOL), best_per_s), 0.95),
            Part::at_most("p99 in µs beside streams", late(STREAM), 150.0).informative(),
            Part::at_least("throughput of streams", ratio(per_s(STREAM), best_per_s), 0.95).informative(),
        ],
    )
}

pub(super) fn spawning(results: &Results) -> Goal {
    let cost = |producers, name| over(results.spawning.get(&(producers, name))?, |cost| *cost);
    let growth = |name| ratio(cost(16, name), cost(1, name));
    let best = least(peers().map(|peer| growth(peer.name)));
    Goal::new(
        10,
        "spawning 1,600 tiny tasks from each of 1 to 16 producer threads: cost per task at 16 at most 1.5 times that \
         at 1",
        vec![
            Part::at_most("cost at 16 producers, of that at 1", growth(POOL), 1.5),
            Part::at_most("the same of the best peer", best, 1.5).informative(),
        ],
    )
}
