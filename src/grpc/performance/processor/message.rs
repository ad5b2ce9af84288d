//! A message on its way in, and its answer on the way out.

use std::time::{Duration, Instant};

use super::admission::crowd::Peer;
use crate::grpc::performance::error::{HandlerError, OptimizationError};

/// A request, and how this one is to be treated.
#[derive(Debug)]
pub struct Message<R, T = ()> {
    pub(super) request: R,
    pub(super) tag: T,
    pub(super) timeout: Option<Duration>,
    pub(super) cached: bool,
    pub(super) rejected: Option<HandlerError>,
}

impl<R> Message<R> {
    /// A request with nothing special about it.
    pub fn new(request: R) -> Self {
        Self { request, tag: (), timeout: None, cached: true, rejected: None }
    }
}

impl<R, T> Message<R, T> {
    /// Something that comes back with the answer: an id, say.
    pub fn tag<U>(self, tag: U) -> Message<R, U> {
        let Self { request, timeout, cached, rejected, .. } = self;
        Message { request, tag, timeout, cached, rejected }
    }

    /// How long the answer is of use, from now on; `None` leaves it to the handler and the stream. The soonest counts.
    #[must_use]
    pub fn timeout(self, timeout: Option<Duration>) -> Self {
        Self { timeout, ..self }
    }

    /// Whether the cache may answer, and keep the answer.
    #[must_use]
    pub fn cached(self, cached: bool) -> Self {
        Self { cached, ..self }
    }

    /// Known to be wrong already: it takes its turn among the answers, and its answer is this.
    #[must_use]
    pub fn rejected(self, why: HandlerError) -> Self {
        Self { rejected: Some(why), ..self }
    }
}

/// The one answer to a [`Message`].
#[derive(Debug)]
pub struct Answer<Response, T = ()> {
    /// Position of the message in its stream, from 0.
    pub sequence: u64,
    /// The tag of the message.
    pub tag: T,
    /// What the handler said, or why it was not heard.
    pub result: Result<Response, OptimizationError>,
    /// Whether the answer came from the cache, or from joining an equal message that was already being worked on.
    pub cache_hit: bool,
    /// Where the time went; `None` when no worker was involved.
    pub timing: Option<Timing>,
}

/// Where the time of one message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From accepted to started.
    pub queue_wait: Duration,
    /// From started to finished.
    pub service_time: Duration,
}

/// In which order answers leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As their messages came.
    #[default]
    Request,
    /// As they are finished.
    Completion,
}

/// How a whole stream is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamOptions {
    /// In which order answers leave.
    pub order: Order,
    /// When the answers stop being of use: the deadline of the call.
    pub deadline: Option<Instant>,
    /// Who is at the other end: fair shares are by peer, then by stream.
    pub peer: Option<Peer>,
}
