//! What millstream is to reach, over the wire; see [`goal`](crate::goal).

use crate::{
    contenders::HANDED_OVER,
    generator::{Seen, Times},
    goal::{Goal, Part},
    results::{Results, ScenarioResults},
    scenarios::{DIGEST, FOUR_TIMES, LONG, MIXED, SHORT, TWICE},
};

fn p99(seen: &Seen) -> Option<f64> {
    Some(seen.times()?.p99_us)
}

fn p99_of(label: &'static str) -> impl Fn(&Seen) -> Option<f64> + Copy {
    move |seen| seen.of(label).map(|Times { p99_us, .. }| p99_us)
}

fn goodput(seen: &Seen) -> Option<f64> {
    Some(seen.goodput_per_s)
}

/// Judges what was measured: goal 11 of the tail, and goal 1 of the overload.
pub(crate) fn judge(results: &Results) -> Vec<Goal> {
    vec![over_the_wire(results), overload(results)]
}

/// A figure of ours, of the best naive server's.
fn of_best(results: Option<&ScenarioResults>, figure: impl Fn(&Seen) -> Option<f64> + Copy) -> Option<f64> {
    let results = results?;
    Some(results.ours(figure)? / results.best_naive(figure)?)
}

fn over_the_wire(results: &Results) -> Goal {
    let (digest, mixed) = (results.scenario(DIGEST), results.scenario(MIXED));
    let handed_over = digest.and_then(|digest| Some(digest.of(HANDED_OVER, p99)? / digest.best_naive(p99)?));
    Goal::new(
        11,
        "end to end over gRPC: p99 of 4 KiB digests at most the best naive server's; beside long messages, short p99 \
         at most half of the best, long p99 at most 1.1 times the best's",
        vec![
            Part::at_most("digest: p99, of the best naive server's", of_best(digest, p99), 1.0),
            Part::at_most("digest: every message handed to a worker", handed_over, 1.0).informative(),
            Part::at_most("mixed: short p99, of the best's", of_best(mixed, p99_of(SHORT)), 0.5),
            Part::at_most("mixed: long p99, of the best's", of_best(mixed, p99_of(LONG)), 1.1),
            Part::below(
                "digest: upper bound of the ratio to each",
                digest.and_then(|results| results.ratio_at_most(p99)),
                1.0,
            )
            .informative(),
        ],
    )
}

fn overload(results: &Results) -> Goal {
    let capacity = results.capacity.per_s;
    let of_capacity = |name| Some(results.scenario(name)?.ours(goodput)? / capacity);
    // The generator takes more of the cores the more it offers, which another machine's would not.
    let of_what_is_left = |name| {
        let generator = results.scenario(name)?.ours(|seen| seen.generator_cpu_share)?;
        let left = (1.0 - generator) / (1.0 - results.capacity.generator_cpu_share?);
        Some(of_capacity(name)? / left)
    };
    let p99_ms = |name| Some(results.scenario(name)?.ours(p99)? / 1e3);
    let naive = |name| Some(results.scenario(name)?.most_naive(goodput)? / capacity);
    Goal::new(
        1,
        "of the overload: at twice the capacity with deadlines of 50 ms, goodput at least 95% of it, p99 of the \
         answered at most 35 ms; at four times, at least 90%",
        vec![
            Part::at_least("twice: goodput, of the capacity", of_capacity(TWICE), 0.95),
            Part::at_most("twice: p99 of the answered in ms", p99_ms(TWICE), 35.0),
            Part::at_least("four times: goodput, of the capacity", of_capacity(FOUR_TIMES), 0.9),
            Part::at_most("four times: p99 of the answered in ms", p99_ms(FOUR_TIMES), 35.0).informative(),
            Part::at_least("twice: goodput, of what the generator leaves", of_what_is_left(TWICE), 0.95)
                .informative(),
            Part::at_least("four times: the same", of_what_is_left(FOUR_TIMES), 0.9).informative(),
            Part::at_least("twice: the best naive server's goodput", naive(TWICE), 0.95).informative(),
            Part::at_least("four times: the best naive server's", naive(FOUR_TIMES), 0.9).informative(),
        ],
    )
}
