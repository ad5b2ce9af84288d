//! What a refusal costs by itself: from the message that is at hand to the status that says no, without a socket.

use std::{fmt, future::poll_fn, hint::black_box, pin::Pin, time::Duration};

use millstream::{
    OptimizationError, Refusal,
    processor::{Message, Order, StreamOptions},
};
use serde::Serialize;
use tokio_stream::Stream;
use tonic::Status;

use crate::{
    clock::thread_cpu,
    expiry::occupy,
    offer::{Phase, offer},
    plant::{Work, plane},
};

const MESSAGES: usize = 100_000;
/// While all workers are busy, the rest of what they do is more than such a message may wait.
const TIMEOUT: Duration = Duration::from_micros(100);
/// What the workers are busy with; far longer than it takes.
const BUSY: Duration = Duration::from_secs(20);

#[derive(Debug, Serialize)]
pub(crate) struct Alone {
    pub(crate) refused: usize,
    /// CPU time of the thread of the stream.
    pub(crate) cpu_us: f64,
}

impl fmt::Display for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { refused, cpu_us } = self;
        write!(
            f,
            "{refused} messages at hand were refused, each with its status: {cpu_us:.2} µs of CPU time for each."
        )
    }
}

pub(crate) fn measure() -> Alone {
    // What occupies the workers is not to sink, or fresh ones would take their seats.
    let plane = plane(|config| config.enable_length_scheduling = false);
    // What the work takes has to be known.
    offer(&plane, &[Phase { rate_per_s: 500.0, length: Duration::from_millis(200) }], None, 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime of this thread needs no other");
    let occupied = occupy(&plane, &runtime, BUSY);
    let work = || Work { time: BUSY, plane: plane.clone(), predicted: Default::default() };
    let messages = (0..MESSAGES).map(|_| Ok(Message::new(work()).timeout(Some(TIMEOUT))));
    let options = StreamOptions { order: Order::Completion, ..StreamOptions::default() };
    let mut answers = plane
        .stream::<_, (), OptimizationError>(tokio_stream::iter(messages), options)
        .expect("there is room for the stream");
    let before = thread_cpu();
    let refused = runtime.block_on(async {
        let mut refused = 0;
        while let Some(answer) = poll_fn(|cx| Pin::new(&mut answers).poll_next(cx)).await {
            let error = answer.expect("the input does not fail").result.expect_err("all workers are busy");
            refused += usize::from(matches!(error, OptimizationError::Refused(Refusal::WouldBeLate { .. })));
            black_box(Status::from(error));
        }
        refused
    });
    let cpu_us = (thread_cpu() - before).as_secs_f64() * 1e6 / MESSAGES as f64;
    drop(occupied);
    Alone { refused, cpu_us }
}
