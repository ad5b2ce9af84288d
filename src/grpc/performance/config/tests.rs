//! The specification's four tests as they stand, then every range.

use super::*;

#[test]
fn test_default_config_validation() {
    let config = OptimizationConfig::default();
    assert!(config.validate().is_ok());
}

#[test]
fn test_high_performance_config() {
    let config = OptimizationConfig::high_performance();
    assert!(config.worker_count >= num_cpus::get());
    assert!(config.validate().is_ok());
}

#[test]
fn test_memory_efficient_config() {
    let config = OptimizationConfig::memory_efficient();
    assert_eq!(config.worker_count, 2);
    assert!(config.validate().is_ok());
}

#[test]
#[allow(clippy::field_reassign_with_default)]
fn test_config_validation_errors() {
    let mut config = OptimizationConfig::default();
    config.worker_count = 0;
    assert!(config.validate().is_err());
}

/// The error for the default configuration with one thing changed.
fn refusal(change: impl FnOnce(&mut OptimizationConfig)) -> ConfigError {
    let mut config = OptimizationConfig::default();
    change(&mut config);
    config.validate().unwrap_err()
}

#[test]
fn every_preset_is_valid() {
    for level in [
        PerformanceLevel::MemoryEfficient,
        PerformanceLevel::Balanced,
        PerformanceLevel::HighPerformance,
        PerformanceLevel::Custom,
    ] {
        assert_eq!(level.to_config().validate(), Ok(()), "{level:?}");
    }
    assert_eq!(OptimizationConfig::development().validate(), Ok(()));
}

#[test]
fn zero_is_refused_where_it_cannot_work_and_the_field_is_named() {
    let zero = Duration::ZERO;
    let refused = [
        refusal(|c| c.worker_count = 0),
        refusal(|c| c.worker_queue_capacity = 0),
        refusal(|c| c.worker_timeout = zero),
        refusal(|c| c.worker_pinning = Pinning::ReserveForIo(0)),
        refusal(|c| c.batch_size = 0),
        refusal(|c| c.cache_capacity = 0),
        refusal(|c| c.cache_byte_capacity = 0),
        refusal(|c| c.cache_ttl = zero),
        refusal(|c| c.service_pool_size = 0),
        refusal(|c| c.validator_pool_size = 0),
        refusal(|c| c.buffer_pool_size = 0),
        refusal(|c| c.buffer_initial_capacity = 0),
        refusal(|c| c.buffer_max_capacity = 0),
        refusal(|c| c.backpressure_threshold = 0.0),
        refusal(|c| c.backpressure_window = zero),
        refusal(|c| c.max_bytes_in_flight = 0),
        refusal(|c| c.max_concurrent_connections = 0),
        refusal(|c| c.metrics_interval = zero),
        refusal(|c| c.stream_channel_capacity = 0),
        refusal(|c| c.stream_timeout = zero),
    ];
    let fields: Vec<_> = refused.iter().map(|error| error.field).collect();
    assert_eq!(
        fields,
        [
            "worker_count",
            "worker_queue_capacity",
            "worker_timeout",
            "worker_pinning",
            "batch_size",
            "cache_capacity",
            "cache_byte_capacity",
            "cache_ttl",
            "service_pool_size",
            "validator_pool_size",
            "buffer_pool_size",
            "buffer_initial_capacity",
            "buffer_max_capacity",
            "backpressure_threshold",
            "backpressure_window",
            "max_bytes_in_flight",
            "max_concurrent_connections",
            "metrics_interval",
            "stream_channel_capacity",
            "stream_timeout",
        ]
    );
    assert!(
        refused.iter().all(|error| error.value.starts_with('0') || error.value == "reserve:0"),
        "{refused:?}"
    );
}

#[test]
fn what_is_absurd_is_refused() {
    for error in [
        refusal(|c| c.worker_count = 1025),
        refusal(|c| c.worker_queue_capacity = 1 << 20),
        refusal(|c| c.worker_timeout = Duration::MAX),
        refusal(|c| c.worker_spin = Duration::from_secs(1)),
        refusal(|c| c.worker_niceness = 20),
        refusal(|c| c.worker_substitutes = 1025),
        refusal(|c| c.long_work_share = f64::NAN),
        refusal(|c| c.long_work_share = 0.6),
        refusal(|c| c.worker_demotions = 1025),
        refusal(|c| c.batch_size = 4097),
        refusal(|c| c.cache_ttl = Duration::MAX),
        refusal(|c| c.cache_stale_ttl = Duration::MAX),
        refusal(|c| c.backpressure_threshold = f64::NAN),
        refusal(|c| c.deadline_wait_share = f64::NAN),
        refusal(|c| c.deadline_wait_share = 1.1),
        refusal(|c| c.backpressure_threshold = -0.1),
        refusal(|c| c.backpressure_threshold = 1.1),
        refusal(|c| c.max_concurrent_connections = usize::MAX),
    ] {
        assert!(error.expected.starts_with("it must be"), "{error}");
    }
}

#[test]
fn fields_that_do_not_go_together_are_refused() {
    let error = refusal(|c| c.batch_timeout = Duration::from_millis(51));
    assert_eq!(
        error.to_string(),
        "batch_timeout = 51ms cannot work: it must be at most max_batch_wait = 50ms"
    );
    let error = refusal(|c| c.buffer_initial_capacity = (1 << 20) + 1);
    assert_eq!(error.field, "buffer_initial_capacity");
}

#[test]
fn pinning_reads_what_it_writes() {
    for pinning in [Pinning::Off, Pinning::AllCores, Pinning::ReserveForIo(3)] {
        assert_eq!(pinning.to_string().parse(), Ok(pinning));
    }
    assert!("reserve".parse::<Pinning>().unwrap_err().contains("`reserve:N`"));
}
