//! The range of every setting, and the error that names the one that is out of it.

use std::{
    fmt::{Debug, Display},
    ops::RangeInclusive,
    time::Duration,
};

use super::{OptimizationConfig, Pinning};

/// Lanes count messages in 20 bits (`worker_pool::lanes::room`).
const MOST_MESSAGES: usize = (1 << 20) - 1;
/// A terabyte: far beyond any machine, and far below what the byte counters hold.
const MOST_BYTES: usize = 1 << 40;
/// Loads that a level may begin at: 1 is where waits begin to be too long.
const LEAST_LOAD: f64 = 0.01;
const MOST_LOAD: f64 = 1e6;
const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} = {value} cannot work: {expected}")]
pub struct ConfigError {
    /// The field of [`OptimizationConfig`], as it is written in a file.
    pub field: &'static str,
    /// The value that it has.
    pub value: String,
    /// What would be right.
    pub expected: String,
}

impl ConfigError {
    fn new(field: &'static str, value: impl Display, expected: impl Into<String>) -> Self {
        Self { field, value: value.to_string(), expected: expected.into() }
    }
}

/// A number within its range.
pub(crate) fn count<T: PartialOrd + Display>(
    field: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::new(field, value, format!("it must be from {} to {}", range.start(), range.end())))
}

/// A duration within its range.
pub(crate) fn time(
    field: &'static str,
    value: Duration,
    range: RangeInclusive<Duration>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let expected = format!("it must be from {:?} to {:?}", range.start(), range.end());
    Err(ConfigError::new(field, format_args!("{value:?}"), expected))
}

/// A share of a whole. NaN is none.
fn share(field: &'static str, value: f64) -> Result<(), ConfigError> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    Err(ConfigError::new(field, value, "it must be above 0 and at most 1"))
}

/// A share that leaves at least as much. NaN is none.
fn lesser_share(field: &'static str, value: f64) -> Result<(), ConfigError> {
    if (0.0..=0.5).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::new(field, value, "it must be from 0 to 0.5"))
}

/// Each field by itself, then how they go together.
pub(super) fn check(config: &OptimizationConfig) -> Result<(), ConfigError> {
    // Taken apart so that a new field does not compile until it is looked at here.
    let OptimizationConfig {
        worker_count,
        worker_queue_capacity,
        worker_timeout,
        worker_pinning,
        worker_niceness,
        worker_spin,
        await_spin,
        in_place_budget,
        worker_substitutes,
        enable_length_scheduling: _,
        long_work_share,
        worker_demotions,
        enable_stream_fairness: _,
        batch_size,
        batch_timeout,
        max_batch_wait,
        cache_capacity,
        cache_byte_capacity,
        cache_ttl,
        cache_stale_ttl,
        enable_cache_compression: _,
        service_pool_size,
        validator_pool_size,
        buffer_pool_size,
        buffer_initial_capacity,
        buffer_max_capacity,
        backpressure_threshold,
        backpressure_window,
        when_full: _,
        when_full_high: _,
        when_full_low: _,
        make_room: _,
        deadline_admission: _,
        deadline_wait_share,
        fair_wait_share,
        queue_control: _,
        queue_target_services,
        queue_target_min,
        queue_target_max,
        queue_interval,
        overload_warning,
        overload_critical,
        overload_emergency,
        max_bytes_in_flight,
        max_concurrent_connections,
        enable_metrics: _,
        metrics_interval,
        enable_detailed_tracing: _,
        stream_channel_capacity,
        stream_timeout,
        enable_stream_compression: _,
    } = *config;

    count("worker_count", worker_count, 1..=1024)?;
    count("worker_queue_capacity", worker_queue_capacity, 1..=MOST_MESSAGES)?;
    time("worker_timeout", worker_timeout, MILLISECOND..=DAY)?;
    if let Pinning::ReserveForIo(0) = worker_pinning {
        return Err(ConfigError::new(
            "worker_pinning",
            worker_pinning,
            "reserve at least one core, or write `all`",
        ));
    }
    count("worker_niceness", worker_niceness, 0..=19)?;
    time("worker_spin", worker_spin, Duration::ZERO..=MILLISECOND)?;
    time("await_spin", await_spin, Duration::ZERO..=MILLISECOND)?;
    time("in_place_budget", in_place_budget, Duration::ZERO..=MILLISECOND)?;
    count("worker_substitutes", worker_substitutes, 0..=1024)?;
    lesser_share("long_work_share", long_work_share)?;
    count("worker_demotions", worker_demotions, 0..=1024)?;
    count("batch_size", batch_size, 1..=4096)?;
    time("batch_timeout", batch_timeout, Duration::ZERO..=Duration::from_secs(60))?;
    time("max_batch_wait", max_batch_wait, Duration::ZERO..=Duration::from_secs(60))?;
    count("cache_capacity", cache_capacity, 1..=1 << 28)?;
    count("cache_byte_capacity", cache_byte_capacity, 1024..=MOST_BYTES)?;
    time("cache_ttl", cache_ttl, MILLISECOND..=30 * DAY)?;
    time("cache_stale_ttl", cache_stale_ttl, Duration::ZERO..=30 * DAY)?;
    count("service_pool_size", service_pool_size, 1..=65_536)?;
    count("validator_pool_size", validator_pool_size, 1..=65_536)?;
    count("buffer_pool_size", buffer_pool_size, 1..=1 << 20)?;
    count("buffer_initial_capacity", buffer_initial_capacity, 1..=1 << 30)?;
    count("buffer_max_capacity", buffer_max_capacity, 1..=1 << 30)?;
    share("backpressure_threshold", backpressure_threshold)?;
    time("backpressure_window", backpressure_window, MILLISECOND..=HOUR)?;
    share("deadline_wait_share", deadline_wait_share)?;
    share("fair_wait_share", fair_wait_share)?;
    // Below a tenth of a service time every queue is too long; above a thousand none is.
    count("queue_target_services", queue_target_services, 0.1..=1000.0)?;
    time("queue_target_min", queue_target_min, Duration::from_micros(1)..=HOUR)?;
    time("queue_target_max", queue_target_max, Duration::from_micros(1)..=HOUR)?;
    time("queue_interval", queue_interval, MILLISECOND..=HOUR)?;
    count("overload_warning", overload_warning, LEAST_LOAD..=MOST_LOAD)?;
    count("overload_critical", overload_critical, LEAST_LOAD..=MOST_LOAD)?;
    count("overload_emergency", overload_emergency, LEAST_LOAD..=MOST_LOAD)?;
    count("max_bytes_in_flight", max_bytes_in_flight, 1024..=MOST_BYTES)?;
    count("max_concurrent_connections", max_concurrent_connections, 1..=1_000_000)?;
    time("metrics_interval", metrics_interval, 10 * MILLISECOND..=HOUR)?;
    count("stream_channel_capacity", stream_channel_capacity, 1..=MOST_MESSAGES)?;
    time("stream_timeout", stream_timeout, MILLISECOND..=DAY)?;

    at_most("queue_target_min", queue_target_min, "queue_target_max", queue_target_max)?;
    at_most("overload_warning", overload_warning, "overload_critical", overload_critical)?;
    at_most("overload_critical", overload_critical, "overload_emergency", overload_emergency)?;
    at_most("batch_timeout", batch_timeout, "max_batch_wait", max_batch_wait)?;
    at_most("buffer_initial_capacity", buffer_initial_capacity, "buffer_max_capacity", buffer_max_capacity)
}

fn at_most<T: PartialOrd + Debug>(
    field: &'static str,
    value: T,
    other: &'static str,
    bound: T,
) -> Result<(), ConfigError> {
    if value <= bound {
        return Ok(());
    }
    Err(ConfigError::new(field, format_args!("{value:?}"), format!("it must be at most {other} = {bound:?}")))
}
