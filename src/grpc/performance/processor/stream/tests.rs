//! What a stream does by itself.

use std::{future::poll_fn, time::Duration};

use super::*;
use crate::grpc::performance::{
    OptimizedStreamProcessor,
    config::OptimizationConfig,
    processor::{Once, slot::stand_ins::Idle},
};

/// A message that is over whenever one looks.
struct Over;

impl Expected for Over {
    fn has_begun(&self) -> bool {
        true
    }

    fn is_over(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn nobody_looks_out_for_a_message_that_has_its_answer() {
    // More look-outs than may be in vain, one after the other, before looking is let be.
    const MANY: usize = 20;
    let processor = OptimizedStreamProcessor::new(OptimizationConfig::default(), || Idle).unwrap();
    let message = Once(Some(Message::new(())));
    let mut answers = processor.stream(message, StreamOptions::default()).unwrap();
    let answer = poll_fn(|cx| Pin::new(&mut answers).poll_next(cx)).await;
    assert!(answer.is_some_and(|answer| answer.is_ok()));
    for _ in 0..MANY {
        // It was near, and came while another answer left.
        answers.near = Some((0, Look::Awake { woke: true }));
        assert!(!answers.look_out());
    }
    let still_allowed = answers.engine().pool.seam().await_briefly(&Over, Look::Awake { woke: true });
    assert!(still_allowed, "each has looked, and lost");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_rests_is_not_idle_before_it_has_read_what_came_meanwhile() {
    let config =
        OptimizationConfig { stream_timeout: Duration::from_millis(1), ..OptimizationConfig::default() };
    let processor = OptimizedStreamProcessor::new(config, || Idle).unwrap();
    let message = Once(Some(Message::new(())));
    let mut answers = processor.stream(message, StreamOptions::default()).unwrap();
    // For four milliseconds.
    answers.reading.pause(true, true, clock::now(), Duration::ZERO);
    let answer = poll_fn(|cx| Pin::new(&mut answers).poll_next(cx)).await;
    assert!(answer.is_some_and(|answer| answer.is_ok()));
}
