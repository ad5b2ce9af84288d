//! A goal that is met when a figure is no larger than its bound, as a line and in the benches' JSON.

use std::fmt;

use serde::Serialize;

/// One goal, by its number in the specification.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    number: u32,
    text: String,
    figure: f64,
    bound: f64,
    met: bool,
}

impl Verdict {
    /// A figure that is no number has not been measured, and does not meet anything.
    pub(crate) fn at_most(number: u32, text: impl Into<String>, figure: f64, bound: f64) -> Self {
        Self { number, text: text.into(), figure, bound, met: figure <= bound }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.met { "met" } else { "NOT MET" };
        let Self { number, text, figure, bound, .. } = self;
        write!(f, "{number}. {verdict}: {text}: {figure:.2}, at most {bound:.2}")
    }
}
