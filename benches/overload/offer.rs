//! An open loop: messages are sent when they are due, by a thread that nothing else delays.

use std::{
    future::poll_fn,
    num::NonZero,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use futures_core::Stream;
use millstream::{
    OptimizationError,
    processor::{Message, Order, StreamOptions},
    simulation::{Arrivals, Schedule, ServiceTimes},
};
use tokio::{
    runtime::Builder,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use crate::{
    foreign::{Foreign, Readings},
    plant::{Plane, SERVICE, Work},
    priority,
};

const STREAMS: usize = 8;
/// What is due so soon is waited for awake: a thread of real time is woken on time.
const AWAKE: Duration = Duration::from_micros(5);
/// How long answers may take after the last message was sent.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many a second, for so long. Offered twice, it is the same messages at the same times twice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Phase {
    pub(crate) rate_per_s: f64,
    pub(crate) length: Duration,
}

/// What became of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// When it was due, from the start.
    pub(crate) due: Duration,
    /// From then to its answer.
    pub(crate) sojourn: Duration,
    /// Whether the answer was a result.
    pub(crate) served: bool,
    /// The wait that was predicted when it was accepted.
    pub(crate) predicted: Duration,
    /// The wait that it had.
    pub(crate) waited: Option<Duration>,
}

struct Tag {
    due: Duration,
    predicted: Arc<AtomicU64>,
}

type Sent = Message<Work, Tag>;

struct Input(UnboundedReceiver<Sent>);

impl Stream for Input {
    type Item = Result<Sent, OptimizationError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|next| next.map(Ok))
    }
}

/// Offers the phases, one after the other, each message of use for `timeout`; gives all answers.
pub(crate) fn offer(plane: &Plane, phases: &[Phase], timeout: Option<Duration>, seed: u64) -> Vec<Sample> {
    paced(plane, phases, timeout, seed, || ()).1
}

/// The same to workers that are never without work, with when it began and when somebody else had one of their cores.
pub(crate) fn offer_to_busy(
    plane: &Plane,
    phase: Phase,
    timeout: Duration,
    seed: u64,
) -> (Instant, Vec<Sample>, Foreign) {
    let mut readings = Readings::default();
    let (start, samples) = paced(plane, &[phase], Some(timeout), seed, || readings.take());
    let cores = NonZero::new(plane.pool().workers()).expect("a pool has a worker");
    (start, samples, readings.foreign(cores))
}

/// Offers them, and calls `beside` in the pacer's thread whenever a message is due.
fn paced(
    plane: &Plane,
    phases: &[Phase],
    timeout: Option<Duration>,
    seed: u64,
    mut beside: impl FnMut() + Send,
) -> (Instant, Vec<Sample>) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build();
    let runtime = runtime.expect("the system has two threads more");
    let start = Instant::now();
    let (senders, answers): (Vec<_>, Vec<_>) = (0..STREAMS)
        .map(|_| {
            let (sender, receiver) = unbounded_channel();
            let plane = plane.clone();
            (sender, runtime.spawn(answers(plane, Input(receiver), start)))
        })
        .unzip();
    let mut begin = Duration::ZERO;
    let mut messages = Vec::new();
    for phase in phases {
        let first = phases.iter().position(|other| other == phase).expect("it is one of them");
        let seed = seed + first as u64;
        let schedule = Schedule::new(Arrivals::Poisson, phase.rate_per_s, phase.length, seed);
        let services = ServiceTimes::Exponential(SERVICE).sequence(seed);
        messages.extend(schedule.map(|due| begin + due).zip(services));
        begin += phase.length;
    }
    let pacer = move || {
        priority::raise();
        for (number, (due, time)) in messages.into_iter().enumerate() {
            await_moment(start + due);
            beside();
            let predicted = Arc::new(AtomicU64::new(0));
            let work = Work { time, plane: plane.clone(), predicted: Arc::clone(&predicted) };
            let message = Message::new(work).tag(Tag { due, predicted }).timeout(timeout);
            // A stream that has ended shows in what is missing.
            senders[number % STREAMS].send(message).ok();
        }
    };
    // It takes the senders along, and with it they end.
    thread::scope(|scope| scope.spawn(pacer).join()).expect("the pacer does not panic");
    let samples = runtime.block_on(async {
        let mut samples = Vec::new();
        for answers in answers {
            let stream = tokio::time::timeout(PATIENCE, answers).await.expect("every message is answered");
            samples.extend(stream.expect("no stream panics"));
        }
        samples
    });
    (start, samples)
}

async fn answers(plane: Plane, input: Input, start: Instant) -> Vec<Sample> {
    let options = StreamOptions { order: Order::Completion, ..StreamOptions::default() };
    let mut answers = plane.stream(input, options).expect("there is room for the stream");
    let mut samples = Vec::new();
    while let Some(answer) = poll_fn(|cx| Pin::new(&mut answers).poll_next(cx)).await {
        let answer = answer.expect("the input does not fail");
        let Tag { due, predicted } = answer.tag;
        samples.push(Sample {
            due,
            sojourn: start.elapsed().saturating_sub(due),
            served: answer.result.is_ok(),
            predicted: Duration::from_nanos(predicted.load(Relaxed)),
            waited: answer.timing.map(|timing| timing.queue_wait),
        });
    }
    samples
}

fn await_moment(moment: Instant) {
    loop {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > AWAKE {
            thread::park_timeout(left - AWAKE);
        } else {
            std::hint::spin_loop();
        }
    }
}
