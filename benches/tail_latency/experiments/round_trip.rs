//! How long one job takes that is alone: handed over, done, and its answer in hand.

use std::time::Duration;

use serde::Serialize;

use super::open_loop::us;
use crate::{
    contenders::{Contender, Entry},
    stats::quantile,
    work::Work,
};

/// How the jobs follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Rhythm {
    pub(crate) service_us: u64,
    /// From an answer to the next job; long enough for everybody to fall asleep, or none.
    pub(crate) gap_ms: u64,
}

impl Rhythm {
    pub(crate) const ALL: [Self; 4] = [
        Self { service_us: 0, gap_ms: 0 },
        Self { service_us: 20, gap_ms: 0 },
        Self { service_us: 0, gap_ms: 1 },
        Self { service_us: 20, gap_ms: 1 },
    ];
    pub(crate) const BACK_TO_BACK: Self = Self::ALL[1];
    pub(crate) const SPACED: Self = Self::ALL[3];

    fn count(self) -> usize {
        if self.gap_ms == 0 { 2000 } else { 120 }
    }
}

/// What one run gave.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct RoundTrip {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

pub(crate) fn run(entry: &Entry, rhythm: Rhythm) -> RoundTrip {
    let contender: Box<dyn Contender> = (entry.start)();
    let work = Work::of(Duration::from_micros(rhythm.service_us));
    let count = rhythm.count();
    contender.round_trips(work, count / 10, Duration::ZERO);
    let mut times = contender.round_trips(work, count, Duration::from_millis(rhythm.gap_ms));
    times.sort_unstable();
    let at = |q| us(quantile(&times, q).expect("there were round trips"));
    RoundTrip { p50_us: at(0.5), p99_us: at(0.99) }
}
