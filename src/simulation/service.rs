//! How long jobs take.

use std::time::Duration;

use rand::RngExt;

use super::random::{Purpose, exponential, rng};

/// A law of service times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ServiceTimes {
    /// All alike.
    Fixed(Duration),
    /// Exponential, with this mean.
    Exponential(Duration),
    /// Short ones, and now and then a long one.
    Mixed {
        /// Most of them.
        short: Duration,
        /// The others.
        long: Duration,
        /// The share of the long ones, from 0 to 1.
        long_share: f64,
    },
}

impl ServiceTimes {
    /// The mean.
    #[must_use]
    pub fn mean(self) -> Duration {
        match self {
            Self::Fixed(time) | Self::Exponential(time) => time,
            Self::Mixed { short, long, long_share } => {
                short.mul_f64(1.0 - long_share) + long.mul_f64(long_share)
            }
        }
    }

    /// Service times without end, the same for the same seed.
    pub fn sequence(self, seed: u64) -> impl Iterator<Item = Duration> {
        let mut rng = rng(seed, Purpose::Service);
        std::iter::repeat_with(move || match self {
            Self::Fixed(time) => time,
            Self::Exponential(mean) => mean.mul_f64(exponential(&mut rng)),
            Self::Mixed { short, long, long_share } => {
                if rng.random::<f64>() < long_share {
                    long
                } else {
                    short
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_law_has_the_mean_that_it_states() {
        let mixed = ServiceTimes::Mixed {
            short: Duration::from_micros(200),
            long: Duration::from_millis(10),
            long_share: 0.05,
        };
        assert_eq!(mixed.mean(), Duration::from_micros(690));
        for law in [
            ServiceTimes::Fixed(Duration::from_millis(1)),
            ServiceTimes::Exponential(Duration::from_millis(1)),
            mixed,
        ] {
            let count = 500_000;
            let sum: Duration = law.sequence(5).take(count).sum();
            let ratio = sum.as_secs_f64() / count as f64 / law.mean().as_secs_f64();
            assert!((ratio - 1.0).abs() < 0.02, "{law:?}: {ratio} of its mean");
        }
    }
}
