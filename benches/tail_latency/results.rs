//! All that was measured, and the medians that goals and reports ask for.

use std::collections::BTreeMap;

use crate::{
    experiments::{
        fairness::{Setting, Shared},
        open_loop::{Outcome, Times},
        probe::Probed,
        round_trip::{Rhythm, RoundTrip},
    },
    referee::Validity,
    scenarios::{Cell, Participant},
    stats::median,
};

type Name = &'static str;

/// Everything, by round.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) rounds: usize,
    pub(crate) cells: Vec<CellResults>,
    pub(crate) round_trips: BTreeMap<(Rhythm, Name), Vec<RoundTrip>>,
    /// Jobs a second by jobs in flight.
    pub(crate) tiny_jobs: BTreeMap<(usize, Name), Vec<f64>>,
    pub(crate) probes: BTreeMap<Name, Vec<Probed>>,
    /// Nanoseconds a job by producers.
    pub(crate) spawning: BTreeMap<(usize, Name), Vec<f64>>,
    pub(crate) fairness: BTreeMap<Setting, Vec<Shared>>,
    /// CPU time as a share of one core.
    pub(crate) idle: Option<f64>,
    pub(crate) validity: Validity,
}

/// One kind of work at one load.
pub(crate) struct CellResults {
    pub(crate) cell: Cell,
    pub(crate) capacity_per_s: f64,
    /// Ideal servers, first come first served, on the trace of each round.
    pub(crate) ideal: Vec<Times>,
    /// Ideal servers that know what is short.
    pub(crate) floor: Vec<Times>,
    pub(crate) series: Vec<Series>,
}

/// The rounds of one contender; the same index is the same trace for all.
pub(crate) struct Series {
    pub(crate) participant: Participant,
    pub(crate) rounds: Vec<Outcome>,
}

/// The median over rounds of something.
pub(crate) fn over<T>(rounds: &[T], what: impl Fn(&T) -> f64) -> Option<f64> {
    median(rounds.iter().map(what))
}

impl CellResults {
    pub(crate) fn series(&self, name: &str, checkpoints: bool) -> Option<&Series> {
        self.series.iter().find(|series| {
            series.participant.entry.name == name && series.participant.checkpoints == checkpoints
        })
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(|series| series.participant.entry.is_peer())
    }

    /// Who stands in the table of the scenario whose handlers call checkpoints or do not: peers in both.
    pub(crate) fn table(&self, checkpoints: bool) -> impl Iterator<Item = &Series> {
        let has_both = |name: &str| self.series(name, true).is_some();
        self.series.iter().filter(move |series| {
            let Participant { entry, checkpoints: calls } = series.participant;
            calls == checkpoints || (checkpoints && !has_both(entry.name) && !entry.is_variant())
        })
    }
}

impl Results {
    pub(crate) fn cell(&self, kind: &str, load: f64) -> Option<&CellResults> {
        self.cells.iter().find(|results| results.cell.kind.name == kind && results.cell.load == load)
    }

    /// The median over rounds of something about a round trip.
    pub(crate) fn round_trip(
        &self,
        rhythm: Rhythm,
        name: &'static str,
        what: fn(&RoundTrip) -> f64,
    ) -> Option<f64> {
        over(self.round_trips.get(&(rhythm, name))?, what)
    }
}
