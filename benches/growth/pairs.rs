//! Something on one, and the same on many, round by round.

use std::fmt;

use serde::Serialize;

use crate::{
    goal::{least, most},
    stats::{Ratio, median},
    words::time,
};

/// What became of the rounds, in microseconds a message.
#[derive(Debug, Serialize)]
pub(crate) struct Pairs {
    pub(crate) one_us: f64,
    pub(crate) many_us: f64,
    /// On many, of that on one: in the middle of the rounds, and at their ends.
    pub(crate) ratio: f64,
    pub(crate) ratio_least: f64,
    pub(crate) ratio_most: f64,
    /// Where its mean over rounds lies, as far as they can tell.
    pub(crate) mean: Ratio,
}

impl Pairs {
    /// Of pairs on one and on many, in microseconds; there is one at least.
    pub(crate) fn of(pairs: &[(f64, f64)]) -> Self {
        let middle = |of: fn(&(f64, f64)) -> f64| median(pairs.iter().map(of)).expect("there are rounds");
        let ratios = || pairs.iter().map(|(one, many)| Some(many / one));
        let turned: Vec<_> = pairs.iter().map(|&(one, many)| (many, one)).collect();
        Self {
            one_us: middle(|pair| pair.0),
            many_us: middle(|pair| pair.1),
            ratio: middle(|(one, many)| many / one),
            ratio_least: least(ratios()).expect("there are rounds"),
            ratio_most: most(ratios()).expect("there are rounds"),
            mean: Ratio::of(&turned).expect("everything takes some time"),
        }
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} on one, {} on many, {:.2} times as much ({:.2} to {:.2}; in the mean {:.2} to {:.2})",
            time(self.one_us),
            time(self.many_us),
            self.ratio,
            self.ratio_least,
            self.ratio_most,
            self.mean.low,
            self.mean.high
        )
    }
}
