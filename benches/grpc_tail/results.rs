//! What was measured, and the medians that goals and reports ask for.

use serde::Serialize;

use crate::{
    contenders::{CONTENDERS, Contender, OURS},
    generator::Seen,
    goal::{least, most},
    referee::Validity,
    scenarios::Scenario,
    stats::{Ratio, median},
};

/// Everything.
pub(crate) struct Results {
    pub(crate) capacity: Capacity,
    pub(crate) scenarios: Vec<ScenarioResults>,
    pub(crate) validity: Validity,
}

/// What the cores can do.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Capacity {
    /// Messages of the overload a second, with the work inline.
    pub(crate) per_s: f64,
    /// What the generator took of the cores meanwhile.
    pub(crate) generator_cpu_share: Option<f64>,
}

impl Capacity {
    /// The median over the rounds, of which there is one at least.
    pub(crate) fn median_of(rounds: &[Self]) -> Self {
        Self {
            per_s: median(rounds.iter().map(|capacity| capacity.per_s)).unwrap_or(f64::NAN),
            generator_cpu_share: median(rounds.iter().filter_map(|capacity| capacity.generator_cpu_share)),
        }
    }
}

pub(crate) struct ScenarioResults {
    pub(crate) scenario: &'static Scenario,
    pub(crate) rate_per_s: f64,
    /// As [`CONTENDERS`]; the same index within is the same round, and the same arrivals.
    pub(crate) rounds: Vec<Vec<Seen>>,
}

impl Results {
    pub(crate) fn scenario(&self, name: &str) -> Option<&ScenarioResults> {
        self.scenarios.iter().find(|results| results.scenario.name == name)
    }
}

impl ScenarioResults {
    pub(crate) fn contenders(&self) -> impl Iterator<Item = (&'static Contender, &Vec<Seen>)> {
        let part = |contender: &Contender| contender.takes_part(self.scenario.name);
        CONTENDERS.iter().zip(&self.rounds).filter(move |(contender, _)| part(contender))
    }

    /// The median over millstream's rounds.
    pub(crate) fn ours(&self, figure: impl Fn(&Seen) -> Option<f64>) -> Option<f64> {
        self.of(OURS, figure)
    }

    /// The median over the rounds of this contender.
    pub(crate) fn of(&self, name: &str, figure: impl Fn(&Seen) -> Option<f64>) -> Option<f64> {
        let (_, rounds) = self.contenders().find(|(contender, _)| contender.name == name)?;
        over(rounds, figure)
    }

    /// The least of the naive servers' medians.
    pub(crate) fn best_naive(&self, figure: impl Fn(&Seen) -> Option<f64>) -> Option<f64> {
        least(self.naive(&figure))
    }

    /// The largest of the naive servers' medians.
    pub(crate) fn most_naive(&self, figure: impl Fn(&Seen) -> Option<f64>) -> Option<f64> {
        most(self.naive(&figure))
    }

    fn naive<'a>(
        &'a self,
        figure: &'a impl Fn(&Seen) -> Option<f64>,
    ) -> impl Iterator<Item = Option<f64>> + 'a {
        let naive = self.contenders().filter(|(contender, _)| contender.is_naive());
        naive.map(move |(_, rounds)| over(rounds, figure))
    }

    /// The upper bound of the ratio of millstream's figure to that of each naive server, round by round: the largest.
    pub(crate) fn ratio_at_most(&self, figure: impl Fn(&Seen) -> Option<f64>) -> Option<f64> {
        let (_, ours) = self.contenders().find(|(contender, _)| contender.name == OURS)?;
        let bound = |theirs: &Vec<Seen>| {
            let pairs = ours.iter().zip(theirs).filter_map(|(ours, theirs)| figure(ours).zip(figure(theirs)));
            Some(Ratio::of(&pairs.collect::<Vec<_>>())?.high)
        };
        let naive = self.contenders().filter(|(contender, _)| contender.is_naive());
        most(naive.map(|(_, theirs)| bound(theirs)))
    }
}

/// The median over rounds of something that each has.
pub(crate) fn over(rounds: &[Seen], figure: impl Fn(&Seen) -> Option<f64>) -> Option<f64> {
    median(rounds.iter().filter_map(figure))
}
