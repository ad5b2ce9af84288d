//! What becomes of messages that could not be answered in time.
#![allow(missing_docs)]

mod common;

use std::{
    future::{Future, poll_fn},
    time::Duration,
};

use common::*;
use millstream::{
    DeadlineAdmission, OptimizationConfig, OptimizationError, Refusal,
    monitor::Counter,
    processor::{Message, StreamOptions},
};

/// A plane whose one worker is busy, with this many messages of some 20 ms queued behind it.
async fn backlog(
    admission: DeadlineAdmission,
    queued: u64,
) -> (millstream::OptimizedStreamProcessor<Actor>, Answers, Keeper) {
    let setting = OptimizationConfig { deadline_admission: admission, ..OptimizationConfig::default() };
    backlog_under(setting, queued).await
}

/// The same, under other settings.
async fn backlog_under(
    setting: OptimizationConfig,
    queued: u64,
) -> (millstream::OptimizedStreamProcessor<Actor>, Answers, Keeper) {
    let processor = processor(OptimizationConfig { worker_count: 1, backpressure_threshold: 1.0, ..setting });
    for n in 0..3 {
        processor.process_one(request(n, Act::Busy(Duration::from_millis(20)))).await.expect("answered");
    }
    let (gate, keeper) = gate();
    let waiting = (1..=queued).map(|n| request(n, Act::Busy(Duration::from_millis(20))));
    let requests = std::iter::once(request(0, Act::Wait(gate))).chain(waiting);
    let mut answers = processor.stream(ready(requests), StreamOptions::default()).expect("a stream may open");
    stir(&mut answers).await;
    keeper.await_begin();
    (processor, answers, keeper)
}

#[tokio::test]
async fn a_message_that_would_be_late_is_refused_at_once_with_the_wait_and_a_hint() {
    let (processor, _answers, _keeper) = backlog(DeadlineAdmission::Enforce, 20).await;
    let message = |timeout| Message::new(request(99, Act::Answer)).timeout(Some(timeout));
    let refused = processor.answer(message(Duration::from_millis(100)), None).await.result.unwrap_err();
    let OptimizationError::Refused(Refusal::WouldBeLate { wait, budget, retry_after }) = refused else {
        panic!("{refused}")
    };
    assert!(
        wait >= Duration::from_millis(400) && budget <= Duration::from_millis(100),
        "{wait:?} {budget:?}"
    );
    assert!(retry_after >= Duration::from_millis(300), "{retry_after:?}");
    assert_eq!(processor.monitor().snapshot().counts.of(Counter::WouldBeLate), 1);
}

#[tokio::test]
async fn the_wait_may_take_its_share_of_the_time_left_and_no_more() {
    for (deadline_wait_share, refused) in [(0.5, true), (1.0, false)] {
        let setting = OptimizationConfig { deadline_wait_share, ..OptimizationConfig::default() };
        let (processor, answers, keeper) = backlog_under(setting, 10).await;
        let ask =
            |timeout| processor.answer(Message::new(request(99, Act::Answer)).timeout(Some(timeout)), None);
        let Err(OptimizationError::Refused(Refusal::WouldBeLate { wait, .. })) =
            ask(Duration::from_millis(1)).await.result
        else {
            panic!("a millisecond is too short for a wait behind ten messages")
        };
        // Two thirds of the time left, and room for the message itself, one of some eleven.
        let mut answer = Box::pin(ask(wait.mul_f64(1.5)));
        let at_once = poll_fn(|cx| std::task::Poll::Ready(answer.as_mut().poll(cx).is_ready())).await;
        assert_eq!(at_once, refused, "with a share of {deadline_wait_share}");
        drop((answer, keeper, answers));
    }
}

#[tokio::test]
async fn in_a_dry_run_what_would_be_late_is_counted_and_accepted() {
    let (processor, answers, keeper) = backlog(DeadlineAdmission::DryRun, 4).await;
    let late = Message::new(request(99, Act::Answer)).timeout(Some(Duration::from_millis(100)));
    let mut late = Box::pin(processor.answer(late, None));
    poll_fn(|cx| {
        assert!(late.as_mut().poll(cx).is_pending(), "accepted");
        std::task::Poll::Ready(())
    })
    .await;
    assert_eq!(processor.monitor().snapshot().counts.of(Counter::WouldBeLate), 1);
    drop((late, keeper));
    assert_eq!(all(answers).await.len(), 5);
}

#[tokio::test]
async fn without_a_deadline_nothing_is_too_late() {
    let (processor, answers, keeper) = backlog(DeadlineAdmission::Enforce, 4).await;
    drop(keeper);
    assert_eq!(processor.process_one(request(9, Act::Answer)).await.unwrap(), 9);
    assert_eq!(all(answers).await.len(), 5);
    assert_eq!(processor.monitor().snapshot().counts.of(Counter::WouldBeLate), 0);
}
