//! Every knob of the data plane, with its meaning, unit, default and range.
//!
//! The configuration is plain data: it is checked once, by [`OptimizationConfig::validate`], when a
//! [`WorkerPool`](super::WorkerPool) or an [`OptimizedStreamProcessor`](super::OptimizedStreamProcessor) is built from
//! it, and does not change afterwards. In files and environments the keys are the names of the fields, and durations
//! are written as `10ms` or `5m`.
#![doc = include_str!("config/README.md")]

mod limits;
mod pinning;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use limits::ConfigError;
#[cfg(feature = "server")]
pub(crate) use limits::{count, time};
pub use pinning::Pinning;

/// What happens to a message that arrives when the lanes are full, or held back by `backpressure_threshold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The stream stops reading until there is room, so that HTTP/2 flow control slows the client; first come, first
    /// served within a priority.
    #[default]
    Wait,
    /// The message is answered with RESOURCE_EXHAUSTED and a hint when to try again.
    Shed,
}

/// What happens to a message that, by the wait predicted for it, would be answered too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadlineAdmission {
    /// It is refused at once, with RESOURCE_EXHAUSTED, the predicted wait, and a hint when to try again.
    #[default]
    Enforce,
    /// It is counted, and accepted.
    DryRun,
    /// It is accepted.
    Off,
}

/// The same for one priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFullFor {
    /// What `when_full` says.
    #[default]
    AsUsual,
    /// [`WhenFull::Wait`].
    Wait,
    /// [`WhenFull::Shed`].
    Shed,
}

/// Which messages may take the place of a queued one that is strictly worse, before they are shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MakeRoom {
    /// None.
    Off,
    /// Those of high priority.
    High,
    /// Those of high and of normal priority.
    Normal,
    /// All.
    #[default]
    All,
}

/// What happens to a message without a deadline that has waited for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueControl {
    /// It is refused where its priority sheds; where it waits, the client has chosen flow control, and it is only
    /// counted.
    #[default]
    Enforce,
    /// It is counted, and worked on.
    DryRun,
    /// It is worked on.
    Off,
}

/// The settings of the data plane. The table above says what each field does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizationConfig {
    /// Worker threads.
    pub worker_count: usize,
    /// Messages that may wait in the lanes, all priorities together.
    pub worker_queue_capacity: usize,
    /// The longest that one message may run before it is answered for and its thread replaced.
    #[serde(with = "humantime_serde")]
    pub worker_timeout: Duration,
    /// Which cores the workers are pinned to.
    pub worker_pinning: Pinning,
    /// How much workers give way to other threads, tokio's among them.
    pub worker_niceness: u8,
    /// How long a worker that finds nothing to do looks again before it sleeps, while that mostly wins and there is
    /// no long work.
    #[serde(with = "humantime_serde")]
    pub worker_spin: Duration,
    /// How long a task that awaits a short message looks out for its answer before it sleeps.
    #[serde(with = "humantime_serde")]
    pub await_spin: Duration,
    /// How long a task may itself run messages of its stream, or closures that it spawns, where their author vouches for them,
    /// before it lets others live.
    #[serde(with = "humantime_serde")]
    pub in_place_budget: Duration,
    /// Threads that may stand in for stuck ones at a time.
    pub worker_substitutes: usize,
    /// Whether messages that run far longer than most are kept out of the way of the others.
    pub enable_length_scheduling: bool,
    /// The share of the cores that long messages keep when short ones never end.
    pub long_work_share: f64,
    /// Threads that may be under way at a time with a message that turned out long.
    pub worker_demotions: usize,
    /// Whether messages of streams and peers that have used far more than most wait behind those of the others.
    pub enable_stream_fairness: bool,

    /// Messages that travel to a worker together at most.
    pub batch_size: usize,
    /// A queued batch takes another message for this long after its latest.
    #[serde(with = "humantime_serde")]
    pub batch_timeout: Duration,
    /// A queued batch takes no more messages this long after its first.
    #[serde(with = "humantime_serde")]
    pub max_batch_wait: Duration,

    /// Entries that the cache holds at most.
    pub cache_capacity: usize,
    /// Bytes of keys and values that the cache holds at most.
    pub cache_byte_capacity: usize,
    /// How long a cached answer is served.
    #[serde(with = "humantime_serde")]
    pub cache_ttl: Duration,
    /// How long after that a cached answer is still served while it is computed anew.
    #[serde(with = "humantime_serde")]
    pub cache_stale_ttl: Duration,
    /// Whether cached answers are stored compressed where it pays.
    pub enable_cache_compression: bool,

    /// Idle handler instances that are kept.
    pub service_pool_size: usize,
    /// Idle validators that are kept.
    pub validator_pool_size: usize,
    /// Idle byte buffers that are kept.
    pub buffer_pool_size: usize,
    /// Bytes that a fresh buffer has room for.
    pub buffer_initial_capacity: usize,
    /// Bytes that a buffer may keep when it goes back to the pool.
    pub buffer_max_capacity: usize,

    /// The share of the lanes' capacity at which sustained load is held back.
    pub backpressure_threshold: f64,
    /// The time over which load is averaged before `backpressure_threshold` applies.
    #[serde(with = "humantime_serde")]
    pub backpressure_window: Duration,
    /// What happens to a message for which there is no room.
    pub when_full: WhenFull,
    /// The same for messages of high priority.
    pub when_full_high: WhenFullFor,
    /// The same for messages of low priority.
    pub when_full_low: WhenFullFor,
    /// Which messages may take the place of a worse one before they are shed.
    pub make_room: MakeRoom,
    /// What happens to a message that would be answered too late.
    pub deadline_admission: DeadlineAdmission,
    /// The share of the time that a message has left which its predicted wait may take.
    pub deadline_wait_share: f64,
    /// The part of that which is left to a stream that has more than its share of what waits.
    pub fair_wait_share: f64,
    /// What happens to a message without a deadline that has waited for too long.
    pub queue_control: QueueControl,
    /// The wait that is all right, in mean service times.
    pub queue_target_services: f64,
    /// The wait that is all right is never shorter.
    #[serde(with = "humantime_serde")]
    pub queue_target_min: Duration,
    /// The wait that is all right is never longer.
    #[serde(with = "humantime_serde")]
    pub queue_target_max: Duration,
    /// The time in which somebody has to be served after the wait that is all right.
    #[serde(with = "humantime_serde")]
    pub queue_interval: Duration,
    /// The load from which on the level is warning.
    pub overload_warning: f64,
    /// The load from which on the level is critical.
    pub overload_critical: f64,
    /// The load from which on the level is emergency.
    pub overload_emergency: f64,
    /// Payload bytes that may be accepted and not yet answered, all streams together; answers that have not left count as
    /// well, those from the cache among them.
    pub max_bytes_in_flight: usize,
    /// Streams that may be open at a time.
    pub max_concurrent_connections: usize,

    /// Whether times are measured and published.
    pub enable_metrics: bool,
    /// How often figures go to the `metrics` facade.
    #[serde(with = "humantime_serde")]
    pub metrics_interval: Duration,
    /// Whether each message leaves a `tracing` event with its times.
    pub enable_detailed_tracing: bool,

    /// Messages of one stream that may be accepted and not yet handed to the client.
    pub stream_channel_capacity: usize,
    /// How long a stream may be idle before it is ended.
    #[serde(with = "humantime_serde")]
    pub stream_timeout: Duration,
    /// Whether the server compresses what it sends to clients that accept it.
    pub enable_stream_compression: bool,
}

impl Default for OptimizationConfig {
    fn default() -> Self {
        Self {
            worker_count: num_cpus::get().max(2),
            worker_queue_capacity: 1000,
            worker_timeout: Duration::from_secs(30),
            worker_pinning: Pinning::AllCores,
            worker_niceness: 10,
            worker_spin: Duration::from_micros(50),
            await_spin: Duration::from_micros(50),
            in_place_budget: Duration::from_micros(100),
            worker_substitutes: 8,
            enable_length_scheduling: true,
            long_work_share: 0.05,
            worker_demotions: 64,
            enable_stream_fairness: true,
            batch_size: 10,
            batch_timeout: Duration::from_millis(10),
            max_batch_wait: Duration::from_millis(50),
            cache_capacity: 1000,
            cache_byte_capacity: 64 << 20,
            cache_ttl: Duration::from_secs(300),
            cache_stale_ttl: Duration::ZERO,
            enable_cache_compression: false,
            service_pool_size: 10,
            validator_pool_size: 5,
            buffer_pool_size: 50,
            buffer_initial_capacity: 8192,
            buffer_max_capacity: 1 << 20,
            backpressure_threshold: 0.8,
            backpressure_window: Duration::from_secs(1),
            when_full: WhenFull::Wait,
            when_full_high: WhenFullFor::AsUsual,
            when_full_low: WhenFullFor::AsUsual,
            make_room: MakeRoom::All,
            deadline_admission: DeadlineAdmission::Enforce,
            deadline_wait_share: 0.4,
            fair_wait_share: 0.5,
            queue_control: QueueControl::Enforce,
            queue_target_services: 5.0,
            queue_target_min: Duration::from_millis(1),
            queue_target_max: Duration::from_secs(1),
            queue_interval: Duration::from_millis(100),
            overload_warning: 0.5,
            overload_critical: 1.0,
            overload_emergency: 2.0,
            max_bytes_in_flight: 256 << 20,
            max_concurrent_connections: 100,
            enable_metrics: true,
            metrics_interval: Duration::from_secs(10),
            enable_detailed_tracing: false,
            stream_channel_capacity: 10_000,
            stream_timeout: Duration::from_secs(60),
            enable_stream_compression: false,
        }
    }
}

impl OptimizationConfig {
    /// For throughput: twice the workers, larger batches, a larger cache.
    #[must_use]
    pub fn high_performance() -> Self {
        Self {
            worker_count: (num_cpus::get() * 2).max(2),
            batch_size: 20,
            batch_timeout: Duration::from_millis(5),
            cache_capacity: 5000,
            backpressure_threshold: 0.9,
            enable_detailed_tracing: false,
            ..Self::default()
        }
    }

    /// For a small footprint: two workers, small pools, a small cache.
    #[must_use]
    pub fn memory_efficient() -> Self {
        Self {
            worker_count: 2,
            batch_size: 5,
            cache_capacity: 100,
            service_pool_size: 3,
            buffer_pool_size: 10,
            buffer_initial_capacity: 1024,
            ..Self::default()
        }
    }

    /// For development: everything is traced, and what hangs is noticed soon.
    #[must_use]
    pub fn development() -> Self {
        Self {
            enable_detailed_tracing: true,
            metrics_interval: Duration::from_secs(1),
            worker_timeout: Duration::from_secs(5),
            stream_timeout: Duration::from_secs(10),
            ..Self::default()
        }
    }

    /// Checks every field and how they go together.
    ///
    /// # Errors
    /// The first field that cannot work, with its value and the range that would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        limits::check(self)
    }

    /// Writes the settings that matter most to the log, at level info.
    pub fn log_configuration(&self) {
        tracing::info!(
            worker_count = self.worker_count,
            worker_queue_capacity = self.worker_queue_capacity,
            worker_pinning = %self.worker_pinning,
            batch_size = self.batch_size,
            cache_capacity = self.cache_capacity,
            backpressure_threshold = self.backpressure_threshold,
            max_concurrent_connections = self.max_concurrent_connections,
            "performance optimization configuration loaded"
        );
    }
}

/// The presets by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PerformanceLevel {
    /// A small footprint.
    MemoryEfficient,
    /// The defaults.
    #[default]
    Balanced,
    /// Throughput first.
    HighPerformance,
    /// The defaults, as the base of settings of one's own.
    Custom,
}

impl PerformanceLevel {
    /// The settings of this level.
    #[must_use]
    pub fn to_config(self) -> OptimizationConfig {
        match self {
            Self::MemoryEfficient => OptimizationConfig::memory_efficient(),
            Self::Balanced | Self::Custom => OptimizationConfig::default(),
            Self::HighPerformance => OptimizationConfig::high_performance(),
        }
    }
}

#[cfg(test)]
mod tests;
