//! Messages of this process: the same work each, in a class and under a key that they bring along.

use std::{
    hint::black_box,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_core::Stream;
use millstream::{
    CacheKey, Class, Freshness, HandlerError, JobScope, MessageHandler, OptimizationConfig,
    OptimizationError, OptimizedStreamProcessor,
    processor::{Message, StreamOptions},
};
use tokio::runtime::Runtime;
use tokio_stream::StreamExt;

use crate::{clock::thread_cpu, number};

/// CPU time that a message takes: as short as what is worth handing over.
pub(crate) const WORK: Duration = Duration::from_micros(10);

/// So many steps of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps(u64);

impl Steps {
    /// As many as [`WORK`] lasts.
    pub(crate) fn of_work() -> Self {
        const PROBE: Steps = Steps(1_000_000);
        let start = thread_cpu();
        PROBE.take();
        let time = thread_cpu() - start;
        Self((PROBE.0 as f64 * WORK.as_secs_f64() / time.as_secs_f64()) as u64)
    }

    pub(crate) fn none() -> Self {
        Self(0)
    }

    fn take(self) {
        let mut word = self.0;
        for step in 0..self.0 {
            word = black_box(word.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step);
        }
    }
}

pub(crate) struct Request {
    steps: Steps,
    class: u32,
    key: Option<u64>,
    kept: bool,
}

/// The messages of a run: how many there are, and how they differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    pub(crate) messages: u64,
    pub(crate) steps: Steps,
    /// The number of the first.
    pub(crate) first: u64,
    pub(crate) classes: u64,
    /// `None`: without keys.
    pub(crate) keys: Option<u64>,
    /// Whether answers are kept for equal messages.
    pub(crate) kept: bool,
}

struct Input {
    mix: Mix,
    next: u64,
}

impl Stream for Input {
    type Item = Result<Message<Request>, OptimizationError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Mix { messages, steps, first, classes, keys, kept } = self.mix;
        if self.next == messages {
            return Poll::Ready(None);
        }
        let number = first + self.next;
        self.next += 1;
        let key = keys.map(|keys| number % keys);
        let request = Request { steps, class: (number % classes) as u32, key, kept };
        Poll::Ready(Some(Ok(Message::new(request))))
    }
}

pub(crate) struct Worker;

impl MessageHandler for Worker {
    type Request = Request;
    type Response = u64;

    fn handle(&mut self, request: Request, _: &mut JobScope<'_>) -> Result<u64, HandlerError> {
        request.steps.take();
        Ok(request.key.unwrap_or(0))
    }

    fn class(request: &Request) -> Class {
        Class::new("work").refined(request.class)
    }

    fn cache_key(request: &Request) -> Option<CacheKey> {
        Some(CacheKey::of(&[&request.key?.to_le_bytes()]))
    }

    fn to_cache(response: &u64) -> Option<Bytes> {
        number::to_cache(response)
    }

    fn from_cache(stored: Bytes) -> Option<u64> {
        number::from_cache(stored)
    }

    fn freshness(request: &Request) -> Freshness {
        if request.kept { Freshness::new() } else { Freshness::new().ttl(Duration::ZERO) }
    }
}

/// A plane, and the runtime of its one stream.
pub(crate) struct Plane {
    runtime: Runtime,
    processor: OptimizedStreamProcessor<Worker>,
}

impl Plane {
    /// A plane whose stream has so many messages under way, with room for as many answers as there are keys.
    pub(crate) fn new(in_flight: usize, keys: u64) -> Self {
        let config = OptimizationConfig {
            stream_channel_capacity: in_flight,
            cache_capacity: keys.max(1000) as usize,
            cache_byte_capacity: 1 << 30,
            cache_ttl: Duration::from_secs(3600),
            ..OptimizationConfig::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        Self {
            runtime: runtime.expect("the system gives a timer"),
            processor: OptimizedStreamProcessor::new(config, || Worker).expect("the settings work"),
        }
    }

    /// Runs the messages, and says how long one takes, in nanoseconds.
    pub(crate) fn run(&self, mix: Mix) -> f64 {
        let start = Instant::now();
        self.runtime.block_on(async {
            let input = Input { mix, next: 0 };
            let answers = self.processor.stream(input, StreamOptions::default());
            let mut answers = answers.expect("it is the only stream");
            while let Some(answer) = answers.next().await {
                let answer = answer.expect("the input does not fail");
                answer.result.expect("nothing is refused, and nothing fails");
            }
        });
        start.elapsed().as_nanos() as f64 / mix.messages as f64
    }
}
