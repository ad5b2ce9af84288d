//! Which messages travel to a worker together.

use std::time::{Duration, Instant};

use millstream::{OptimizationConfig, monitor::Counter, processor::Message};

use crate::common::{busy::Busy, *};

/// Queues more messages.
async fn queue(plane: &mut Busy, messages: u64) {
    plane.send((1..=messages).map(|number| Message::new(request(number, Act::Answer)))).await;
}

/// How many batches the messages make that were queued behind the busy worker, once all are answered.
async fn batches_of(plane: Busy) -> u64 {
    let monitor = plane.processor.monitor().clone();
    let answers = plane.finish().await.len() as u64;
    let counts = monitor.snapshot().counts;
    assert_eq!(counts.of(Counter::BatchedMessages), answers);
    counts.of(Counter::Batches) - 1
}

/// Times that nobody waits out.
fn unhurried() -> OptimizationConfig {
    OptimizationConfig {
        batch_timeout: Duration::from_secs(60),
        max_batch_wait: Duration::from_secs(60),
        ..config()
    }
}

#[tokio::test]
async fn no_more_messages_travel_together_than_a_batch_may_have() {
    for (batch_size, batches) in [(1, 10), (4, 3), (10, 1)] {
        let mut plane = Busy::new(OptimizationConfig { batch_size, ..unhurried() }).await;
        queue(&mut plane, 10).await;
        assert_eq!(batches_of(plane).await, batches, "batch_size = {batch_size}");
    }
}

#[tokio::test]
async fn a_batch_takes_company_for_so_long_after_its_latest_message() {
    let short = Duration::from_millis(5);
    for (batch_timeout, batches) in [(short, 2), (Duration::from_secs(60), 1)] {
        let mut plane = Busy::new(OptimizationConfig { batch_timeout, ..unhurried() }).await;
        queue(&mut plane, 1).await;
        passed(Instant::now() + short).await;
        queue(&mut plane, 1).await;
        assert_eq!(batches_of(plane).await, batches, "batch_timeout = {batch_timeout:?}");
    }
}

/// Three messages: the second comes within `step` of the first, the third later than `step` after the first, but within
/// `step` of the second. Gives the batches that they make, or nothing when the machine was too busy for that.
async fn three_in_time(config: OptimizationConfig, step: Duration) -> Option<u64> {
    let mut plane = Busy::new(config).await;
    let before_first = Instant::now();
    queue(&mut plane, 1).await;
    let after_first = Instant::now();
    passed(after_first + step / 2).await;
    let before_second = Instant::now();
    queue(&mut plane, 1).await;
    let second_in_time = before_first.elapsed() < step;
    passed(after_first + step).await;
    queue(&mut plane, 1).await;
    let third_in_time = before_second.elapsed() < step;
    let batches = batches_of(plane).await;
    (second_in_time && third_in_time).then_some(batches)
}

#[tokio::test]
async fn a_batch_takes_company_for_so_long_after_its_first_message() {
    let step = Duration::from_millis(200);
    for (max_batch_wait, batches) in [(step, 2), (Duration::from_secs(60), 1)] {
        let config = OptimizationConfig { batch_timeout: step, max_batch_wait, ..unhurried() };
        let deadline = Instant::now() + LONG;
        let made = loop {
            if let Some(made) = three_in_time(config.clone(), step).await {
                break made;
            }
            assert!(Instant::now() < deadline, "the machine is never calm for {step:?}");
        };
        assert_eq!(made, batches, "max_batch_wait = {max_batch_wait:?}");
    }
}
