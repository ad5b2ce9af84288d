//! What equal messages get: one computation, whatever becomes of the one that does it.
#![allow(missing_docs)]

mod common;

use std::sync::{Arc, atomic::Ordering::SeqCst};

use common::*;
use millstream::{
    FailureKind, Interruption, OptimizationConfig, OptimizationError, OptimizedStreamProcessor,
    monitor::Counter,
    processor::{Answer, Message, StreamOptions},
};

fn in_order() -> StreamOptions {
    StreamOptions::default()
}

/// What was found in the cache, joined, and computed.
fn lookups(processor: &OptimizedStreamProcessor<Actor>) -> [u64; 3] {
    let counts = processor.monitor().counts();
    [Counter::CacheHits, Counter::CacheJoins, Counter::CacheMisses].map(|counter| counts.of(counter))
}

fn kind(answer: &Answer<u64>) -> Option<FailureKind> {
    answer.result.as_ref().err().map(OptimizationError::kind)
}

#[tokio::test]
async fn an_answer_is_computed_once_and_then_comes_from_the_cache() {
    let processor = processor(config());
    let first = common::Request { key: Some(1), ..request(7, Act::Answer) };
    let computed = Arc::clone(&first.computed);
    let (sender, feed) = feed();
    let mut answers = processor.stream(feed, in_order()).unwrap();
    sender.send(Message::new(first.clone())).unwrap();
    assert!(!answer(&mut answers).await.cache_hit);
    sender.send(Message::new(first.clone())).unwrap();
    let hit = answer(&mut answers).await;
    assert_eq!((hit.cache_hit, hit.result.unwrap(), hit.timing), (true, 7, None));
    assert_eq!(computed.load(SeqCst), 1);
    sender.send(Message::new(first).cached(false)).unwrap();
    assert!(!answer(&mut answers).await.cache_hit);
    assert_eq!(computed.load(SeqCst), 2);
}

#[tokio::test]
async fn a_thousand_equal_messages_at_a_time_are_one_computation() {
    let processor = processor(config());
    let (slow, keeper) = gate();
    let equal = common::Request { key: Some(1), ..request(7, Act::Wait(slow)) };
    let computed = Arc::clone(&equal.computed);
    let mut streams: Vec<_> = (0..10)
        .map(|_| processor.stream(ready(std::iter::repeat_n(equal.clone(), 100)), in_order()).unwrap())
        .collect();
    for answers in &mut streams {
        // Each poll admits a part, and asks to be polled again.
        for _ in 0..3 {
            stir(answers).await;
        }
    }
    keeper.await_begin();
    drop(keeper);
    let mut hits = 0;
    for answers in streams {
        let answers = all(answers).await;
        assert_eq!(answers.len(), 100);
        hits += answers.iter().filter(|answer| answer.cache_hit).count();
        assert!(answers.iter().all(|answer| matches!(answer.result, Ok(7))));
    }
    assert_eq!((computed.load(SeqCst), hits), (1, 999));
    let [found, joined, missed] = lookups(&processor);
    assert_eq!((found + joined, missed), (999, 1));
}

#[tokio::test]
async fn a_leader_that_fails_passes_the_turn_on_and_its_failure_is_not_cached() {
    with_time_enough(async |timeout| {
        let processor = processor(config());
        let (sender, feed) = feed();
        let mut answers = processor.stream(feed, in_order()).unwrap();
        let (slow, keeper) = gate();
        // Fails at its deadline, at a checkpoint.
        let leader = common::Request { key: Some(1), ..request(1, Act::Spin(slow)) };
        let follower = common::Request { key: Some(1), ..request(2, Act::Answer) };
        sender.send(Message::new(leader).timeout(Some(timeout))).unwrap();
        sender.send(Message::new(follower.clone())).unwrap();
        sender.send(Message::new(follower)).unwrap();
        stir(&mut answers).await;
        keeper.begins_within(timeout)?;
        let first = answer(&mut answers).await;
        assert_eq!(kind(&first), Some(FailureKind::DeadlineExceeded));
        let second = answer(&mut answers).await;
        assert_eq!((second.result.unwrap(), second.cache_hit), (2, false), "it computed in its turn");
        let third = answer(&mut answers).await;
        assert_eq!((third.result.unwrap(), third.cache_hit), (2, true));
        assert_eq!(lookups(&processor), [0, 1, 2], "who computes in its turn has spared nothing");
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_leader_whose_client_goes_passes_the_turn_to_another_stream() {
    let processor = processor(OptimizationConfig { worker_count: 1, ..config() });
    let (busy, keeper) = gate();
    let mut busy_stream = processor.stream(ready([request(0, Act::Wait(busy))]), in_order()).unwrap();
    stir(&mut busy_stream).await;
    keeper.await_begin();
    let equal = common::Request { key: Some(1), ..request(7, Act::Answer) };
    let mut leaving = processor.stream(ready([equal.clone(), equal.clone()]), in_order()).unwrap();
    stir(&mut leaving).await;
    let mut staying = processor.stream(ready([equal]), in_order()).unwrap();
    stir(&mut staying).await;
    drop(leaving);
    drop(keeper);
    assert_eq!(answer(&mut staying).await.result.unwrap(), 7);
}

#[tokio::test]
async fn a_message_that_overstays_is_answered_and_the_stream_goes_on() {
    with_time_enough(async |worker_timeout| {
        let processor = processor(OptimizationConfig { worker_count: 1, worker_timeout, ..config() });
        let (stuck, keeper) = gate();
        let equal = common::Request { key: Some(1), ..request(0, Act::Wait(stuck)) };
        let follower = common::Request { key: Some(1), ..request(5, Act::Answer) };
        let requests = [equal, follower, request(2, Act::Answer)];
        let answers = all(processor.stream(ready(requests), in_order()).unwrap()).await;
        drop(keeper);
        let overstays = |answer: &Answer<u64>| {
            matches!(answer.result, Err(OptimizationError::Interrupted(Interruption::Overstayed)))
        };
        assert!(overstays(&answers[0]));
        // On a busy machine the others may, too.
        if answers[1..].iter().any(overstays) {
            return None;
        }
        assert_eq!(*answers[1].result.as_ref().unwrap(), 5, "its flight was taken from the stuck leader");
        assert!(answers[2].result.is_ok());
        Some(())
    })
    .await;
}
