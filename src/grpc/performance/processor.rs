//! From admission to the ordered answer: what a service author hands a stream to.
//!
//! ```text
//!            task of the stream (tokio)                      workers (CPU)
//!  input ─▶ admission ─▶ cache ─▶ room ─▶ flight ─▶ batch ══▶ handler
//!                │         │                                    │
//!                ▼         ▼              returned slots        ▼
//!  answers ◀─ order ◀─ outcomes ◀═══════ one wake for many ══ mailbox
//! ```
//! `stream` is the task's side: it reads (`reading` says when), admits (`admission`), groups (`batches`), runs what costs
//! less than its hand-off (`in_place`), watches deadlines (`timer`) and answers. `mailbox` is what the workers reach: the messages in flight (`slot`) and the way back
//! (`completions`). There is no
//! task and, in the steady state, no allocation for each message.
//!
//! The processor does not know gRPC: a stream is anything that yields requests, an error anything that can be made from
//! an [`OptimizationError`].

mod admission;
mod batches;
mod completions;
mod engine;
mod failure;
mod handler;
mod in_place;
mod mailbox;
mod message;
mod reading;
mod response;
mod scope;
mod slot;
mod stream;
mod timer;

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_core::Stream;

use self::{
    admission::crowd::Crowd,
    engine::Engine,
    response::{Plain, Responses},
};
use super::{
    OptimizationContext, OptimizationResult,
    cache::StreamCache,
    config::OptimizationConfig,
    error::{HandlerError, OptimizationError},
    monitor::{Class, PoolGauges, Reuse, StreamPerformanceMonitor},
    overload::{Condition, OverloadLevel},
    resource_pool::{PoolStats, ResourceFactories, ResourcePool, ResourcePoolStats},
    worker_pool::{Chore, Drained, Priority, WorkerPool},
};
use crate::platform::clock;

#[cfg(feature = "proof")]
pub(crate) mod proof {
    pub(crate) use super::batches::Batches;
}

#[cfg(feature = "server")]
pub(crate) use self::reading::Reading;
pub use self::{
    admission::crowd::Peer,
    handler::{MessageHandler, Validator},
    message::{Answer, Message, Order, StreamOptions, Timing},
    response::ResponseStream,
    scope::JobScope,
    stream::AnswerStream,
};

/// Runs a [`MessageHandler`] over streams of messages: bounded, ordered, cached, cancellable and measured.
///
/// A cheap handle; clone it into each service.
pub struct OptimizedStreamProcessor<H: MessageHandler> {
    engine: Arc<Engine<H>>,
}

impl<H: MessageHandler> Clone for OptimizedStreamProcessor<H> {
    fn clone(&self) -> Self {
        Self { engine: Arc::clone(&self.engine) }
    }
}

impl<H: MessageHandler> fmt::Debug for OptimizedStreamProcessor<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptimizedStreamProcessor")
            .field("pool", &self.engine.pool)
            .field("open_streams", &self.open_streams())
            .finish_non_exhaustive()
    }
}

impl<H: MessageHandler> OptimizedStreamProcessor<H> {
    /// Starts the workers, and makes the first handlers.
    ///
    /// # Errors
    /// A setting that cannot work; no threads; a factory that panicked.
    pub fn new(
        config: OptimizationConfig,
        handler: impl Fn() -> H + Send + Sync + 'static,
    ) -> Result<Self, OptimizationError> {
        Self::with_validator(config, handler, || |_: &H::Request| Ok::<(), HandlerError>(()))
    }

    /// The same, with a look at each message before it is queued.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_validator<V: Validator<H::Request>>(
        config: OptimizationConfig,
        handler: impl Fn() -> H + Send + Sync + 'static,
        validator: impl Fn() -> V + Send + Sync + 'static,
    ) -> Result<Self, OptimizationError> {
        config.validate()?;
        let monitor = StreamPerformanceMonitor::new(&config);
        let cache = StreamCache::new(&config)?;
        let resources = Arc::new(ResourcePool::new(
            &config,
            ResourceFactories {
                handler,
                reset_handler: H::reset,
                validator: move || Box::new(validator()) as engine::BoxedValidator<H>,
            },
        )?);
        let open_streams = Arc::new(AtomicUsize::new(0));
        let mut publish_metrics = None;
        let pool = WorkerPool::with_chore(&config, |glance| {
            let (monitor, cache) = (monitor.clone(), cache.clone());
            let (resources, open_streams) = (Arc::clone(&resources), Arc::clone(&open_streams));
            let workers = config.worker_count;
            let publish: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
                let (cached, pooled) = (cache.stats(), resources.stats());
                let Condition { level, load, target } = glance.condition();
                monitor.publish(&PoolGauges {
                    workers,
                    queued: glance.queued(),
                    bytes_in_flight: glance.bytes_in_flight(),
                    // Relaxed: a figure for people, of some moment.
                    open_streams: open_streams.load(Relaxed),
                    cache_entries: cached.entries,
                    cache_bytes: cached.bytes,
                    cache_stale_hits: cached.stale_hits,
                    cache_not_admitted: cached.not_admitted,
                    overload_level: level as u8,
                    overload: load,
                    queue_target: target,
                    handlers: reuse(&pooled.handlers),
                    validators: reuse(&pooled.validators),
                    buffers: reuse(&pooled.buffers),
                });
            });
            publish_metrics = Some(Arc::clone(&publish));
            let run = Box::new(move || publish());
            config.enable_metrics.then(|| Chore { interval: config.metrics_interval, run })
        })?;
        let publish_metrics = publish_metrics.expect("the pool has asked for its chore");
        config.log_configuration();
        let (streams_seen, refusals) = (AtomicU64::new(0), AtomicU64::new(0));
        let crowd = Arc::new(Crowd::new(config.enable_stream_fairness));
        let engine = Engine {
            crowd,
            config,
            pool,
            cache,
            resources,
            monitor,
            publish_metrics,
            open_streams,
            streams_seen,
            refusals,
        };
        Ok(Self { engine: Arc::new(engine) })
    }

    /// All that a service author writes in a tonic method: requests in, responses out, in the same order.
    ///
    /// The first message that fails ends the stream with its error, as gRPC has it; use [`stream`](Self::stream) where
    /// the answer itself can say that its message failed.
    pub fn process_stream<S, E>(&self, requests: S) -> ResponseStream<H, S, E>
    where
        S: Stream<Item = Result<H::Request, E>>,
        E: From<OptimizationError>,
    {
        ResponseStream(match self.stream(Plain::new(requests), StreamOptions::default()) {
            Ok(answers) => Responses::Open(Box::new(answers)),
            Err(error) => Responses::Refused(error),
        })
    }

    /// Messages in, answers out: each message gets exactly one, which may say that it failed, and the stream lives on.
    ///
    /// # Errors
    /// `max_concurrent_connections` streams are open.
    pub fn stream<S, T, E>(
        &self,
        input: S,
        options: StreamOptions,
    ) -> Result<AnswerStream<H, S, T, E>, OptimizationError>
    where
        S: Stream<Item = Result<Message<H::Request, T>, E>>,
        E: From<OptimizationError>,
    {
        let permit = self.engine.open_stream()?;
        // Relaxed: numbers are given once, in whatever order.
        let number = self.engine.streams_seen.fetch_add(1, Relaxed);
        let context = OptimizationContext::new(format!("stream-{number}"), self.engine.config.clone());
        let capacity = self.engine.config.stream_channel_capacity;
        Ok(AnswerStream::new(Arc::clone(&self.engine), input, options, context, capacity, Some(permit)))
    }

    /// One request, for unary methods.
    ///
    /// # Errors
    /// Why there is no response.
    pub async fn process_one(&self, request: H::Request) -> Result<H::Response, OptimizationError> {
        self.answer(Message::new(request), None).await.result
    }

    /// One message, with all that can be said of its answer. `deadline` is that of the call.
    ///
    /// Dropped early it cancels the message.
    pub async fn answer<T>(
        &self,
        message: Message<H::Request, T>,
        deadline: Option<Instant>,
    ) -> Answer<H::Response, T> {
        self.answer_with(message, StreamOptions { deadline, ..StreamOptions::default() }).await
    }

    /// The same, with all that can be said of the call.
    pub async fn answer_with<T>(
        &self,
        message: Message<H::Request, T>,
        options: StreamOptions,
    ) -> Answer<H::Response, T> {
        let context = OptimizationContext::new(String::new(), self.engine.config.clone());
        let mut answers: AnswerStream<H, _, T, OptimizationError> =
            AnswerStream::new(Arc::clone(&self.engine), Once(Some(message)), options, context, 1, None);
        match poll_fn(|cx| Pin::new(&mut answers).poll_next(cx)).await {
            Some(Ok(answer)) => answer,
            _ => unreachable!("a stream of one message, which cannot fail, has one answer"),
        }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &OptimizationConfig {
        &self.engine.config
    }

    /// The figures, in full.
    #[must_use]
    pub fn monitor(&self) -> &StreamPerformanceMonitor {
        &self.engine.monitor
    }

    /// Sends the figures as they are now to the `metrics` facade, beside what goes there every `metrics_interval`: for an
    /// exporter that is asked for them. Merges every histogram, which takes a fraction of a millisecond. Does nothing when
    /// `enable_metrics` is off.
    pub fn publish_metrics(&self) {
        (self.engine.publish_metrics)();
    }

    /// The figures, in short.
    #[must_use]
    pub fn result(&self) -> OptimizationResult {
        self.engine.monitor.result(self.engine.config.worker_count)
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &StreamCache {
        &self.engine.cache
    }

    /// The worker threads; other CPU-heavy work may share them.
    #[must_use]
    pub fn pool(&self) -> &WorkerPool {
        &self.engine.pool
    }

    /// Handlers, validators and buffers: how often one was at hand.
    #[must_use]
    pub fn resources(&self) -> ResourcePoolStats {
        self.engine.resources.stats()
    }

    /// Streams that are open now.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        // Relaxed: a figure for people, of some moment.
        self.engine.open_streams.load(Relaxed)
    }

    /// Whether there is CPU time for what nobody waits for, and for saving bytes: not in an overload.
    #[must_use]
    pub fn has_time_to_spare(&self) -> bool {
        self.engine.pool.seam().level().has_time_to_spare()
    }

    /// Whether CPU time is short, or goes into saying no: then it is better not to be woken for each message.
    #[must_use]
    pub fn is_swamped(&self) -> bool {
        self.engine.pool.seam().is_swamped()
    }

    /// How things stand: whether more comes than can be done.
    #[must_use]
    pub fn overload(&self) -> Overload {
        let Condition { level, load, target } = self.engine.pool.seam().condition(clock::now());
        Overload { level, load, queue_target: target }
    }

    /// How long a message of this priority would wait for a worker if it came now, and how long one of this class runs, by
    /// what was learnt of those before.
    #[must_use]
    pub fn forecast(&self, class: Class, priority: Priority) -> Timing {
        let shared = self.engine.pool.seam();
        Timing {
            queue_wait: shared.predicted_wait(shared.forecast.level(class), priority.into()),
            service_time: shared.forecast.service(class),
        }
    }

    /// Accepts nothing more, and waits until what was accepted has its answer; see [`WorkerPool::drain`].
    pub fn drain(&self, deadline: Instant) -> impl Future<Output = Drained> + Send + use<H> {
        self.engine.pool.drain(deadline)
    }
}

/// How much more comes than can be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overload {
    /// In a word.
    pub level: OverloadLevel,
    /// The least wait of the last `queue_interval` over the wait that is too long (twice the target): at 1 even the luckiest
    /// wait for too long.
    pub load: f64,
    /// The wait that is all right, by the service times at present.
    pub queue_target: Duration,
}

fn reuse(pool: &PoolStats) -> Reuse {
    Reuse { hits: pool.hits, misses: pool.misses, idle: pool.idle }
}

/// A stream of one.
struct Once<T>(Option<T>);

impl<T> Unpin for Once<T> {}

impl<T> Stream for Once<T> {
    type Item = Result<T, OptimizationError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.take().map(Ok))
    }
}
