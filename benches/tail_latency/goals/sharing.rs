//! The goal of streams that share the workers.

use super::{Goal, Part};
use crate::{experiments::fairness::Setting, results::Results, stats::median};

pub(super) fn no_stream_crowds_out_the_others(results: &Results) -> Goal {
    // Of the same round, and so of the same trace.
    let growth = |setting| {
        let (solo, beside) = (results.fairness.get(&Setting::Solo)?, results.fairness.get(&setting)?);
        median(solo.iter().zip(beside).map(|(solo, beside)| beside.light_p99_us / solo.light_p99_us))
    };
    let rounds = results.fairness.get(&Setting::Beside).map_or(&[][..], Vec::as_slice);
    let heavy = median(rounds.iter().filter_map(|shared| Some(shared.heavy_p99_us? / shared.light_p99_us)));
    Goal::new(
        14,
        "one stream at ten times the rate of the others leaves their p99 within twice their solo p99",
        vec![
            Part::at_most("p99 of the others beside it, of their solo p99", growth(Setting::Beside), 2.0),
            Part::at_most(
                "the same without enable_stream_fairness",
                growth(Setting::BesideWithoutFairness),
                2.0,
            )
            .informative(),
            Part::at_least("its own p99, of that of the others", heavy, 1.0).informative(),
        ],
    )
}
