//! millstream's stream processor: long-lived streams, a task for each, answers in order of completion.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use millstream::{
    Class, HandlerError, JobScope, MessageHandler, OptimizationConfig, OptimizationError,
    OptimizedStreamProcessor,
    processor::{AnswerStream, Message, Order, StreamOptions},
};
use tokio::{
    runtime::Runtime,
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};

use super::{
    Contender, Flood, io,
    millstream::{BRIEF, class, config, wait_for_the_end},
};
use crate::{arrivals::Ledger, work::Work};

/// Streams that share the load, as connections do.
const STREAMS: usize = 8;

/// Whether it vouches for what is brief.
struct Burner<const VOUCHES: bool>;

impl<const VOUCHES: bool> MessageHandler for Burner<VOUCHES> {
    type Request = Work;
    type Response = Duration;

    fn handle(&mut self, work: Work, scope: &mut JobScope<'_>) -> Result<Duration, HandlerError> {
        if !work.checkpoints {
            return Ok(work.burn());
        }
        Ok(work.burn_in_slices(|| {
            let lent = scope.lent();
            scope.checkpoint().expect("nobody cancels");
            scope.lent() != lent
        }))
    }

    fn may_run_in_place(work: &Work) -> bool {
        VOUCHES && work.service <= BRIEF
    }

    fn class(work: &Work) -> Class {
        class(*work)
    }
}

type Input = Result<Message<Work, usize>, OptimizationError>;
type Answers<const VOUCHES: bool> =
    AnswerStream<Burner<VOUCHES>, UnboundedReceiverStream<Input>, usize, OptimizationError>;

pub(crate) struct Streams<const VOUCHES: bool> {
    io: Runtime,
    processor: OptimizedStreamProcessor<Burner<VOUCHES>>,
}

/// One stream: messages go in at one end, answers come out at the other.
struct Pipe<const VOUCHES: bool> {
    sender: UnboundedSender<Input>,
    answers: Pin<Box<Answers<VOUCHES>>>,
}

impl<const VOUCHES: bool> Pipe<VOUCHES> {
    /// `tag` comes back with the answer.
    fn send(&self, work: Work, tag: usize) {
        self.sender.send(Ok(Message::new(work).tag(tag))).expect("the stream reads while it lives");
    }

    async fn answer(&mut self) -> (usize, Duration) {
        let answer = self.answers.next().await.expect("a stream ends after its messages");
        tagged(answer)
    }
}

fn tagged(
    answer: Result<millstream::processor::Answer<Duration, usize>, OptimizationError>,
) -> (usize, Duration) {
    let answer = answer.expect("the input does not fail");
    (answer.tag, answer.result.expect("nobody cancels, and work does not panic"))
}

impl<const VOUCHES: bool> Streams<VOUCHES> {
    pub(crate) fn start(change: fn(OptimizationConfig) -> OptimizationConfig) -> Self {
        let io = io().build().expect("the system gives threads for I/O");
        let processor = OptimizedStreamProcessor::new(change(config()), || Burner);
        Self { io, processor: processor.expect("the settings work, and the system gives threads") }
    }

    fn pipe(&self) -> Pipe<VOUCHES> {
        let (sender, receiver) = unbounded_channel();
        let options = StreamOptions { order: Order::Completion, ..StreamOptions::default() };
        let answers = self.processor.stream(UnboundedReceiverStream::new(receiver), options);
        Pipe { sender, answers: Box::pin(answers.expect("fewer streams than may be open")) }
    }

    /// As [`Contender::open`], through so many streams; `stream` says which one a job of the trace comes on.
    pub(crate) fn open_streams(
        &self,
        streams: usize,
        stream: impl Fn(usize) -> usize + Send + 'static,
        trace: Arc<[Work]>,
        ledger: Arc<Ledger>,
    ) -> impl FnMut(usize) + Send + 'static {
        let senders: Vec<_> = (0..streams)
            .map(|_| {
                let Pipe { sender, mut answers } = self.pipe();
                let ledger = Arc::clone(&ledger);
                self.io.spawn(async move {
                    while let Some(answer) = answers.next().await {
                        let (job, burned) = tagged(answer);
                        ledger.enter(job, burned);
                    }
                });
                sender
            })
            .collect();
        move |job| {
            let message = Message::new(trace[job]).tag(job);
            senders[stream(job)].send(Ok(message)).expect("the stream reads while it lives");
        }
    }
}

impl<const VOUCHES: bool> Contender for Streams<VOUCHES> {
    fn io(&self) -> &Runtime {
        &self.io
    }

    fn open(&self, trace: Arc<[Work]>, ledger: Arc<Ledger>) -> Box<dyn FnMut(usize) + Send> {
        Box::new(self.open_streams(STREAMS, |job| job % STREAMS, trace, ledger))
    }

    fn round_trips(&self, work: Work, count: usize, gap: Duration) -> Vec<Duration> {
        let mut pipe = self.pipe();
        let client = self.io.spawn(async move {
            let mut times = Vec::with_capacity(count);
            for tag in 0..count {
                if !gap.is_zero() {
                    tokio::time::sleep(gap).await;
                }
                let sent = Instant::now();
                pipe.send(work, tag);
                pipe.answer().await;
                times.push(sent.elapsed());
            }
            times
        });
        self.io.block_on(client).expect("the client does not panic")
    }

    fn flood(&self, work: Work, in_flight: usize, length: Duration) -> Flood {
        let start = Instant::now();
        let streams = STREAMS.min(in_flight);
        let client = |number: usize| {
            let mut pipe = self.pipe();
            let share = in_flight / streams + usize::from(number < in_flight % streams);
            self.io.spawn(async move {
                (0..share).for_each(|tag| pipe.send(work, tag));
                let (mut jobs, mut left) = (0, share);
                while left > 0 {
                    let (tag, _) = pipe.answer().await;
                    jobs += 1;
                    if start.elapsed() < length {
                        pipe.send(work, tag);
                    } else {
                        left -= 1;
                    }
                }
                jobs
            })
        };
        let clients: Vec<_> = (0..streams).map(client).collect();
        let jobs = self.io.block_on(async {
            let mut jobs = 0;
            for client in clients {
                jobs += client.await.expect("the client does not panic");
            }
            jobs
        });
        Flood { jobs, time: start.elapsed() }
    }

    /// Producers are streams here, and those are polled by tasks: there is no spawning to be measured.
    fn spawn_from(&self, _producers: usize, _jobs: usize) -> Option<Duration> {
        None
    }
}

impl<const VOUCHES: bool> Drop for Streams<VOUCHES> {
    fn drop(&mut self) {
        wait_for_the_end(self.processor.pool());
    }
}
