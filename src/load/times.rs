//! A histogram of times, in microseconds with three significant digits.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Times of any length: the histogram grows with the longest, so that nothing is cut off at the top, and a stream whose
/// answers come within milliseconds pays a few KiB for it. Counters of 32 bits are enough: a run has fewer messages.
#[derive(Debug, Clone)]
pub(super) struct Times(Histogram<u32>);

impl Times {
    pub(super) fn record(&mut self, time: Duration) {
        // A day, the longest run, is 9e10 µs.
        self.0.record(time.as_micros() as u64).expect("a histogram that grows takes any time");
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("a histogram that grows takes any other");
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Percentiles {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.0.max(),
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        let mut histogram =
            Histogram::new_with_bounds(1, 2, 3).expect("1 to 2 with three digits is the smallest");
        histogram.auto(true);
        Self(histogram)
    }
}

/// Percentiles in microseconds, exact to three significant digits. All are 0 where nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Percentiles {
    /// Half took no longer.
    pub p50_us: u64,
    /// 90% took no longer.
    pub p90_us: u64,
    /// 95% took no longer.
    pub p95_us: u64,
    /// 99% took no longer.
    pub p99_us: u64,
    /// 99.9% took no longer.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_not_cut_off() {
        let mut times = Times::default();
        times.record(Duration::from_secs(3600));
        let max = times.percentiles().max_us as f64;
        assert!((max / 3.6e9 - 1.0).abs() < 0.001, "{max} us");
    }

    #[test]
    fn merged_times_are_as_if_recorded_in_one() {
        let (mut short, mut long) = (Times::default(), Times::default());
        (1..=900).for_each(|us| short.record(Duration::from_micros(us)));
        (901..=1_000).for_each(|us| long.record(Duration::from_micros(us)));
        short.merge(&long);
        let expected =
            Percentiles { p50_us: 500, p90_us: 900, p95_us: 950, p99_us: 990, p999_us: 999, max_us: 1_000 };
        assert_eq!(short.percentiles(), expected);
    }

    #[test]
    fn nothing_measured_is_zero_everywhere() {
        assert_eq!(Times::default().percentiles(), Percentiles::default());
    }
}
