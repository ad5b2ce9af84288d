//! More than can be done.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    clock::process_cpu,
    figures::{median, quantile},
    offer::{Phase, Sample, offer},
    plant::{SERVICE, plane},
    words::time,
};

pub(crate) const DEADLINE: Duration = Duration::from_millis(50);
pub(crate) const SEED: u64 = 20_260_401;
/// Offered of what the cores could do at best, so that none of them is ever idle, and how long the capacity is measured
/// for.
const SATURATING: f64 = 1.3;
const CALIBRATION: Duration = Duration::from_secs(4);
/// After the load has changed, until what is measured counts.
pub(crate) const SETTLED: Duration = Duration::from_secs(1);
/// Waits shorter than this say nothing of a forecast: they are the time of a wake.
const WAIT: Duration = Duration::from_millis(1);

/// Messages a second that the plane serves of those that come in an open loop, whenever that is.
pub(crate) fn capacity() -> f64 {
    let plane = plane(|config| config.worker_queue_capacity = 100_000);
    let at_best = plane.pool().workers() as f64 / SERVICE.as_secs_f64();
    let phase = Phase { rate_per_s: SATURATING * at_best, length: CALIBRATION };
    let samples = offer(&plane, &[phase], None, SEED);
    let counted = SETTLED..CALIBRATION;
    let served = samples.iter().filter(|sample| counted.contains(&(sample.due + sample.sojourn))).count();
    served as f64 / (CALIBRATION - SETTLED).as_secs_f64()
}

/// What became of a steady load.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    /// What was offered, of the capacity.
    pub(crate) offered: f64,
    /// Answers in time, of the capacity.
    pub(crate) goodput: f64,
    /// Of the messages that were served.
    pub(crate) p99_ms: f64,
    /// The median of the error of the predicted wait, of the wait.
    pub(crate) forecast_error: Option<f64>,
    /// CPU time of the whole process for a message that came, its work and the load generator's part in it.
    pub(crate) cpu_us: f64,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offered, goodput, p99_ms, forecast_error, cpu_us } = self;
        write!(
            f,
            "At {offered} times the capacity: goodput {:.1}% of it, p99 {}",
            goodput * 100.0,
            time(p99_ms * 1e3)
        )?;
        if let Some(error) = forecast_error {
            write!(f, "; half of the predicted waits are within {:.1}%", error * 100.0)?;
        }
        write!(f, "; {} of CPU time for each that came.", time(*cpu_us))
    }
}

/// The p99 of what was served, in milliseconds.
pub(crate) fn p99_ms<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> f64 {
    let served = samples.into_iter().filter(|sample| sample.served);
    let mut sojourns: Vec<_> = served.map(|sample| sample.sojourn).collect();
    sojourns.sort_unstable();
    quantile(&sojourns, 0.99).map_or(f64::NAN, |sojourn| sojourn.as_secs_f64() * 1e3)
}

pub(crate) fn in_time(sample: &Sample) -> bool {
    sample.served && sample.sojourn <= DEADLINE
}

/// Steady loads below and above the capacity.
pub(crate) fn loads(capacity_per_s: f64, quick: bool) -> Vec<Load> {
    let length = Duration::from_secs(if quick { 4 } else { 20 });
    let measure = |offered: f64| {
        let plane = plane(|_| ());
        let phase = Phase { rate_per_s: offered * capacity_per_s, length: SETTLED + length };
        let before = process_cpu();
        let samples = offer(&plane, &[phase], Some(DEADLINE), SEED);
        let cpu_us = (process_cpu() - before).as_secs_f64() * 1e6 / samples.len() as f64;
        let counted: Vec<_> = samples.into_iter().filter(|sample| sample.due >= SETTLED).collect();
        let goodput = counted.iter().filter(|sample| in_time(sample)).count() as f64 / length.as_secs_f64();
        let errors = counted.iter().filter_map(|sample| {
            let waited = sample.waited.filter(|waited| *waited >= WAIT)?;
            Some(sample.predicted.abs_diff(waited).as_secs_f64() / waited.as_secs_f64())
        });
        Load {
            offered,
            goodput: goodput / capacity_per_s,
            p99_ms: p99_ms(&counted),
            forecast_error: median(errors),
            cpu_us,
        }
    };
    [0.5, 2.0, 4.0].map(measure).into()
}
