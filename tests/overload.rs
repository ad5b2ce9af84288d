//! What becomes of messages that could not be answered in time.
#![allow(missing_docs)]

mod common;

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use common::{busy::Busy, *};
use millstream::{
    DeadlineAdmission, HandlerError, Interruption, JobScope, MessageHandler, OptimizationConfig,
    OptimizationError, OptimizedStreamProcessor, Priority, Refusal, WhenFull,
    monitor::Counter,
    processor::{Message, StreamOptions},
};

/// A plane whose one worker is busy, with this many messages of some 20 ms queued behind it.
async fn backlog(admission: DeadlineAdmission, queued: u64) -> Busy {
    let setting = OptimizationConfig { deadline_admission: admission, ..OptimizationConfig::default() };
    backlog_under(setting, queued).await
}

/// The same, under other settings.
async fn backlog_under(setting: OptimizationConfig, queued: u64) -> Busy {
    let processor = processor(OptimizationConfig { worker_count: 1, backpressure_threshold: 1.0, ..setting });
    let work = |number| request(number, Act::Busy(Duration::from_millis(20)));
    for number in 0..3 {
        processor.process_one(work(number)).await.expect("answered");
    }
    let mut plane = Busy::on(processor, 1).await;
    plane.send((1..=queued).map(|number| Message::new(work(number)))).await;
    plane
}

#[tokio::test]
async fn a_message_that_would_be_late_is_refused_at_once_with_the_wait_and_a_hint() {
    let Busy { processor, .. } = &backlog(DeadlineAdmission::Enforce, 20).await;
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
        let plane = backlog_under(setting, 10).await;
        let processor = &plane.processor;
        let ask =
            |timeout| processor.answer(Message::new(request(99, Act::Answer)).timeout(Some(timeout)), None);
        let Err(OptimizationError::Refused(Refusal::WouldBeLate { wait, .. })) =
            ask(Duration::from_millis(1)).await.result
        else {
            panic!("a millisecond is too short for a wait behind ten messages")
        };
        // Two thirds of the time left, and room for the message itself, one of some eleven.
        let mut answer = Box::pin(ask(wait.mul_f64(1.5)));
        let is_refused = at_once(&mut answer).await.is_ready();
        assert_eq!(is_refused, refused, "with a share of {deadline_wait_share}");
        drop(answer);
    }
}

#[tokio::test]
async fn in_a_dry_run_what_would_be_late_is_counted_and_accepted() {
    let plane = backlog(DeadlineAdmission::DryRun, 4).await;
    let processor = plane.processor.clone();
    let late = Message::new(request(99, Act::Answer)).timeout(Some(Duration::from_millis(100)));
    let mut late = Box::pin(processor.answer(late, None));
    assert!(at_once(&mut late).await.is_pending(), "accepted");
    assert_eq!(processor.monitor().snapshot().counts.of(Counter::WouldBeLate), 1);
    drop(late);
    assert_eq!(plane.finish().await.len(), 5);
}

#[tokio::test]
async fn without_a_deadline_nothing_is_too_late() {
    let Busy { processor, answers, sender, keeper } = backlog(DeadlineAdmission::Enforce, 4).await;
    drop((sender, keeper));
    assert_eq!(processor.process_one(request(9, Act::Answer)).await.unwrap(), 9);
    assert_eq!(all(answers).await.len(), 5);
    assert_eq!(processor.monitor().snapshot().counts.of(Counter::WouldBeLate), 0);
}

#[tokio::test]
async fn what_expires_while_all_workers_are_busy_is_answered_and_what_it_held_is_free_at_once() {
    const PLACES: u64 = 3;
    // Many times what the lanes have room for, if what has expired stayed there.
    const ROUNDS: usize = 100;
    let processor = processor(OptimizationConfig {
        worker_count: 1,
        worker_queue_capacity: PLACES as usize,
        max_bytes_in_flight: 1024,
        stream_channel_capacity: 200,
        deadline_admission: DeadlineAdmission::Off,
        ..config()
    });
    let busy = Busy::on(processor.clone(), 0).await;
    let (sender, feed) = feed();
    let mut answers = processor.stream(feed, StreamOptions::default()).unwrap();
    let computed = request(0, Act::Answer).computed;
    for _ in 0..ROUNDS {
        for number in 0..PLACES {
            let computed = std::sync::Arc::clone(&computed);
            let request = Request { weight: 300, computed, ..request(number, Act::Answer) };
            sender.send(Message::new(request).timeout(Some(Duration::from_millis(2)))).unwrap();
        }
        for _ in 0..PLACES {
            let error = answer(&mut answers).await.result.unwrap_err();
            assert!(
                matches!(error, OptimizationError::Interrupted(Interruption::DeadlineExceeded)),
                "{error}"
            );
        }
        assert_eq!((processor.pool().queued(), processor.pool().bytes_in_flight()), (0, 0));
    }
    assert_eq!(busy.finish().await.remove(0).result.unwrap(), 0);
    assert_eq!(computed.load(SeqCst), 0, "nobody works on what nobody waits for");
    assert_eq!(processor.process_one(request(7, Act::Answer)).await.unwrap(), 7);
}

#[tokio::test]
async fn a_stream_that_leaves_gives_its_places_back_while_all_workers_are_busy() {
    let Busy { processor, answers, keeper: _keeper, .. } = backlog(DeadlineAdmission::Enforce, 20).await;
    assert_eq!(processor.pool().queued(), 20);
    drop(answers);
    assert_eq!((processor.pool().queued(), processor.pool().bytes_in_flight()), (0, 1), "one is at work");
}

/// Answers with what is left of its time.
struct Clock;

impl MessageHandler for Clock {
    type Request = ();
    type Response = Option<Duration>;

    fn handle(&mut self, (): (), scope: &mut JobScope<'_>) -> Result<Option<Duration>, HandlerError> {
        Ok(scope.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now())))
    }
}

#[tokio::test]
async fn the_sooner_of_the_calls_deadline_and_the_messages_own_is_the_handlers() {
    let processor = OptimizedStreamProcessor::new(config(), || Clock).unwrap();
    let left = async |call: Option<u64>, own: Option<u64>| {
        let call = call.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let message = Message::new(()).timeout(own.map(Duration::from_secs));
        processor.answer(message, call).await.result.unwrap()
    };
    let within = |left: Option<Duration>, seconds: u64| {
        let left = left.expect("there is a deadline");
        assert!(left <= Duration::from_secs(seconds) && left > Duration::from_secs(seconds - 60), "{left:?}");
    };
    assert_eq!(left(None, None).await, None);
    within(left(Some(100), None).await, 100);
    within(left(None, Some(200)).await, 200);
    within(left(Some(100), Some(200)).await, 100);
    within(left(Some(200), Some(100)).await, 100);
}

#[tokio::test]
async fn a_message_that_is_too_late_when_its_turn_comes_is_not_begun_though_nobody_looked_at_its_timer() {
    let setting = OptimizationConfig { deadline_admission: DeadlineAdmission::Off, ..config() };
    let mut plane = Busy::new(setting).await;
    let late = request(1, Act::Answer);
    let computed = std::sync::Arc::clone(&late.computed);
    let timeout = Duration::from_millis(20);
    plane.send([Message::new(late).timeout(Some(timeout))]).await;
    // Its time has run from here on at the latest.
    passed(Instant::now() + timeout).await;
    let Busy { processor, answers, sender, keeper } = plane;
    drop((sender, keeper));
    // The stream is not looked at until the worker has had its turn at both.
    eventually("the lanes are empty", || processor.pool().queued() == 0).await;
    let answers = all(answers).await;
    assert_eq!(answers[0].result.as_ref().unwrap(), &0);
    assert!(answers[1].result.is_err());
    assert_eq!(computed.load(SeqCst), 0);
}

#[tokio::test]
async fn a_handler_stops_at_its_deadline_though_nobody_looks_at_its_timer() {
    with_time_enough(async |timeout| {
        let processor = processor(config());
        let (spin, keeper) = gate();
        let (sender, feed) = feed();
        let mut answers = processor.stream(feed, StreamOptions::default()).unwrap();
        sender.send(Message::new(request(5, Act::Spin(spin))).timeout(Some(timeout))).unwrap();
        stir(&mut answers).await;
        keeper.begins_within(timeout)?;
        assert_eq!(keeper.await_end(), 5);
        drop(sender);
        let error = all(answers).await.remove(0).result.unwrap_err();
        assert_eq!(error.kind(), millstream::FailureKind::DeadlineExceeded);
        Some(())
    })
    .await;
}

#[tokio::test]
async fn in_an_emergency_only_what_is_more_urgent_than_low_is_accepted() {
    for (when_full, refuses) in [(WhenFull::Shed, true), (WhenFull::Wait, false)] {
        // Whatever wait there is, it is an emergency by such settings.
        let processor = processor(OptimizationConfig {
            queue_target_min: Duration::from_micros(1),
            queue_target_max: Duration::from_micros(1),
            overload_warning: 0.01,
            overload_critical: 0.01,
            overload_emergency: 0.01,
            queue_control: millstream::QueueControl::DryRun,
            when_full,
            ..config()
        });
        let ask = |priority| processor.process_one(Request { priority, ..request(1, Act::Answer) });
        let is_emergency = || processor.overload().level == millstream::OverloadLevel::Emergency;
        let deadline = Instant::now() + LONG;
        let low = loop {
            assert!(Instant::now() < deadline, "it never comes to that");
            assert!(ask(Priority::Normal).await.is_ok() && ask(Priority::High).await.is_ok());
            if !is_emergency() {
                continue;
            }
            let low = ask(Priority::Low).await;
            // Where the machine has held it up, the emergency may have been over by then.
            if low.is_err() || is_emergency() && !refuses {
                break low;
            }
        };
        let refused =
            low.is_err_and(|error| matches!(error, OptimizationError::Refused(Refusal::NotUrgent { .. })));
        assert_eq!(refused, refuses, "{when_full:?}");
        assert_eq!(processor.monitor().counts().of(Counter::NotUrgent), u64::from(refuses));
    }
}

#[tokio::test]
async fn where_all_is_refused_for_want_of_room_the_hint_is_many_times_the_drain() {
    const PLACES: u64 = 4;
    let processor = processor(OptimizationConfig {
        worker_count: 1,
        worker_queue_capacity: PLACES as usize,
        when_full: WhenFull::Shed,
        enable_length_scheduling: false,
        ..config()
    });
    for number in 0..3 {
        processor.process_one(request(number, Act::Busy(Duration::from_millis(20)))).await.expect("answered");
    }
    let mut plane = Busy::on(processor.clone(), 1).await;
    plane.send((0..PLACES).map(|number| Message::new(request(number, Act::Answer)))).await;
    let hint = async || match processor.process_one(request(99, Act::Answer)).await {
        Err(OptimizationError::Refused(Refusal::Overloaded { retry_after, .. })) => retry_after,
        other => panic!("{other:?}"),
    };
    let first = hint().await;
    let mut last = first;
    for _ in 0..500 {
        last = hint().await;
    }
    // Twenty times the drain at most, spread by half of it.
    assert!(last > 10 * first, "{first:?} and {last:?}");
}
