//! How much is accepted before the plane says that it is full.

use std::time::{Duration, Instant};

use millstream::{
    OptimizationConfig, WhenFull,
    processor::{Answer, Message},
};

use crate::common::{self, busy::Busy, *};

/// A plane whose one worker is busy with a message of no weight.
async fn busy(config: OptimizationConfig) -> Busy {
    Busy::on(processor(OptimizationConfig { worker_count: 1, ..config }), 0).await
}

/// So many messages of a weight.
fn weighing(messages: u64, weight: usize) -> impl Iterator<Item = Message<common::Request>> {
    (0..messages).map(move |number| Message::new(common::Request { weight, ..request(number, Act::Answer) }))
}

/// How many messages wait in the lanes. All are answered in the end.
async fn queued(plane: Busy) -> usize {
    let queued = plane.processor.pool().queued();
    for answer in plane.finish().await {
        answer.result.unwrap();
    }
    queued
}

#[tokio::test]
async fn the_lanes_hold_as_many_messages_as_they_are_told_to() {
    for worker_queue_capacity in [3, 7] {
        let mut plane = busy(OptimizationConfig { worker_queue_capacity, ..config() }).await;
        plane.send(weighing(20, 1)).await;
        assert_eq!(queued(plane).await, worker_queue_capacity);
    }
}

#[tokio::test]
async fn no_more_bytes_are_in_flight_than_may_be() {
    for (max_bytes_in_flight, messages) in [(1024, 2), (2048, 5)] {
        let mut plane = busy(OptimizationConfig { max_bytes_in_flight, ..config() }).await;
        plane.send(weighing(20, 400)).await;
        assert_eq!(plane.processor.pool().bytes_in_flight(), messages * 400);
        assert_eq!(queued(plane).await, messages);
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

    let mut plane = Busy::on(processor.clone(), 0).await;
    plane.send((0..20).map(|_| Message::new(keyed()))).await;
    let held = processor.pool().bytes_in_flight();
    let answers = plane.finish().await;
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
    let mut plane = busy(config).await;
    plane.send(weighing(5, 1)).await;
    // Many times the shorter window.
    passed(Instant::now() + Duration::from_millis(50)).await;
    plane.send(weighing(10, 1)).await;
    queued(plane).await
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
