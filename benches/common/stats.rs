//! Quantiles, medians over rounds, and how sure one may be of a ratio.

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 4000;
/// The share of the resamples that lies outside the interval, half of it on either side.
const OUTSIDE: f64 = 0.05;

/// The value at this quantile of sorted values: the smallest that at least so large a share does not exceed.
pub(crate) fn quantile<T: Copy>(sorted: &[T], quantile: f64) -> Option<T> {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// The middle value, or the mean of the two in the middle; `None` of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// A ratio over rounds: its geometric mean, which treats twice and half alike, and an interval of 95% by bootstrap.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Ratio {
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Ratio {
    /// Of the paired values of the same rounds. Rounds are resampled, never single requests: those of one round depend
    /// on each other, and a million of them would feign a certainty that a handful of rounds does not have.
    pub(crate) fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let logs: Vec<f64> = pairs
            .iter()
            .filter(|(ours, theirs)| *ours > 0.0 && *theirs > 0.0)
            .map(|(ours, theirs)| (ours / theirs).ln())
            .collect();
        if logs.is_empty() {
            return None;
        }
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(logs.len() as u64);
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / logs.len() as f64;
        let mut means: Vec<f64> = (0..RESAMPLES)
            .map(|_| mean(&mut (0..logs.len()).map(|_| logs[rng.random_range(0..logs.len())])))
            .collect();
        means.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| quantile(&means, share).expect("there are resamples").exp();
        Some(Self {
            mean: mean(&mut logs.iter().copied()).exp(),
            low: at(OUTSIDE / 2.0),
            high: at(1.0 - OUTSIDE / 2.0),
        })
    }
}
