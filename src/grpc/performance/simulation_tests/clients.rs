//! Those who send messages and read answers: each a task of the simulation.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures_core::Stream;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{
    actor::{Actor, Request, key, perform_closure, said},
    ledger::{Ledger, PUNCTUAL, Waits},
    plan::{Act, Arrival, Single, Stream as StreamPlan},
};
use crate::{
    grpc::performance::{
        error::{OptimizationError, Refusal},
        monitor::Class,
        processor::{Answer, Message, OptimizedStreamProcessor, Order, StreamOptions},
        worker_pool::JobOptions,
    },
    platform::clock,
};

type Processor = OptimizedStreamProcessor<Actor>;
/// The number of a message, and what became of it.
type Outcome = (usize, Result<u64, OptimizationError>);

/// What a stream has been sent.
#[derive(Default)]
struct Letters {
    arrived: VecDeque<Arrival>,
    closed: bool,
    breaks: bool,
    reader: Option<Waker>,
    /// Numbers of those that the stream has read.
    read: Vec<usize>,
    answered: usize,
}

/// The input of a stream.
struct Feed {
    letters: Arc<Mutex<Letters>>,
    ledger: Arc<Ledger>,
    deadline: Option<Instant>,
}

impl Stream for Feed {
    type Item = Result<Message<Request, usize>, OptimizationError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut letters = self.letters.lock();
        if let Some(arrival) = letters.arrived.pop_front() {
            let message = message(arrival, &self.ledger, self.deadline);
            let number = message.1;
            letters.read.push(number);
            let (open, most) =
                (letters.read.len() - letters.answered, self.ledger.config.stream_channel_capacity);
            if open > most {
                self.ledger.fault(format!("a stream has {open} messages in flight, and may have {most}"));
            }
            return Poll::Ready(Some(Ok(message.0.tag(number))));
        }
        if !letters.closed {
            letters.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(
            std::mem::take(&mut letters.breaks)
                .then(|| Err(OptimizationError::MonitoringError("broken".into()))),
        )
    }
}

/// A message, and its number in the books.
fn message(arrival: Arrival, ledger: &Arc<Ledger>, deadline: Option<Instant>) -> (Message<Request>, usize) {
    let Arrival { act, key, weight, priority, timeout, .. } = arrival;
    let due = [timeout.map(|timeout| clock::now() + timeout), deadline].into_iter().flatten().min();
    let number = ledger.accepted(act, key, due);
    let request = Request { number, act, key, weight, priority, ledger: Arc::clone(ledger) };
    (Message::new(request).timeout(timeout), number)
}

/// A stream's two tasks: who sends, and who reads.
pub(super) fn stream(
    plan: StreamPlan,
    processor: Processor,
    ledger: Arc<Ledger>,
) -> [Pin<Box<dyn Future<Output = ()>>>; 2] {
    let letters = Arc::<Mutex<Letters>>::default();
    let sends = send(plan.opens, plan.arrivals, plan.breaks, Arc::clone(&letters));
    let reads = async move {
        sleep(plan.opens).await;
        let deadline = plan.deadline.map(|time| clock::now() + time);
        let options = StreamOptions { order: plan.order, deadline, ..StreamOptions::default() };
        let feed = Feed { letters: Arc::clone(&letters), ledger: Arc::clone(&ledger), deadline };
        match processor.stream::<_, usize, OptimizationError>(feed, options) {
            Err(OptimizationError::Refused(Refusal::TooManyStreams { .. })) => {}
            Err(error) => ledger.fault(format!("a stream is refused with {error:?}")),
            Ok(answers) => {
                let reader =
                    Reader { order: plan.order, pause: plan.pause, leaves: plan.leaves, letters, ledger };
                reader.read(answers).await;
            }
        }
    };
    [Box::pin(sends), Box::pin(reads)]
}

async fn send(opens: Duration, arrivals: Vec<Arrival>, breaks: bool, letters: Arc<Mutex<Letters>>) {
    sleep(opens).await;
    let mut arrivals = arrivals.into_iter();
    loop {
        let arrival = arrivals.next();
        if let Some(arrival) = &arrival
            && !arrival.gap.is_zero()
        {
            sleep(arrival.gap).await;
        }
        let mut letters = letters.lock();
        let over = arrival.is_none();
        letters.arrived.extend(arrival);
        (letters.closed, letters.breaks) = (over, over && breaks);
        let reader = letters.reader.take();
        drop(letters);
        if let Some(reader) = reader {
            reader.wake();
        }
        if over {
            return;
        }
    }
}

struct Reader {
    order: Order,
    pause: Duration,
    leaves: Option<Duration>,
    letters: Arc<Mutex<Letters>>,
    ledger: Arc<Ledger>,
}

impl Reader {
    async fn read(self, answers: impl Stream<Item = Result<Answer<u64, usize>, OptimizationError>>) {
        let mut answers = pin!(answers);
        let mut leaving = pin!(sleep(self.leaves.unwrap_or(Duration::MAX)));
        let waits = match self.order == Order::Completion && self.pause.is_zero() {
            true => Waits::Promptly,
            false => Waits::InTurn,
        };
        let mut sequences = Vec::new();
        loop {
            if !self.pause.is_zero() {
                sleep(self.pause).await;
            }
            let next = poll_fn(|cx| {
                if leaving.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                answers.as_mut().poll_next(cx).map(Some)
            });
            match next.await {
                None => return,
                Some(None) => break self.over(&mut sequences),
                Some(Some(Ok(answer))) => {
                    let number = answer.tag;
                    self.ledger.answered(number, waits, &answer.result.map(said));
                    let mut letters = self.letters.lock();
                    letters.answered += 1;
                    if letters.read.get(answer.sequence as usize) != Some(&number) {
                        self.ledger.fault(format!("answer {} is that of another message", answer.sequence));
                    }
                    if self.order == Order::Request && answer.sequence != sequences.len() as u64 {
                        self.ledger.fault(format!("answer {} comes out of order", answer.sequence));
                    }
                    sequences.push(answer.sequence);
                }
                Some(Some(Err(OptimizationError::StreamIdle(_)))) => {
                    self.all_answered();
                    return;
                }
                Some(Some(Err(OptimizationError::MonitoringError(_)))) => {
                    self.over(&mut sequences);
                    return;
                }
                Some(Some(Err(error))) => self.ledger.fault(format!("a stream ends with {error:?}")),
            }
        }
    }

    /// The stream has come to its end by itself.
    fn over(&self, sequences: &mut Vec<u64>) {
        self.all_answered();
        let letters = self.letters.lock();
        if !letters.closed || !letters.arrived.is_empty() {
            self.ledger.fault("a stream ends before its input");
        }
        sequences.sort_unstable();
        if !sequences.iter().copied().eq(0..letters.read.len() as u64) {
            self.ledger.fault(format!("{} messages have the answers {sequences:?}", letters.read.len()));
        }
    }

    fn all_answered(&self) {
        let unanswered = self.ledger.unanswered(self.letters.lock().read.iter().copied());
        if !unanswered.is_empty() {
            self.ledger.fault(format!("a stream ends without the answers of {unanswered:?}"));
        }
    }
}

/// A call with one message, or a closure.
pub(super) async fn single(plan: Single, processor: Processor, ledger: Arc<Ledger>) {
    sleep(plan.at).await;
    let mut patience = pin!(sleep(plan.gives_up.unwrap_or(Duration::MAX)));
    let mut outcome: Pin<Box<dyn Future<Output = Outcome>>> = if plan.closure {
        let Arrival { act, weight, priority, timeout, .. } = plan.arrival;
        // A closure says what it says; it does not fail, and leaves nothing behind that could panic.
        let act = match act {
            Act::Fail | Act::Bomb => Act::Deaf(Duration::ZERO),
            act => act,
        };
        let deadline = timeout.map(|timeout| clock::now() + timeout);
        let number = ledger.accepted(act, None, deadline);
        let brief = act.is_brief();
        let options = JobOptions {
            class: if brief { act.class() } else { Class::DEFAULT },
            priority,
            weight,
            deadline,
            undivided: Ledger::is_undivided(number),
            may_run_in_place: brief,
        };
        let books = Arc::clone(&ledger);
        let handle = processor
            .pool()
            .spawn_with(options, move |context| perform_closure(number, act, &books, context));
        Box::pin(async move { (number, handle.await) })
    } else {
        let (message, number) = message(plan.arrival, &ledger, None);
        let processor = processor.clone();
        Box::pin(async move { (number, processor.answer(message, None).await.result.map(said)) })
    };
    let answered = poll_fn(|cx| match outcome.as_mut().poll(cx).map(Some) {
        Poll::Pending => patience.as_mut().poll(cx).map(|()| None),
        answered => answered,
    });
    if let Some((number, result)) = answered.await {
        ledger.answered(number, Waits::Promptly, &result);
    }
}

/// Ends the pool.
pub(super) async fn drain(begins: Duration, takes: Duration, processor: Processor, ledger: Arc<Ledger>) {
    sleep(begins).await;
    let deadline = clock::now() + takes;
    ledger.drains();
    let drained = processor.drain(deadline);
    drop(processor);
    drained.await;
    let late = clock::now().saturating_duration_since(deadline);
    if late > PUNCTUAL && !ledger.has_stepped() {
        ledger.fault(format!("the drain ends {late:?} after its deadline"));
    }
}

/// Throws a cached answer away.
pub(super) async fn invalidate(at: Duration, number: u64, processor: Processor) {
    sleep(at).await;
    processor.cache().invalidate(&key(number));
}
