//! What is to be reached, in the form that all benches print and write.
//!
//! A goal is met when all its parts are. Its figure is that of the part that is farthest from its bound, or nearest to
//! it. A part that was not measured has no figure, and its goal is not met.

use std::fmt;

use serde::Serialize;

use crate::words::figure;

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

    pub(crate) fn at_most(
        what: impl Into<String>,
        figure: Option<f64>,
        bound: impl Into<Option<f64>>,
    ) -> Self {
        Self::new(what, figure, Side::Most, bound.into())
    }

    pub(crate) fn at_least(
        what: impl Into<String>,
        figure: Option<f64>,
        bound: impl Into<Option<f64>>,
    ) -> Self {
        Self::new(what, figure, Side::Least, bound.into())
    }

    pub(crate) fn below(what: impl Into<String>, figure: Option<f64>, bound: impl Into<Option<f64>>) -> Self {
        Self::new(what, figure, Side::Below, bound.into())
    }

    /// Only shown.
    pub(crate) fn informative(self) -> Self {
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
    pub(crate) fn new(number: u32, text: &'static str, parts: Vec<Part>) -> Self {
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

/// As a sentence, and a line for each part.
impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.met { "met" } else { "NOT MET" };
        write!(f, "{:>3}. {verdict}: {}", self.number, self.text)?;
        if self.parts.iter().all(|part| part.figure.is_none()) {
            return write!(f, "\n       not measured in this run");
        }
        self.parts.iter().try_for_each(|part| write!(f, "\n       {part}"))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = self.bound.map_or("?".to_owned(), figure);
        let figure = self.figure.map_or("not measured".to_owned(), figure);
        let wanted = match self.at {
            Side::Most => "at most",
            Side::Least => "at least",
            Side::Below => "below",
        };
        let sign = match (self.informative, self.met) {
            (true, _) => "  (for comparison)",
            (false, true) => "",
            (false, false) => "  <- missed",
        };
        write!(f, "{}: {figure}, {wanted} {bound}{sign}", self.what)
    }
}

/// The least of what there is, if there is any.
pub(crate) fn least(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    values.into_iter().flatten().min_by(f64::total_cmp)
}

/// The largest of what there is, if there is any.
pub(crate) fn most(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    values.into_iter().flatten().max_by(f64::total_cmp)
}
