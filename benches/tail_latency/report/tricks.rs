//! What each of millstream's tricks earns: a figure with the trick turned off, in times of that with it.
//!
//! Every variant is held against what it is a variant of, round by round, in the scenarios in which both took part.

use serde::Serialize;

use crate::{
    contenders::{Entry, entries},
    experiments::{open_loop::Outcome, probe::Probed, round_trip::RoundTrip},
    results::Results,
    stats::Ratio,
};

/// Who is once more what another one is.
const CONTROL: &str = "millstream_again";

/// One trick in one scenario.
#[derive(Serialize)]
pub(crate) struct Trick {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) scenario: String,
    pub(crate) figure: &'static str,
    /// Without it, in times of with it.
    pub(crate) ratio: Ratio,
}

impl Trick {
    /// Whether it is the control, whose ratios are noise.
    pub(crate) fn is_control(&self) -> bool {
        self.name == CONTROL
    }
}

/// All of them.
pub(crate) fn tricks(results: &Results) -> Vec<Trick> {
    entries().filter(|entry| entry.is_variant()).flat_map(|variant| of(results, variant)).collect()
}

fn of(results: &Results, variant: &'static Entry) -> Vec<Trick> {
    let (name, whole) = (variant.name, whole(variant.name));
    let trick = |scenario: String, figure, pairs: Vec<(f64, f64)>| {
        Some(Trick { name, what: variant.what, scenario, figure, ratio: Ratio::of(&pairs)? })
    };
    let cells = results.cells.iter().filter_map(|cell| {
        let (without, with) = (cell.series(name, false)?, cell.series(whole, false)?);
        let p99s = |rounds: &[Outcome]| rounds.iter().map(|outcome| outcome.at(0.99)).collect::<Vec<_>>();
        let scenario = format!("{} at {:.0}%", cell.cell.kind.name, cell.cell.load * 100.0);
        trick(scenario, "p99", paired(p99s(&without.rounds), p99s(&with.rounds)))
    });
    let round_trips =
        results.round_trips.iter().filter(|((_, who), _)| *who == name).filter_map(|(key, without)| {
            let rhythm = key.0;
            let with = results.round_trips.get(&(rhythm, whole))?;
            let scenario = format!("round trip of {} µs, {} ms apart", rhythm.service_us, rhythm.gap_ms);
            let p50s = |rounds: &[RoundTrip]| rounds.iter().map(|time| time.p50_us).collect::<Vec<_>>();
            trick(scenario, "p50", paired(p50s(without), p50s(with)))
        });
    let tiny_jobs =
        results.tiny_jobs.iter().filter(|((_, who), _)| *who == name).filter_map(|(key, without)| {
            let with = results.tiny_jobs.get(&(key.0, whole))?;
            trick(
                format!("tiny jobs, {} in flight", key.0),
                "jobs a second",
                paired(without.clone(), with.clone()),
            )
        });
    let probes = results.probes.get(name).into_iter().filter_map(|without| {
        let late = |rounds: &[Probed]| rounds.iter().map(|probed| probed.late_p99_us).collect::<Vec<_>>();
        trick("probe".to_owned(), "lateness at p99", paired(late(without), late(results.probes.get(whole)?)))
    });
    cells.chain(round_trips).chain(tiny_jobs).chain(probes).collect()
}

/// What it is a variant of.
fn whole(variant: &str) -> &'static str {
    if variant.starts_with("millstream_stream") { "millstream_stream" } else { "millstream" }
}

fn paired(without: Vec<f64>, with: Vec<f64>) -> Vec<(f64, f64)> {
    without.into_iter().zip(with).collect()
}
