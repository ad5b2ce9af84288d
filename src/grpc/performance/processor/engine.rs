//! What all streams of a processor share, and how a handler is called.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{JobScope, MessageHandler, Validator, admission::crowd::Crowd, failure};
use crate::grpc::performance::{
    cache::{Freshness, Lead, StreamCache},
    config::OptimizationConfig,
    error::{HandlerError, OptimizationError, Refusal},
    monitor::{Class, Counter, StreamPerformanceMonitor},
    resource_pool::ResourcePool,
    worker_pool::{JobContext, WorkerPool},
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

    /// Runs a handler on a message, and tells those who wait for the same answer. All of it is the author's code, or may
    /// call it: the caller [contains](crate::platform::contain) it.
    ///
    /// # Errors
    /// What the handler says.
    #[inline]
    pub(super) fn call(
        &self,
        request: H::Request,
        class: Class,
        lead: Option<Lead>,
        context: JobContext<'_>,
    ) -> Result<H::Response, HandlerError> {
        let lead = lead.map(|lead| (lead, H::freshness(&request)));
        let mut handler = self.resources.handler();
        let mut scope = JobScope::new(context, self.resources.buffers());
        let result = handler.handle(request, &mut scope);
        if let Some((lead, asked)) = lead {
            land::<H>(lead.class(class), asked, &result, scope.is_unwanted());
        }
        result
    }

    /// What a message is answered with whose call has ended so.
    #[inline]
    pub(super) fn outcome_of<R>(
        &self,
        result: Result<Result<R, HandlerError>, String>,
        class: Class,
    ) -> Result<R, OptimizationError> {
        match result {
            Ok(result) => result.map_err(OptimizationError::from),
            Err(text) => {
                self.monitor.count(Counter::Panics);
                tracing::error!(class = class.name(), panic = text, "a handler panicked");
                Err(OptimizationError::Panicked(text))
            }
        }
    }
}

/// Tells and keeps what came of a message, as far as the handler wants that; else the lead passes to the next.
fn land<H: MessageHandler>(
    lead: Lead,
    asked: Freshness,
    result: &Result<H::Response, HandlerError>,
    withdrawn: bool,
) {
    match result {
        Ok(response) => {
            if let Some(stored) = H::to_cache(response) {
                lead.fresh(H::freshness_of(response, asked)).complete(stored);
            }
        }
        // What a withdrawn message says is about itself.
        Err(error) if !withdrawn => {
            if let Some(ttl) = H::cache_error(error)
                && let Some(packed) = failure::pack(error)
            {
                lead.fresh(asked).fail(packed, ttl);
            }
        }
        Err(_) => {}
    }
}
