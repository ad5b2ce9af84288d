//! A handler whose messages say what happens to them, and what the tests need around it.
#![allow(unreachable_pub, dead_code, missing_docs)]

pub(crate) mod busy;
pub(crate) mod number;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, bounded};
use futures_core::Stream;
use millstream::{
    CacheKey, HandlerError, JobScope, MessageHandler, OptimizationConfig, OptimizationError,
    OptimizedStreamProcessor, Priority,
    processor::{Answer, AnswerStream, Message},
    proof::thread_cpu_time,
};

/// Longer than any test takes: a wait that lasts this long has failed.
pub const LONG: Duration = Duration::from_secs(60);

/// Answers above this weigh what they are above it.
const HEAVY: u64 = 1 << 60;

/// What a message does to its handler.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers with its number.
    Answer,
    /// Says that it began, and waits until the gate is dropped.
    Wait(Gate),
    /// Says that it began, and runs until a checkpoint stops it; says so.
    Spin(Gate),
    Fail,
    Panic,
    /// Answers with the number of its instance's earlier messages.
    Instance,
    /// Answers after computing for that long, by the CPU clock.
    Busy(Duration),
    /// Answers with a number that says it weighs so many bytes more.
    Heavy(usize),
    /// Fills a buffer of the pool to so many bytes, and answers with the room that it came with.
    Buffer(usize),
    /// Holds so many buffers of the pool at a time.
    Buffers(u64),
}

#[derive(Debug, Clone)]
pub struct Request {
    pub number: u64,
    pub act: Act,
    pub key: Option<u64>,
    pub weight: usize,
    pub priority: Priority,
    /// May run in place.
    pub vouched: bool,
    pub computed: Arc<AtomicUsize>,
}

pub fn request(number: u64, act: Act) -> Request {
    Request {
        number,
        act,
        key: None,
        weight: 1,
        priority: Priority::Normal,
        vouched: false,
        computed: Arc::default(),
    }
}

/// The two ends of a wait: the handler's.
#[derive(Debug, Clone)]
pub struct Gate {
    began: Sender<u64>,
    open: Receiver<()>,
    ended: Sender<u64>,
}

/// The two ends of a wait: the test's. Dropping it opens the gate.
pub struct Keeper {
    pub began: Receiver<u64>,
    pub ended: Receiver<u64>,
    _open: Sender<()>,
}

pub fn gate() -> (Gate, Keeper) {
    let (began, has_begun) = bounded(1000);
    let (ended, has_ended) = bounded(1000);
    let (keep, open) = bounded(0);
    (Gate { began, open, ended }, Keeper { began: has_begun, ended: has_ended, _open: keep })
}

impl Gate {
    /// Says that it began, and waits until the gate is dropped.
    pub fn pass(self, number: u64) {
        self.began.send(number).expect("the test listens");
        let _ = self.open.recv();
        let _ = self.ended.send(number);
    }
}

impl Keeper {
    /// Waits until a message has begun.
    pub fn await_begin(&self) -> u64 {
        self.began.recv_timeout(LONG).expect("a message begins")
    }

    /// Waits for so long whether a message begins, which may be too late for it.
    pub fn begins_within(&self, time: Duration) -> Option<u64> {
        self.began.recv_timeout(time).ok()
    }

    pub fn await_end(&self) -> u64 {
        self.ended.recv_timeout(LONG).expect("a message ends")
    }
}

#[derive(Debug, Default)]
pub struct Actor {
    handled: u64,
}

impl MessageHandler for Actor {
    type Request = Request;
    type Response = u64;

    fn handle(&mut self, request: Request, scope: &mut JobScope<'_>) -> Result<u64, HandlerError> {
        request.computed.fetch_add(1, SeqCst);
        let earlier = self.handled;
        self.handled += 1;
        match request.act {
            Act::Answer => Ok(request.number),
            Act::Wait(gate) => {
                gate.pass(request.number);
                Ok(request.number)
            }
            Act::Spin(gate) => {
                gate.began.send(request.number).expect("the test listens");
                let stopped = loop {
                    if let Err(why) = scope.checkpoint() {
                        break why;
                    }
                };
                let _ = gate.ended.send(request.number);
                Err(stopped.into())
            }
            Act::Fail => Err(HandlerError::invalid_argument(format!("message {} is wrong", request.number))),
            Act::Panic => panic!("message {} panics", request.number),
            Act::Instance => Ok(earlier),
            Act::Busy(time) => {
                let end = thread_cpu_time() + time;
                while thread_cpu_time() < end {}
                Ok(request.number)
            }
            Act::Heavy(bytes) => Ok(HEAVY + bytes as u64),
            Act::Buffer(bytes) => {
                let mut buffer = scope.buffer();
                let room = buffer.capacity();
                buffer.resize(bytes, 0);
                Ok(room as u64)
            }
            Act::Buffers(count) => {
                let held: Vec<_> = (0..count).map(|_| scope.buffer()).collect();
                Ok(held.len() as u64)
            }
        }
    }

    fn may_run_in_place(request: &Request) -> bool {
        request.vouched
    }

    fn priority(request: &Request) -> Priority {
        request.priority
    }

    fn weight(request: &Request) -> usize {
        request.weight
    }

    fn response_weight(response: &u64) -> usize {
        response.saturating_sub(HEAVY) as usize
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
}

/// Two workers, no back-pressure below the full capacity.
pub fn config() -> OptimizationConfig {
    OptimizationConfig { worker_count: 2, backpressure_threshold: 1.0, ..OptimizationConfig::default() }
}

pub fn processor(config: OptimizationConfig) -> OptimizedStreamProcessor<Actor> {
    OptimizedStreamProcessor::new(config, Actor::default).expect("the configuration is valid")
}

/// An input that a test feeds by hand.
pub fn feed() -> (tokio::sync::mpsc::UnboundedSender<Message<Request>>, Feed) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    (sender, Feed(receiver))
}

pub struct Feed(tokio::sync::mpsc::UnboundedReceiver<Message<Request>>);

impl Stream for Feed {
    type Item = Result<Message<Request>, OptimizationError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|next| next.map(Ok))
    }
}

/// An input that is all there at once.
pub fn ready(requests: impl IntoIterator<Item = Request>) -> Feed {
    let (sender, feed) = feed();
    for request in requests {
        sender.send(Message::new(request)).expect("the feed is there");
    }
    feed
}

pub type Answers = AnswerStream<Actor, Feed, (), OptimizationError>;

/// The next answer, within the time of a test.
pub async fn next(answers: &mut Answers) -> Option<Result<Answer<u64>, OptimizationError>> {
    let next = poll_fn(|cx| Pin::new(&mut *answers).poll_next(cx));
    tokio::time::timeout(LONG, next).await.expect("an answer comes")
}

/// The next answer of a stream that goes on.
pub async fn answer(answers: &mut Answers) -> Answer<u64> {
    next(answers).await.expect("the stream goes on").expect("the stream is well")
}

/// Lets the stream do what it can without an answer.
pub async fn stir(answers: &mut Answers) {
    let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *answers).poll_next(cx))).await;
    assert!(polled.is_pending(), "an answer too early");
}

/// What a future comes to at the first look.
pub async fn at_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// All answers to the end.
pub async fn all(mut answers: Answers) -> Vec<Answer<u64>> {
    let mut all = Vec::new();
    while let Some(answer) = next(&mut answers).await {
        all.push(answer.expect("the stream is well"));
    }
    all
}

/// Gives an attempt more and more time, until that was enough for what has to be done within it: a busy machine may take
/// any time away.
pub async fn with_time_enough<T>(mut attempt: impl AsyncFnMut(Duration) -> Option<T>) -> T {
    let mut time = Duration::from_millis(50);
    loop {
        if let Some(outcome) = attempt(time).await {
            return outcome;
        }
        assert!(time < LONG, "no time is enough");
        time *= 2;
    }
}

/// Waits until a moment has passed.
pub async fn passed(moment: Instant) {
    eventually("the clock moves on", || Instant::now() > moment).await;
}

/// Waits for something that other threads bring about.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "never came: {what}");
        tokio::task::yield_now().await;
    }
}
