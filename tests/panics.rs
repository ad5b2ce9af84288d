//! Panics wherever a stranger's code runs: each costs its own message, and nothing else.
#![allow(missing_docs)]

use std::{
    panic::panic_any,
    pin::Pin,
    sync::mpsc::{Receiver, Sender, channel},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_core::Stream;
use millstream::{
    CacheKey, FailureKind, HandlerError, JobScope, MessageHandler, OptimizationConfig, OptimizationError,
    OptimizedStreamProcessor,
    processor::{Message, StreamOptions},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Where a message panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Nowhere,
    Handling,
    /// With a payload that panics when it is dropped.
    HandlingWithABomb,
    /// While the handler drops the request.
    Request,
    /// While the response is dropped that nobody took.
    Response,
    Weight,
    Class,
    Instance,
    /// When the response is weighed.
    ResponseWeight,
}

const EVERYWHERE: [Where; 9] = [
    Where::Nowhere,
    Where::Handling,
    Where::HandlingWithABomb,
    Where::Request,
    Where::Response,
    Where::Weight,
    Where::Class,
    Where::Instance,
    Where::ResponseWeight,
];

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload of a panic panics");
    }
}

struct Request(Where);

impl Drop for Request {
    fn drop(&mut self) {
        assert!(self.0 != Where::Request || std::thread::panicking(), "a request panics while it is dropped");
    }
}

struct Response(Where);

impl Drop for Response {
    fn drop(&mut self) {
        assert!(
            self.0 != Where::Response || std::thread::panicking(),
            "a response panics while it is dropped"
        );
    }
}

/// An instance that panicked is thrown away: that may panic as well.
#[derive(Default)]
struct Handler {
    armed: bool,
}

impl Drop for Handler {
    fn drop(&mut self) {
        assert!(!self.armed || std::thread::panicking(), "an instance panics while it is dropped");
    }
}

impl MessageHandler for Handler {
    type Request = Request;
    type Response = Response;

    fn handle(&mut self, request: Request, _: &mut JobScope<'_>) -> Result<Response, HandlerError> {
        match request.0 {
            Where::Handling => panic!("a handler panics"),
            Where::HandlingWithABomb => panic_any(Bomb),
            Where::Instance => {
                self.armed = true;
                panic!("a handler panics, and so will its instance");
            }
            place => Ok(Response(place)),
        }
    }

    fn weight(request: &Request) -> usize {
        assert!(request.0 != Where::Weight, "weighing panics");
        1
    }

    fn response_weight(response: &Response) -> usize {
        assert!(response.0 != Where::ResponseWeight, "weighing a response panics");
        1
    }

    fn class(request: &Request) -> millstream::Class {
        assert!(request.0 != Where::Class, "classing panics");
        millstream::Class::DEFAULT
    }
}

struct Feed(std::vec::IntoIter<Where>);

impl Stream for Feed {
    type Item = Result<Message<Request>, OptimizationError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(|place| Ok(Message::new(Request(place)))))
    }
}

fn processor() -> OptimizedStreamProcessor<Handler> {
    let config = OptimizationConfig { worker_count: 2, ..OptimizationConfig::default() };
    OptimizedStreamProcessor::new(config, Handler::default).expect("the configuration is valid")
}

#[tokio::test]
async fn a_panic_anywhere_is_its_messages_own_and_every_message_has_one_answer() {
    let processor = processor();
    let places: Vec<_> = EVERYWHERE.into_iter().cycle().take(400).collect();
    let feed = Feed(places.clone().into_iter());
    let mut answers = processor.stream(feed, StreamOptions::default()).unwrap();
    for (sequence, place) in (0..).zip(places) {
        let next = std::future::poll_fn(|cx| Pin::new(&mut answers).poll_next(cx));
        let answer = tokio::time::timeout(PATIENCE, next).await.expect("an answer comes").unwrap().unwrap();
        assert_eq!(answer.sequence, sequence);
        match (place, answer.result) {
            (Where::Nowhere, result) => assert!(result.is_ok()),
            // The test is the one that drops it.
            (Where::Response, Ok(response)) => std::mem::forget(response),
            (place, Err(error)) => {
                assert_eq!(error.kind(), FailureKind::Internal, "{place:?}: {error}");
                assert!(matches!(error, OptimizationError::Panicked(_)), "{place:?} costs a thread: {error}");
            }
            (place, Ok(_)) => panic!("{place:?} went by unnoticed"),
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while (processor.pool().queued(), processor.pool().bytes_in_flight()) != (0, 0) {
        assert!(Instant::now() < deadline, "{processor:?}");
        tokio::task::yield_now().await;
    }
    assert!(processor.process_one(Request(Where::Nowhere)).await.is_ok());
    assert_eq!(processor.drain(Instant::now() + PATIENCE).await.unfinished, 0);
}

#[tokio::test]
async fn requests_and_responses_that_panic_while_a_stream_is_dropped_cost_nothing_else() {
    let processor = processor();
    for _ in 0..100 {
        let places = [Where::Request, Where::Response, Where::Handling, Where::HandlingWithABomb].repeat(8);
        let mut answers = processor.stream(Feed(places.into_iter()), StreamOptions::default()).unwrap();
        std::future::poll_fn(|cx| {
            // Whatever comes first is left to the stream.
            if let Poll::Ready(Some(Ok(answer))) = Pin::new(&mut answers).poll_next(cx) {
                std::mem::forget(answer);
            }
            Poll::Ready(())
        })
        .await;
        drop(answers);
    }
    let deadline = Instant::now() + PATIENCE;
    while (processor.open_streams(), processor.pool().queued(), processor.pool().bytes_in_flight())
        != (0, 0, 0)
    {
        assert!(Instant::now() < deadline, "{processor:?}");
        tokio::task::yield_now().await;
    }
    assert!(processor.process_one(Request(Where::Nowhere)).await.is_ok());
}

/// A message that says on which thread it runs, and then waits for its turn to end.
struct Told {
    thread: Sender<Option<String>>,
    gate: Option<Receiver<()>>,
}

/// Panics when it is dropped, unless somebody has taken it; the first one is harmless.
struct Mine(bool);

impl Drop for Mine {
    fn drop(&mut self) {
        assert!(!self.0 || std::thread::panicking(), "a response panics while it is dropped");
    }
}

struct Teller;

impl MessageHandler for Teller {
    type Request = Told;
    type Response = Mine;

    fn handle(&mut self, told: Told, _: &mut JobScope<'_>) -> Result<Mine, HandlerError> {
        told.thread.send(std::thread::current().name().map(str::to_owned)).expect("the test listens");
        if let Some(gate) = &told.gate {
            let _ = gate.recv();
        }
        Ok(Mine(told.gate.is_some()))
    }

    fn cache_key(_: &Told) -> Option<CacheKey> {
        Some(CacheKey::of(&[b"the only one"]))
    }

    fn to_cache(_: &Mine) -> Option<Bytes> {
        Some(Bytes::new())
    }

    fn from_cache(_: Bytes) -> Option<Mine> {
        Some(Mine(false))
    }
}

#[tokio::test]
async fn an_answer_that_panics_when_its_stream_has_gone_costs_no_worker() {
    let cache_ttl = Duration::from_millis(1);
    let config = OptimizationConfig {
        worker_count: 1,
        cache_ttl,
        cache_stale_ttl: Duration::from_secs(3600),
        enable_length_scheduling: false,
        ..OptimizationConfig::default()
    };
    let processor = OptimizedStreamProcessor::new(config, || Teller).expect("the configuration is valid");
    let (thread, threads) = channel();
    let ask = |gate| processor.answer(Message::new(Told { thread: thread.clone(), gate }), None);
    assert!(ask(None).await.result.is_ok());
    let worker = threads.recv_timeout(PATIENCE).expect("it has run");
    let stale = Instant::now() + cache_ttl;
    while Instant::now() <= stale {
        tokio::task::yield_now().await;
    }
    // Answered at once, and computed anew: when the answer to that comes, nobody is there any more.
    let (open, gate) = channel();
    assert!(ask(Some(gate)).await.cache_hit);
    assert_eq!(threads.recv_timeout(PATIENCE).expect("it is computed anew"), worker);
    drop(open);
    let uncached = Message::new(Told { thread: thread.clone(), gate: None }).cached(false);
    assert!(processor.answer(uncached, None).await.result.is_ok());
    assert_eq!(threads.recv_timeout(PATIENCE).expect("it has run"), worker);
}
