//! Messages that the task of their stream runs itself: who is let, and that nobody can tell but by the clock.
//!
//! Whether one may run in place is learnt from how long those before it took, and on a busy machine that may be long: so
//! what is asked for is that it happens, within the time of a test.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod common;

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use common::*;
use millstream::{
    OptimizationConfig, OptimizationError, OptimizedStreamProcessor, Refusal,
    monitor::{Counter, Outcome, Stage, StageHistogram},
    processor::{Answer, Message, Order, StreamOptions},
};

type Processor = OptimizedStreamProcessor<Actor>;

/// As much as may be allowed, for a machine that is busy with other tests.
fn generous() -> OptimizationConfig {
    OptimizationConfig { in_place_budget: Duration::from_millis(1), ..config() }
}

fn vouched(number: u64, act: Act) -> Request {
    Request { vouched: true, ..request(number, act) }
}

fn run_in_place(processor: &Processor) -> u64 {
    processor.monitor().counts().of(Counter::RunInPlace)
}

/// Sends messages of no length, one after the other, until one runs in place.
async fn learn(processor: &Processor) {
    let before = run_in_place(processor);
    let deadline = Instant::now() + LONG;
    while run_in_place(processor) == before {
        assert!(Instant::now() < deadline, "nothing ever runs in place");
        assert_eq!(processor.process_one(vouched(1, Act::Answer)).await.unwrap(), 1);
    }
}

/// Sends messages of this kind until one runs in place; its answer.
async fn in_place(processor: &Processor, request: impl Fn() -> Request) -> Answer<u64> {
    let deadline = Instant::now() + LONG;
    loop {
        learn(processor).await;
        let before = run_in_place(processor);
        let answer = processor.answer(Message::new(request()), None).await;
        if run_in_place(processor) > before {
            return answer;
        }
        assert!(Instant::now() < deadline, "it never runs in place");
    }
}

#[tokio::test]
async fn what_costs_less_than_its_hand_off_runs_where_it_was_read_if_there_is_a_budget() {
    let processor = processor(OptimizationConfig { worker_count: 1, ..generous() });
    learn(&processor).await;
    // The one worker is busy: whoever answers now is no worker.
    let (busy, keeper) = gate();
    let mut beside =
        processor.stream(ready([request(0, Act::Wait(busy))]), StreamOptions::default()).unwrap();
    stir(&mut beside).await;
    keeper.await_begin();
    let answer = in_place(&processor, || vouched(7, Act::Answer)).await;
    assert_eq!(answer.result.unwrap(), 7);
    assert!(answer.timing.is_some() && !answer.cache_hit);
    drop(keeper);
    assert_eq!(all(beside).await.len(), 1);

    let without = common::processor(OptimizationConfig { in_place_budget: Duration::ZERO, ..config() });
    let answers = without.stream(ready((0..5000).map(|n| vouched(n, Act::Answer))), StreamOptions::default());
    assert_eq!(all(answers.unwrap()).await.len(), 5000);
    assert_eq!(run_in_place(&without), 0);
}

#[tokio::test]
async fn without_the_authors_word_everything_goes_to_a_worker() {
    let processor = processor(generous());
    learn(&processor).await;
    let before = run_in_place(&processor);
    for number in 0..100 {
        assert_eq!(processor.process_one(request(number, Act::Answer)).await.unwrap(), number);
    }
    assert_eq!(run_in_place(&processor), before);
}

#[tokio::test]
async fn what_takes_longer_than_was_learnt_goes_to_a_worker_before_long() {
    let processor = processor(generous());
    learn(&processor).await;
    let long = generous().in_place_budget * 2;
    let begin = run_in_place(&processor);
    // Once in a while a class is looked at anew; one in a thousand may be long.
    let mut last = begin;
    let deadline = Instant::now() + LONG;
    loop {
        for _ in 0..40 {
            processor.process_one(vouched(0, Act::Busy(long))).await.unwrap();
        }
        let now = run_in_place(&processor);
        if now == last {
            break;
        }
        assert!(Instant::now() < deadline, "{} long messages ran in place", now - begin);
        last = now;
    }
}

#[tokio::test]
async fn a_panic_in_place_is_the_answer_to_its_message_and_nobody_elses() {
    let processor = processor(generous());
    let panics = || processor.monitor().counts().of(Counter::Panics);
    let answer = in_place(&processor, || vouched(3, Act::Panic)).await;
    assert!(
        matches!(&answer.result, Err(OptimizationError::Panicked(text)) if text == "message 3 panics"),
        "{:?}",
        answer.result
    );
    assert!(panics() > 0);
    let failed = in_place(&processor, || vouched(4, Act::Fail)).await;
    assert!(matches!(failed.result, Err(OptimizationError::Handler(_))), "{:?}", failed.result);
    // The instance that panicked is gone, what it held is free, and the next is as good.
    assert_eq!(in_place(&processor, || vouched(5, Act::Answer)).await.result.unwrap(), 5);
    assert_eq!((processor.pool().queued(), processor.pool().bytes_in_flight()), (0, 0));
}

#[tokio::test]
async fn it_takes_its_turn_among_the_answers_and_holds_its_bytes_until_then() {
    let processor = processor(generous());
    for order in [Order::Request, Order::Completion] {
        let deadline = Instant::now() + LONG;
        loop {
            learn(&processor).await;
            let before = run_in_place(&processor);
            let (busy, keeper) = gate();
            let heavy = 1000;
            let requests = [request(0, Act::Wait(busy)), vouched(1, Act::Heavy(heavy))];
            let options = StreamOptions { order, ..StreamOptions::default() };
            let mut answers = processor.stream(ready(requests), options).unwrap();
            if order == Order::Request {
                stir(&mut answers).await;
                keeper.await_begin();
                assert!(run_in_place(&processor) == before || processor.pool().bytes_in_flight() > heavy);
            } else {
                assert_eq!(answer(&mut answers).await.sequence, 1, "its answer is first");
            }
            drop(keeper);
            let rest: Vec<_> = all(answers).await.into_iter().map(|answer| answer.sequence).collect();
            assert_eq!(rest, if order == Order::Request { vec![0, 1] } else { vec![0] });
            if run_in_place(&processor) > before {
                break;
            }
            assert!(Instant::now() < deadline, "it never runs in place");
        }
    }
}

#[tokio::test]
async fn its_answer_is_kept_for_equal_messages_and_told_to_those_that_wait_for_it() {
    let processor = processor(generous());
    let mut key = 0;
    let deadline = Instant::now() + LONG;
    loop {
        learn(&processor).await;
        let before = run_in_place(&processor);
        key += 1;
        let first = Request { key: Some(key), ..vouched(key, Act::Answer) };
        let computed = std::sync::Arc::clone(&first.computed);
        let requests = (0..3).map(|_| first.clone());
        let answers = all(processor.stream(ready(requests), StreamOptions::default()).unwrap()).await;
        assert!(answers.iter().all(|answer| answer.result.as_ref().is_ok_and(|&number| number == key)));
        assert_eq!(answers.iter().filter(|answer| answer.cache_hit).count(), 2);
        assert_eq!(computed.load(SeqCst), 1, "it is computed once");
        if run_in_place(&processor) > before {
            return;
        }
        assert!(Instant::now() < deadline, "it never runs in place");
    }
}

#[tokio::test]
async fn its_times_are_counted_like_everybody_elses() {
    let processor = processor(generous());
    learn(&processor).await;
    let counts = processor.monitor().counts();
    let accepted = counts.of(Counter::Accepted);
    assert_eq!(counts.answered(Outcome::Ok), accepted);
    assert_eq!(counts.of(Counter::RunInPlace) + counts.of(Counter::BatchedMessages), accepted);
    let snapshot = processor.monitor().snapshot();
    for stage in [Stage::QueueWait, Stage::ServiceTime, Stage::SojournTime] {
        let times = snapshot.histograms.iter().filter(|times| times.stage == stage);
        assert_eq!(times.map(StageHistogram::count).sum::<u64>(), accepted, "{stage:?}");
    }
}

#[tokio::test]
async fn a_plane_that_drains_runs_nothing_in_place() {
    let processor = processor(generous());
    learn(&processor).await;
    let before = run_in_place(&processor);
    processor.drain(Instant::now() + LONG).await;
    let refused = processor.process_one(vouched(1, Act::Answer)).await;
    assert!(matches!(refused, Err(OptimizationError::Refused(Refusal::Draining))), "{refused:?}");
    assert_eq!(run_in_place(&processor), before);
}

#[tokio::test]
async fn what_could_run_at_once_waits_for_an_equal_one_in_work_and_holds_its_bytes_until_then() {
    let processor = processor(generous());
    let held = || (processor.pool().queued(), processor.pool().bytes_in_flight());
    for key in 0..20 {
        let (busy, keeper) = gate();
        let first = Request { key: Some(key), ..request(key, Act::Wait(busy)) };
        let mut leads = processor.stream(ready([first]), StreamOptions::default()).unwrap();
        stir(&mut leads).await;
        keeper.await_begin();
        learn(&processor).await;
        let heavy = 1000;
        let equal = Request { key: Some(key), weight: heavy, ..vouched(key + 1, Act::Answer) };
        let mut follows = processor.stream(ready([equal]), StreamOptions::default()).unwrap();
        stir(&mut follows).await;
        assert_eq!(held(), (0, 1 + heavy), "it waits for no worker");
        drop(keeper);
        assert_eq!(all(leads).await.len(), 1);
        let told = answer(&mut follows).await;
        assert!(told.cache_hit && told.result.is_ok_and(|number| number == key));
        assert_eq!(held(), (0, 0));
    }
}
