//! Everything that can go wrong, for the person who reads it: what, where, which value, what would be right.
//!
//! [`OptimizationError`] is the one error of the data plane; `grpc::status` is the one place that maps it to gRPC
//! codes. A handler speaks [`HandlerError`].

use std::{error::Error, fmt, time::Duration};

use super::config::ConfigError;

/// What the data plane answers when it cannot give a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptimizationError {
    /// The worker pool could not be built.
    #[error("Worker pool initialization failed: {0}")]
    WorkerPoolError(#[source] Fault),
    /// The cache could not do its work.
    #[error("Cache initialization failed: {0}")]
    CacheError(#[source] Fault),
    /// A pool of handlers, validators or buffers could not do its work.
    #[error("Resource pool error: {0}")]
    ResourcePoolError(#[source] Fault),
    /// The figures could not be gathered.
    #[error("Performance monitoring error: {0}")]
    MonitoringError(#[source] Fault),
    /// A setting that cannot work.
    #[error("Configuration error: {0}")]
    ConfigError(#[from] ConfigError),
    /// The message was not accepted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The message was accepted, and withdrawn before it had a result.
    #[error(transparent)]
    Interrupted(#[from] Interruption),
    /// The handler, or the validator, said no.
    #[error(transparent)]
    Handler(#[from] HandlerError),
    /// The handler panicked; its instance was thrown away.
    #[error("the handler panicked: {0}")]
    Panicked(String),
    /// The stream was silent for `stream_timeout`.
    #[error("nothing was in flight and nothing came for stream_timeout = {0:?}")]
    StreamIdle(Duration),
}

impl OptimizationError {
    /// What kind of failure the client is to see: the gRPC code of the same name.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Refused(Refusal::Draining) => FailureKind::Unavailable,
            Self::Refused(_) => FailureKind::ResourceExhausted,
            Self::Interrupted(why) => why.kind(),
            Self::Handler(error) => error.kind(),
            Self::StreamIdle(_) => FailureKind::DeadlineExceeded,
            Self::WorkerPoolError(_)
            | Self::CacheError(_)
            | Self::ResourcePoolError(_)
            | Self::MonitoringError(_)
            | Self::ConfigError(_)
            | Self::Panicked(_) => FailureKind::Internal,
        }
    }
}

/// What went wrong inside a part, and why.
#[derive(Debug)]
pub struct Fault {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault with the error that caused it.
    pub fn caused_by(what: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what: what.into(), source: Some(source.into()) }
    }
}

impl<T: Into<String>> From<T> for Fault {
    fn from(what: T) -> Self {
        Self { what: what.into(), source: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

/// Why a message, or a stream, was not accepted. Nothing of it was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The lanes are full, or held back by `backpressure_threshold`, and `when_full` is `shed`.
    #[error(
        "{waiting} messages are waiting (worker_queue_capacity = {capacity}); try again in {retry_after:?}"
    )]
    Overloaded {
        /// Messages in the lanes.
        waiting: usize,
        /// What fits there.
        capacity: usize,
        /// When there may be room.
        retry_after: Duration,
    },
    /// The message would have been answered too late.
    #[error(
        "a wait of {wait:?} is predicted, with {budget:?} left until the deadline; try again in {retry_after:?}"
    )]
    WouldBeLate {
        /// How long it would have waited for a worker.
        wait: Duration,
        /// How long it had.
        budget: Duration,
        /// When the wait may be short enough.
        retry_after: Duration,
    },
    /// The message has no deadline, and waited for too long in a queue that does not drain (`queue_control`).
    #[error(
        "it waited for {waited:?}, above twice the target of {target:?} (queue_control); try again in {retry_after:?}"
    )]
    WaitedTooLong {
        /// How long it waited for a worker, or would have waited.
        waited: Duration,
        /// The wait that is all right.
        target: Duration,
        /// When the wait may be short enough.
        retry_after: Duration,
    },
    /// The message was queued, and made room for one that is more urgent, or can still be in time (`make_room`).
    #[error("it made room for a better one (make_room); try again in {retry_after:?}")]
    Displaced {
        /// When there may be room.
        retry_after: Duration,
    },
    /// The message is of low priority, and the overload such that only what is more urgent is accepted.
    #[error("the overload is an emergency, and its priority is low; try again in {retry_after:?}")]
    NotUrgent {
        /// When it may be over.
        retry_after: Duration,
    },
    /// The message alone is larger than all that may be in flight.
    #[error("a message of {weight} bytes is above max_bytes_in_flight = {limit}")]
    TooLarge {
        /// Bytes of the message.
        weight: usize,
        /// Bytes that may be in flight.
        limit: usize,
    },
    /// Answers that nobody has taken fill the memory that may be in flight.
    #[error(
        "answers of {held} bytes wait to be read (max_bytes_in_flight = {limit}); read faster, or ask for less"
    )]
    AnswersPileUp {
        /// Bytes in flight.
        held: usize,
        /// Bytes that may be in flight.
        limit: usize,
    },
    /// Too many streams are open.
    #[error(
        "{limit} streams are open already (max_concurrent_connections = {limit}); try again in {retry_after:?}"
    )]
    TooManyStreams {
        /// Streams that may be open.
        limit: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The data plane is shutting down.
    #[error("the server is shutting down")]
    Draining,
}

/// Why a message that was accepted has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Interruption {
    /// Nobody waits for the answer any more.
    #[error("cancelled")]
    Cancelled,
    /// The deadline of the message has passed.
    #[error("the deadline has passed")]
    DeadlineExceeded,
    /// The handler ran for longer than `worker_timeout`.
    #[error("the handler ran for longer than worker_timeout")]
    Overstayed,
    /// The drain deadline came before the message was finished.
    #[error("the server shut down before the message was finished")]
    ShutDown,
    /// The message was queued, and made room for a better one.
    #[error("the message made room for a better one")]
    Displaced,
    /// The worker thread died under the message.
    #[error("the worker thread died")]
    WorkerLost,
}

impl Refusal {
    /// When a client may try again, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after, .. }
            | Self::WouldBeLate { retry_after, .. }
            | Self::WaitedTooLong { retry_after, .. }
            | Self::Displaced { retry_after }
            | Self::NotUrgent { retry_after }
            | Self::TooManyStreams { retry_after, .. } => Some(*retry_after),
            Self::TooLarge { .. } | Self::AnswersPileUp { .. } | Self::Draining => None,
        }
    }

    /// The wait that was predicted, or gone through, where that is why.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::WouldBeLate { wait, .. } => Some(*wait),
            Self::WaitedTooLong { waited, .. } => Some(*waited),
            _ => None,
        }
    }
}

impl Interruption {
    fn kind(self) -> FailureKind {
        match self {
            Self::Cancelled => FailureKind::Cancelled,
            Self::DeadlineExceeded | Self::Overstayed => FailureKind::DeadlineExceeded,
            Self::ShutDown => FailureKind::Unavailable,
            Self::Displaced => FailureKind::ResourceExhausted,
            Self::WorkerLost => FailureKind::Internal,
        }
    }
}

/// What kind of failure a handler reports; each is the gRPC code of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The message can never be right.
    InvalidArgument,
    /// What the message names does not exist.
    NotFound,
    /// The message may be right at another time or in another state.
    FailedPrecondition,
    /// The caller may not do this.
    PermissionDenied,
    /// There is no such operation.
    Unimplemented,
    /// A limit was hit.
    ResourceExhausted,
    /// It took too long.
    DeadlineExceeded,
    /// Nobody waits for the answer any more.
    Cancelled,
    /// It may work when tried again.
    Unavailable,
    /// A fault of the handler.
    Internal,
}

/// Why a handler, or a validator, has no result for a message.
#[derive(Debug)]
pub struct HandlerError {
    kind: FailureKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl HandlerError {
    /// A failure of a kind, with a message for the client: what is wrong, and what would be right.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The message can never be right.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(FailureKind::InvalidArgument, message)
    }

    /// A fault of the handler.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Internal, message)
    }

    /// Keeps the error behind this one, for logs.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// What the client is told.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for HandlerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

/// A handler that stops at a checkpoint returns this with `?`; the message was answered already.
impl From<Interruption> for HandlerError {
    fn from(why: Interruption) -> Self {
        Self::new(why.kind(), why.to_string())
    }
}
