//! The data plane: from a stream of messages to their answers, over pinned worker threads.
//!
//! Everything here is generic over the [`MessageHandler`], and builds without tonic. Imports run downwards only:
//! [`processor`] → [`worker_pool`], [`cache`], [`resource_pool`] → [`monitor`] → [`config`]. The rules of an
//! overload (`overload`) stand beside [`monitor`].
//!
#![doc = include_str!("performance/WHERE_THE_TIME_GOES.md")]

pub mod cache;
pub mod config;
pub mod error;
pub mod monitor;
pub(crate) mod overload;
pub mod processor;
pub mod resource_pool;
pub mod worker_pool;

use std::time::{Duration, Instant};

use crate::platform::clock;

pub use cache::{CacheKey, CacheKeyBuilder, CacheStats, Freshness, StreamCache};
pub use config::{
    ConfigError, DeadlineAdmission, MakeRoom, OptimizationConfig, PerformanceLevel, Pinning, QueueControl,
    WhenFull, WhenFullFor,
};
pub use error::{FailureKind, Fault, HandlerError, Interruption, OptimizationError, Refusal};
pub use monitor::{Class, StreamPerformanceMonitor};
pub use overload::OverloadLevel;
pub use processor::{JobScope, MessageHandler, OptimizedStreamProcessor, Validator};
pub use resource_pool::{BufferPool, PooledBuffer, ResourceFactories, ResourcePool, ResourcePoolStats};
pub use worker_pool::{JobContext, JobHandle, JobOptions, Priority, TrySpawnError, WorkerPool};

/// What the data plane has achieved since it started.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizationResult {
    /// Answers per second.
    pub throughput: f64,
    /// Mean sojourn time, from accepted to answered.
    pub avg_latency: Duration,
    /// 95th percentile of the sojourn time.
    pub p95_latency: Duration,
    /// 99th percentile of the sojourn time.
    pub p99_latency: Duration,
    /// Resident memory of the process, in bytes; 0 where the platform does not tell.
    pub memory_usage: usize,
    /// Share of cache look-ups that were answered from the cache, from 0 to 1.
    pub cache_hit_ratio: f64,
    /// Share of the workers' time that was spent in handlers, from 0 to 1.
    pub worker_utilization: f64,
}

/// One stream: who, since when, how much, and under which settings.
#[derive(Debug, Clone)]
pub struct OptimizationContext {
    /// Names the stream in logs and traces.
    pub connection_id: String,
    /// When it was opened.
    pub session_start: Instant,
    /// Messages accepted from it.
    pub message_count: u64,
    /// The settings that it runs under.
    pub config: OptimizationConfig,
}

impl OptimizationContext {
    /// A stream that opens now.
    #[must_use]
    pub fn new(connection_id: String, config: OptimizationConfig) -> Self {
        Self { connection_id, session_start: clock::now(), message_count: 0, config }
    }

    /// Counts one accepted message.
    pub fn increment_message_count(&mut self) {
        self.message_count += 1;
    }

    /// How long the stream has been open.
    #[must_use]
    pub fn session_duration(&self) -> Duration {
        clock::now() - self.session_start
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod simulation_tests;
