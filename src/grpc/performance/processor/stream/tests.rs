//! What a stream does by itself.

use std::future::poll_fn;

use super::*;
use crate::grpc::performance::{
    OptimizedStreamProcessor,
    config::OptimizationConfig,
    error::HandlerError,
    processor::{JobScope, Once},
};

struct Nothing;

impl MessageHandler for Nothing {
    type Request = ();
    type Response = ();

    fn handle(&mut self, (): (), _: &mut JobScope<'_>) -> Result<(), HandlerError> {
        Ok(())
    }
}

#[tokio::test]
async fn nobody_looks_out_for_a_message_that_has_its_answer() {
    let await_spin = Duration::from_millis(1);
    // A busy machine may take that much time from one look, but not from each.
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let config = OptimizationConfig { await_spin, ..OptimizationConfig::default() };
        let processor = OptimizedStreamProcessor::new(config, || Nothing).unwrap();
        let message = Once(Some(Message::new(())));
        let mut answers = processor.stream(message, StreamOptions::default()).unwrap();
        let answer = poll_fn(|cx| Pin::new(&mut answers).poll_next(cx)).await;
        assert!(answer.is_some_and(|answer| answer.is_ok()));
        // It was near, and came while another answer left.
        answers.near = Some((0, Look::Awake { woke: true }));
        let start = Instant::now();
        assert!(!answers.look_out());
        quickest = quickest.min(start.elapsed());
    }
    assert!(quickest < await_spin / 2, "{quickest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_rests_is_not_idle_before_it_has_read_what_came_meanwhile() {
    let config =
        OptimizationConfig { stream_timeout: Duration::from_millis(1), ..OptimizationConfig::default() };
    let processor = OptimizedStreamProcessor::new(config, || Nothing).unwrap();
    let message = Once(Some(Message::new(())));
    let mut answers = processor.stream(message, StreamOptions::default()).unwrap();
    // For four milliseconds.
    answers.reading.pause(true, true, clock::now(), Duration::ZERO);
    let answer = poll_fn(|cx| Pin::new(&mut answers).poll_next(cx)).await;
    assert!(answer.is_some_and(|answer| answer.is_ok()));
}
