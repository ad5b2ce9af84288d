//! How much is accepted before the plane says that it is full.

use std::time::{Duration, Instant};

use millstream::{
    OptimizationConfig, OptimizedStreamProcessor, WhenFull,
    processor::{Answer, Message, StreamOptions},
};
use tokio::sync::mpsc::UnboundedSender;

use crate::common::{self, *};

/// A plane whose one worker is busy with a message of no weight, and a stream that others can be sent to.
struct Busy {
    processor: OptimizedStreamProcessor<Actor>,
    answers: Answers,
    sender: UnboundedSender<Message<common::Request>>,
    keeper: Keeper,
}

impl Busy {
    async fn new(config: OptimizationConfig) -> Self {
        Self::of(processor(OptimizationConfig { worker_count: 1, ..config })).await
    }

    async fn of(processor: OptimizedStreamProcessor<Actor>) -> Self {
        let (busy, keeper) = gate();
        let (sender, feed) = feed();
        let mut answers = processor.stream(feed, StreamOptions::default()).unwrap();
        let first = common::Request { weight: 0, ..request(0, Act::Wait(busy)) };
        sender.send(Message::new(first)).unwrap();
        stir(&mut answers).await;
        keeper.await_begin();
        Self { processor, answers, sender, keeper }
    }

    /// Sends messages of a weight.
    async fn send(&mut self, messages: u64, weight: usize) {
        for number in 0..messages {
            let more = common::Request { weight, ..request(number, Act::Answer) };
            self.sender.send(Message::new(more)).unwrap();
        }
        stir(&mut self.answers).await;
    }

    /// How many messages wait in the lanes. All are answered in the end.
    async fn queued(self) -> usize {
        let Self { processor, answers, sender, keeper } = self;
        let queued = processor.pool().queued();
        drop((sender, keeper));
        for answer in all(answers).await {
            answer.result.unwrap();
        }
        queued
    }
}

#[tokio::test]
async fn the_lanes_hold_as_many_messages_as_they_are_told_to() {
    for worker_queue_capacity in [3, 7] {
        let mut plane = Busy::new(OptimizationConfig { worker_queue_capacity, ..config() }).await;
        plane.send(20, 1).await;
        assert_eq!(plane.queued().await, worker_queue_capacity);
    }
}

#[tokio::test]
async fn no_more_bytes_are_in_flight_than_may_be() {
    for (max_bytes_in_flight, messages) in [(1024, 2), (2048, 5)] {
        let mut plane = Busy::new(OptimizationConfig { max_bytes_in_flight, ..config() }).await;
        plane.send(20, 400).await;
        assert_eq!(plane.processor.pool().bytes_in_flight(), messages * 400);
        assert_eq!(plane.queued().await, messages);
    }
}

/// A plane with 2,048 bytes, the answer to a key of which it has in its cache, and which is busy: and twenty messages that
/// ask for that answer, while the one before them has none. How many bytes they hold, and how many have their answer in
/// the end.
async fn twenty_answers_of_the_cache(weight: usize, when_full: WhenFull) -> (usize, usize) {
    let config = OptimizationConfig { max_bytes_in_flight: 2048, worker_count: 1, when_full, ..config() };
    let keyed = || common::Request { key: Some(7), ..request(0, Act::Heavy(weight)) };
    let processor = processor(config);
    let first = processor.answer(Message::new(keyed()), None).await;
    assert!(!first.cache_hit && first.result.is_ok());

    let mut plane = Busy::of(processor).await;
    for _ in 0..20 {
        plane.sender.send(Message::new(keyed())).unwrap();
    }
    stir(&mut plane.answers).await;
    let Busy { processor, answers, sender, keeper } = plane;
    let held = processor.pool().bytes_in_flight();
    drop((sender, keeper));
    let answers = all(answers).await;
    assert_eq!(answers.len(), 21);
    assert_eq!(processor.pool().bytes_in_flight(), 0);
    let well = |answer: &&Answer<u64>| answer.cache_hit && answer.result.is_ok();
    (held, answers[1..].iter().filter(well).count())
}

#[tokio::test]
async fn answers_of_the_cache_hold_bytes_like_others() {
    assert_eq!(twenty_answers_of_the_cache(400, WhenFull::Wait).await, (5 * 400, 20));
    assert_eq!(twenty_answers_of_the_cache(400, WhenFull::Shed).await, (5 * 400, 5));
    // One that is heavier than all that may be in flight has all of it, and leaves before the next one comes.
    assert_eq!(twenty_answers_of_the_cache(5000, WhenFull::Wait).await, (2048, 20));
}

/// Half of ten places is taken for a while, and then all would be: how many are.
async fn half_for_a_while_then_all(threshold: f64, window: Duration) -> usize {
    let config = OptimizationConfig {
        worker_queue_capacity: 10,
        backpressure_threshold: threshold,
        backpressure_window: window,
        ..config()
    };
    let mut plane = Busy::new(config).await;
    plane.send(5, 1).await;
    // Many times the shorter window.
    passed(Instant::now() + Duration::from_millis(50)).await;
    plane.send(10, 1).await;
    plane.queued().await
}

#[tokio::test]
async fn load_that_lasts_leaves_only_its_share_of_the_lanes_open() {
    let window = Duration::from_millis(1);
    assert_eq!(half_for_a_while_then_all(0.5, window).await, 5);
    assert_eq!(half_for_a_while_then_all(1.0, window).await, 10);
}

#[tokio::test]
async fn a_burst_within_the_window_may_fill_the_lanes() {
    assert_eq!(half_for_a_while_then_all(0.5, Duration::from_millis(1)).await, 5);
    assert_eq!(half_for_a_while_then_all(0.5, Duration::from_secs(3600)).await, 10);
}
