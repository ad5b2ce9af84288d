//! When each message is due: a pure function of rate, length and seed.
//!
//! A [`Schedule`] is one arrival process for the whole run, as offsets from its start. It knows nothing of clocks,
//! streams or servers, so whatever runs it (the pacer of the load generator, or a bench that loads an executor in its own
//! process) offers the very same arrivals for the same seed.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use serde::Serialize;

use super::random::{Purpose, exponential, rng};

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Independent clients: exponential gaps. Bursts are part of it.
    #[default]
    Poisson,
    /// Evenly paced.
    Constant,
}

/// The instants at which messages are due, as offsets from the start, never decreasing, all before `length`.
///
/// ```
/// use std::time::Duration;
/// use millstream::simulation::{Arrivals, Schedule};
///
/// let every_10_ms = Schedule::new(Arrivals::Constant, 100.0, Duration::from_millis(35), 42);
/// assert_eq!(every_10_ms.map(|due| due.as_millis()).collect::<Vec<_>>(), [0, 10, 20, 30]);
/// ```
#[derive(Debug, Clone)]
pub struct Schedule {
    process: Process,
    rate_per_s: f64,
    length: Duration,
}

#[derive(Debug, Clone)]
enum Process {
    Poisson { rng: Xoshiro256PlusPlus, seconds: f64 },
    Constant { next: u64 },
}

impl Schedule {
    /// Arrivals at `rate_per_s` a second for `length`.
    ///
    /// # Panics
    /// When the rate is not a number above zero.
    #[must_use]
    pub fn new(arrivals: Arrivals, rate_per_s: f64, length: Duration, seed: u64) -> Self {
        assert!(rate_per_s.is_finite() && rate_per_s > 0.0, "a rate of {rate_per_s} per second");
        let process = match arrivals {
            Arrivals::Poisson => Process::Poisson { rng: rng(seed, Purpose::Arrivals), seconds: 0.0 },
            Arrivals::Constant => Process::Constant { next: 0 },
        };
        Self { process, rate_per_s, length }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let seconds = match &mut self.process {
            Process::Poisson { rng, seconds } => {
                *seconds += exponential(rng) / self.rate_per_s;
                *seconds
            }
            // Multiplied, not added up: rounding does not gather.
            Process::Constant { next } => {
                let number = *next;
                *next += 1;
                number as f64 / self.rate_per_s
            }
        };
        // Compared as a number first: a gap at a tiny rate may be longer than any Duration.
        (seconds < self.length.as_secs_f64()).then(|| Duration::from_secs_f64(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn offsets(arrivals: Arrivals, rate: f64, seed: u64) -> Vec<Duration> {
        Schedule::new(arrivals, rate, MINUTE, seed).collect()
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_spread_of_poisson() {
        let offsets = offsets(Arrivals::Poisson, 1000.0, 7);
        // The count of a Poisson process has the standard deviation of its root; five of them is one seed in a million.
        let expected = 60_000.0_f64;
        assert!(
            (offsets.len() as f64 - expected).abs() < 5.0 * expected.sqrt(),
            "{} arrivals",
            offsets.len()
        );

        let gaps: Vec<f64> = offsets.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 0.001).abs() < 0.000_03, "mean gap {mean}");
        assert!(
            (variance.sqrt() / mean - 1.0).abs() < 0.05,
            "exponential gaps vary by as much as their mean"
        );
    }

    #[test]
    fn constant_arrivals_are_exact_in_number_and_distance() {
        let offsets = offsets(Arrivals::Constant, 1000.0, 7);
        assert_eq!(offsets.len(), 60_000);
        assert_eq!(offsets[0], Duration::ZERO);
        assert_eq!(offsets[59_999], Duration::from_millis(59_999));
    }

    #[test]
    fn a_seed_is_a_run_and_another_seed_another_run() {
        let one = offsets(Arrivals::Poisson, 500.0, 1);
        assert_eq!(one, offsets(Arrivals::Poisson, 500.0, 1));
        assert_ne!(one, offsets(Arrivals::Poisson, 500.0, 2));
    }

    #[test]
    fn offsets_never_go_back_and_end_before_the_length() {
        for arrivals in [Arrivals::Poisson, Arrivals::Constant] {
            let offsets = offsets(arrivals, 333.3, 3);
            assert!(offsets.is_sorted());
            assert!(offsets.last().is_some_and(|&last| last < MINUTE));
        }
    }

    #[test]
    fn a_rate_that_yields_nothing_within_the_length_yields_nothing() {
        assert_eq!(Schedule::new(Arrivals::Poisson, f64::MIN_POSITIVE, MINUTE, 1).count(), 0);
    }
}
