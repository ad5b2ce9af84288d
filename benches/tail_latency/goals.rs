//! What millstream is to reach, judged by the medians over rounds of one run.
//!
//! A goal is met when all its parts are. Its figure is that of the part that is farthest from its bound, or nearest to
//! it. A part that was not measured has no figure, and its goal is not met. The peers of a goal are the executors that
//! hand work over; `inline` hands nothing over, is no peer, and is what overheads are measured from.

mod handoff;
mod tail;

use serde::Serialize;

pub(crate) use tail::duels;

use crate::results::Results;

/// One line of the list.
#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) number: u32,
    pub(crate) text: &'static str,
    pub(crate) figure: Option<f64>,
    pub(crate) bound: Option<f64>,
    pub(crate) met: bool,
    pub(crate) parts: Vec<Part>,
}

/// One condition of a goal.
#[derive(Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) what: String,
    pub(crate) figure: Option<f64>,
    pub(crate) at: Side,
    pub(crate) bound: Option<f64>,
    pub(crate) met: bool,
    /// Shown for comparison only; the goal does not depend on it.
    pub(crate) informative: bool,
}

/// On which side of the bound the figure is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    Most,
    Least,
    Below,
}

impl Part {
    fn new(what: impl Into<String>, figure: Option<f64>, at: Side, bound: Option<f64>) -> Self {
        let met = figure.zip(bound).is_some_and(|(figure, bound)| match at {
            Side::Most => figure <= bound,
            Side::Least => figure >= bound,
            Side::Below => figure < bound,
        });
        Self { what: what.into(), figure, at, bound, met, informative: false }
    }

    fn at_most(what: impl Into<String>, figure: Option<f64>, bound: impl Into<Option<f64>>) -> Self {
        Self::new(what, figure, Side::Most, bound.into())
    }

    fn at_least(what: impl Into<String>, figure: Option<f64>, bound: impl Into<Option<f64>>) -> Self {
        Self::new(what, figure, Side::Least, bound.into())
    }

    fn below(what: impl Into<String>, figure: Option<f64>, bound: impl Into<Option<f64>>) -> Self {
        Self::new(what, figure, Side::Below, bound.into())
    }

    /// Only shown.
    fn informative(self) -> Self {
        Self { informative: true, ..self }
    }

    /// How much of what is allowed is used: 1 is the bound.
    fn strain(&self) -> f64 {
        match (self.figure, self.bound, self.at) {
            (Some(figure), Some(bound), Side::Most | Side::Below) => figure / bound,
            (Some(figure), Some(bound), Side::Least) => bound / figure,
            _ => f64::INFINITY,
        }
    }
}

impl Goal {
    fn new(number: u32, text: &'static str, parts: Vec<Part>) -> Self {
        let judged = || parts.iter().filter(|part| !part.informative);
        let worst = judged().max_by(|one, other| one.strain().total_cmp(&other.strain()));
        Self {
            number,
            text,
            figure: worst.and_then(|part| part.figure),
            bound: worst.and_then(|part| part.bound),
            met: judged().all(|part| part.met) && judged().next().is_some(),
            parts,
        }
    }
}

/// All goals that this bench can judge. Those of whole servers, of allocation and of growth are judged elsewhere.
pub(crate) fn judge(results: &Results) -> Vec<Goal> {
    vec![
        handoff::round_trip_back_to_back(results),
        handoff::round_trip_spaced(results),
        handoff::tiny_jobs(results),
        handoff::cpu(results),
        handoff::probe(results),
        tail::near_the_ideal(results),
        tail::short_beside_long(results),
        tail::highest_mixed_load(results),
        tail::ahead_of_every_peer(results),
        handoff::spawning(results),
    ]
}

/// The least of what there is, if there is any.
fn least(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    values.into_iter().flatten().min_by(f64::total_cmp)
}

/// The largest of what there is, if there is any.
fn most(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    values.into_iter().flatten().max_by(f64::total_cmp)
}
