//! What a service author writes: the handler of one message, and, where it is worth it, a validator.

use std::time::Duration;

use bytes::Bytes;

use super::JobScope;
use crate::grpc::performance::{
    cache::{CacheKey, Freshness},
    error::HandlerError,
    monitor::Class,
    worker_pool::Priority,
};

/// CPU-heavy work on one message.
///
/// Instances are pooled: each runs one message at a time, on a worker thread (but see
/// [`may_run_in_place`](Self::may_run_in_place)), and keeps its scratch space between messages. An instance that panicked is thrown away. Whatever does not need the instance (class, key, weight) is
/// asked without one, on the thread that reads the stream, and has to be cheap.
pub trait MessageHandler: Send + 'static {
    /// One message of a stream.
    type Request: Send + 'static;
    /// Its answer.
    type Response: Send + 'static;

    /// Works on one message. Long handlers call [`JobScope::checkpoint`] often; other instances may run within it, on the
    /// same stack ([`is_undivided`](Self::is_undivided)).
    ///
    /// # Errors
    /// What the client is to be told in place of a result; the stream lives on.
    fn handle(
        &mut self,
        request: Self::Request,
        scope: &mut JobScope<'_>,
    ) -> Result<Self::Response, HandlerError>;

    /// What kind of work the message is: its times are kept by class.
    fn class(_request: &Self::Request) -> Class {
        Class::DEFAULT
    }

    /// Whether it is served before others.
    fn priority(_request: &Self::Request) -> Priority {
        Priority::Normal
    }

    /// How long its answer is of use, from now; `None`: as long as the stream lives.
    fn timeout(_request: &Self::Request) -> Option<Duration> {
        None
    }

    /// Whether [`handle`](Self::handle) may work on the message on the thread that reads the stream, and keep everybody
    /// waiting whose stream that thread reads. Who says so vouches that it never blocks (no lock that is held for long, no
    /// file, no socket, no sleep), and that it is done within some microseconds: nobody watches over it there, and
    /// `worker_timeout` does not apply. Where no instance is idle, one is made there, too.
    ///
    /// It is a permission. It is made use of when the class of the message was learnt, on workers, to be as short as
    /// `in_place_budget` asks for: then a hand-off would cost more than the work. For who waits for the answer nothing else
    /// changes: limits, order, cache, figures, and what a panic does are the same.
    fn may_run_in_place(_request: &Self::Request) -> bool {
        false
    }

    /// Whether checkpoints of this message let no other run: for a handler that keeps a lock, or something of its thread's,
    /// over them. Asked on the worker. What is short then waits until this message is seen to be in the way.
    fn is_undivided(_request: &Self::Request) -> bool {
        false
    }

    /// Bytes that the message keeps in memory: what `max_bytes_in_flight` counts.
    fn weight(_request: &Self::Request) -> usize {
        size_of::<Self::Request>()
    }

    /// Bytes that an answer keeps in memory until the client has taken it: they count as well, in place of the message's
    /// when they are more. Where there is no room for an answer that the cache has, its message waits or is refused like one
    /// that is to be computed; asked of that answer as well, on the thread that reads the stream.
    ///
    /// Those who join a computation share its answer, and are not asked.
    fn response_weight(_response: &Self::Response) -> usize {
        size_of::<Self::Response>()
    }

    /// A hash of everything that the answer depends on, if equal messages have equal answers; `None`: never cached.
    fn cache_key(_request: &Self::Request) -> Option<CacheKey> {
        None
    }

    /// The answer as the cache stores it; `None`: this one is not stored.
    fn to_cache(_response: &Self::Response) -> Option<Bytes> {
        None
    }

    /// The answer from what [`to_cache`](Self::to_cache) made of it; `None`: it cannot be read, and counts as a miss.
    fn from_cache(_stored: Bytes) -> Option<Self::Response> {
        None
    }

    /// How long the answer is served from the cache, and what makes it worthless before that: what the request tells of
    /// it. Asked on the worker, before [`handle`](Self::handle).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use millstream::{Freshness, HandlerError, JobScope, MessageHandler};
    /// # struct Pictures;
    /// # struct Request { tenant: u64 }
    /// # impl MessageHandler for Pictures {
    /// #     type Request = Request;
    /// #     type Response = Option<Vec<u8>>;
    /// #     fn handle(&mut self, _: Request, _: &mut JobScope<'_>) -> Result<Self::Response, HandlerError> {
    /// #         Ok(None)
    /// #     }
    /// fn freshness(request: &Request) -> Freshness {
    ///     Freshness::new().path(&format!("tenant/{}/pictures", request.tenant))
    /// }
    ///
    /// fn freshness_of(response: &Option<Vec<u8>>, asked: Freshness) -> Freshness {
    ///     if response.is_some() { asked } else { asked.ttl(Duration::from_secs(1)) }
    /// }
    /// # }
    /// ```
    fn freshness(_request: &Self::Request) -> Freshness {
        Freshness::new()
    }

    /// The same, when the answer is known; `asked` is what [`freshness`](Self::freshness) said. What it adds counts from
    /// before the computation: an answer with a tag that was invalidated meanwhile is not served to those who ask later.
    fn freshness_of(_response: &Self::Response, asked: Freshness) -> Freshness {
        asked
    }

    /// For how long a failure is the answer to all equal messages, those who wait for this one included; `None`: each
    /// tries by itself. A message that was withdrawn (cancelled, too late) is never a failure of this kind.
    fn cache_error(_error: &HandlerError) -> Option<Duration> {
        None
    }

    /// Called when the instance goes back to the pool.
    fn reset(&mut self) {}
}

/// Looks at a message before it is queued, on the thread that reads the stream: cheap checks that spare the workers.
pub trait Validator<R>: Send + 'static {
    /// # Errors
    /// Why the message can never be worked on; it is answered with that, and the stream lives on.
    fn validate(&mut self, request: &R) -> Result<(), HandlerError>;
}

impl<R, F> Validator<R> for F
where
    F: FnMut(&R) -> Result<(), HandlerError> + Send + 'static,
{
    fn validate(&mut self, request: &R) -> Result<(), HandlerError> {
        self(request)
    }
}
