//! The way back: what it takes until the answers of a burst are in the task that awaits them, and how often that task is
//! woken for them.
//!
//! A thread of ours polls, with a waker that counts; one worker answers, whose work is nothing. So a figure is the whole
//! way there and back of a message in a burst, of which the way there is the same queue and the same thread for the
//! peers.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crossbeam::channel;
use millstream::{
    HandlerError, JobScope, MessageHandler, OptimizationConfig, OptimizationError, OptimizedStreamProcessor,
    WorkerPool,
    processor::{AnswerStream, Message, Order, StreamOptions},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
};
use tokio_stream::{Stream, wrappers::UnboundedReceiverStream};

use crate::room::{Better, Contender, Effort, Measure, Room, Standing};

pub(crate) const ROOM: Room = Room {
    name: "completion",
    question: "What does it take to bring answers back to the task that awaits them?",
    measure,
};

/// Messages that are sent before the first answer is awaited.
const BURST: usize = 256;

/// A burst of messages, there and back.
trait Way {
    fn send(&mut self);
    /// The next answer of the burst.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// A stream of the processor.
struct Streamed {
    /// Threads for the timers of the stream, which never fire here.
    timers: Runtime,
    sender: UnboundedSender<Input>,
    answers: Pin<Box<Answers>>,
}

type Input = Result<Message<(), ()>, OptimizationError>;
type Answers = AnswerStream<Nothing, UnboundedReceiverStream<Input>, (), OptimizationError>;

struct Nothing;

impl MessageHandler for Nothing {
    type Request = ();
    type Response = ();

    fn handle(&mut self, (): (), _: &mut JobScope<'_>) -> Result<(), HandlerError> {
        Ok(())
    }
}

fn config() -> OptimizationConfig {
    OptimizationConfig { worker_count: 1, ..OptimizationConfig::default() }
}

impl Streamed {
    fn open() -> Self {
        let timers = Builder::new_multi_thread().worker_threads(1).enable_time().build();
        let timers = timers.expect("the system gives a thread for timers");
        let within = timers.enter();
        let processor = OptimizedStreamProcessor::new(config(), || Nothing);
        let processor = processor.expect("the settings work, and the system gives a thread");
        let (sender, receiver) = unbounded_channel();
        let options = StreamOptions { order: Order::Completion, ..StreamOptions::default() };
        let answers = processor.stream(UnboundedReceiverStream::new(receiver), options);
        let answers = Box::pin(answers.expect("fewer streams than may be open"));
        drop(within);
        Self { timers, sender, answers }
    }
}

impl Way for Streamed {
    fn send(&mut self) {
        self.sender.send(Ok(Message::new(()))).expect("the stream reads while it lives");
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let _within = self.timers.enter();
        self.answers.as_mut().poll_next(context).map(|answer| {
            let answer = answer.expect("a stream ends after its messages").expect("the input does not fail");
            answer.result.expect("nobody cancels, and nothing panics");
        })
    }
}

/// Futures that are awaited in turn.
struct InTurn<F> {
    send: Box<dyn FnMut() -> F>,
    sent: std::collections::VecDeque<F>,
}

impl<F: Future + Unpin> InTurn<F> {
    fn new(send: impl FnMut() -> F + 'static) -> Self {
        Self { send: Box::new(send), sent: std::collections::VecDeque::with_capacity(BURST) }
    }
}

impl<F: Future + Unpin> Way for InTurn<F> {
    fn send(&mut self) {
        self.sent.push_back((self.send)());
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let first = self.sent.front_mut().expect("as many answers are awaited as were sent");
        pin!(first).poll(context).map(|_| drop(self.sent.pop_front()))
    }
}

/// A channel back.
struct Channelled {
    orders: channel::Sender<UnboundedSender<()>>,
    back: UnboundedSender<()>,
    answers: UnboundedReceiver<()>,
}

impl Way for Channelled {
    fn send(&mut self) {
        self.orders.send(self.back.clone()).expect("the worker outlives the sender");
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.answers.poll_recv(context).map(|answer| answer.expect("this end holds a sender"))
    }
}

/// A worker that answers each order, and ends when there are no more.
fn worker<T: Send + 'static>(answer: impl Fn(T) + Send + 'static) -> channel::Sender<T> {
    let (orders, inbox) = channel::bounded(BURST);
    thread::spawn(move || inbox.iter().for_each(answer));
    orders
}

fn ways() -> Vec<(&'static str, Standing, Box<dyn Way>)> {
    let pool = WorkerPool::new(&config()).expect("the settings work, and the system gives a thread");
    let oneshots = worker(|order: oneshot::Sender<()>| {
        // Nobody listens only at the end.
        order.send(()).ok();
    });
    let channelled = worker(|back: UnboundedSender<()>| {
        back.send(()).ok();
    });
    let (back, answers) = unbounded_channel();
    vec![
        ("millstream", Standing::Ours, Box::new(Streamed::open())),
        (
            "millstream, a future for each",
            Standing::Ours,
            Box::new(InTurn::new(move || Box::pin(pool.spawn(|| ())))),
        ),
        (
            "tokio oneshot for each",
            Standing::Peer,
            Box::new(InTurn::new(move || {
                let (sender, answer) = oneshot::channel();
                oneshots.send(sender).expect("the worker outlives the sender");
                answer
            })),
        ),
        ("tokio mpsc for all", Standing::Peer, Box::new(Channelled { orders: channelled, back, answers })),
    ]
}

/// Wakes the thread that polls, and counts.
struct Counting {
    thread: Thread,
    wakes: AtomicU64,
}

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        // Relaxed: a figure that stands for itself.
        self.wakes.fetch_add(1, Relaxed);
        self.thread.unpark();
    }
}

/// What bursts took for so long.
#[derive(Default)]
struct Seen {
    answers: u64,
    wakes: u64,
    time: Duration,
}

fn bursts(way: &mut dyn Way, time: Duration) -> Seen {
    let counting = Arc::new(Counting { thread: thread::current(), wakes: AtomicU64::new(0) });
    let waker = Waker::from(Arc::clone(&counting));
    let mut context = Context::from_waker(&waker);
    let mut seen = Seen::default();
    let start = Instant::now();
    while seen.time < time {
        (0..BURST).for_each(|_| way.send());
        for _ in 0..BURST {
            while way.poll_answer(&mut context).is_pending() {
                thread::park();
            }
        }
        seen.answers += BURST as u64;
        seen.time = start.elapsed();
    }
    seen.wakes = counting.wakes.load(Relaxed);
    seen
}

fn measure(effort: &Effort) -> Vec<Measure> {
    let everybody = |figure: fn(Seen) -> f64| -> Vec<Contender<'_>> {
        let contender = |(name, standing, mut way): (_, _, Box<dyn Way>)| {
            Contender::new(name, standing, move || figure(bursts(&mut *way, effort.time)))
        };
        ways().into_iter().map(contender).collect()
    };
    let each = |seen: Seen| seen.time.as_nanos() as f64 / seen.answers as f64;
    let wakes = |seen: Seen| 1000.0 * seen.wakes as f64 / seen.answers as f64;
    vec![
        Measure::take(
            "a message of a burst of 256, there and back",
            "ns",
            Better::Less,
            effort,
            everybody(each),
        ),
        Measure::take("wakes of the task for 1,000 answers", "wakes", Better::Less, effort, everybody(wakes)),
    ]
}
