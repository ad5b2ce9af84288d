//! What all streams of a processor share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{MessageHandler, Validator, admission::crowd::Crowd};
use crate::grpc::performance::{
    cache::StreamCache,
    config::OptimizationConfig,
    error::Refusal,
    monitor::{Counter, StreamPerformanceMonitor},
    resource_pool::ResourcePool,
    worker_pool::WorkerPool,
};

/// Nobody knows how long a stream stays: who finds too many is not to ask again sooner than this.
const LEAST_STAY: Duration = Duration::from_millis(100);

pub(super) type BoxedValidator<H> = Box<dyn Validator<<H as MessageHandler>::Request>>;

pub(super) struct Engine<H: MessageHandler> {
    pub(super) config: OptimizationConfig,
    pub(super) pool: WorkerPool,
    pub(super) cache: StreamCache,
    pub(super) resources: Arc<ResourcePool<H, BoxedValidator<H>>>,
    pub(super) monitor: StreamPerformanceMonitor,
    /// Sends all figures to the `metrics` facade.
    pub(super) publish_metrics: Arc<dyn Fn() + Send + Sync>,
    pub(super) open_streams: Arc<AtomicUsize>,
    pub(super) streams_seen: AtomicU64,
    /// Counts refusals, to spread their hints when to try again.
    pub(super) refusals: AtomicU64,
    /// Who has how much under way.
    pub(super) crowd: Arc<Crowd>,
}

/// One of the streams that may be open at a time.
pub(super) struct StreamPermit {
    open: Arc<AtomicUsize>,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        // Relaxed: the count bounds, and publishes nothing.
        self.open.fetch_sub(1, Relaxed);
    }
}

impl<H: MessageHandler> Engine<H> {
    /// # Errors
    /// `max_concurrent_connections` streams are open.
    pub(super) fn open_stream(&self) -> Result<StreamPermit, Refusal> {
        let limit = self.config.max_concurrent_connections;
        // Relaxed: as in `StreamPermit`.
        let opened =
            self.open_streams.fetch_update(Relaxed, Relaxed, |open| (open < limit).then_some(open + 1));
        if opened.is_err() {
            self.monitor.count(Counter::StreamsRefused);
            return Err(Refusal::TooManyStreams { limit, retry_after: self.retry_after(LEAST_STAY) });
        }
        self.monitor.count(Counter::StreamsOpened);
        Ok(StreamPermit { open: Arc::clone(&self.open_streams) })
    }
}
