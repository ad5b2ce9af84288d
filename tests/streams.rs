//! What a stream promises: one answer for each message, in order, bounded, in time, whatever happens to it.
#![allow(missing_docs)]

mod common;

use std::{
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use common::*;
use millstream::{
    FailureKind, Interruption, OptimizationConfig, OptimizationError, Priority, Refusal, WhenFull,
    processor::{Message, Order, StreamOptions},
};

fn in_order() -> StreamOptions {
    StreamOptions::default()
}

fn as_completed() -> StreamOptions {
    StreamOptions { order: Order::Completion, ..StreamOptions::default() }
}

fn kind(answer: &millstream::processor::Answer<u64>) -> Option<FailureKind> {
    answer.result.as_ref().err().map(OptimizationError::kind)
}

#[tokio::test]
async fn answers_leave_in_the_order_of_the_requests() {
    let processor = processor(config());
    let answers = processor.stream(ready((0..5000).map(|n| request(n, Act::Answer))), in_order()).unwrap();
    let numbers: Vec<_> = all(answers).await.into_iter().map(|answer| answer.result.unwrap()).collect();
    assert_eq!(numbers, (0..5000).collect::<Vec<_>>());
}

#[tokio::test]
async fn in_completion_order_the_quick_overtake_the_slow() {
    let processor = processor(config());
    let (slow, keeper) = gate();
    let requests = [request(0, Act::Wait(slow)), request(1, Act::Answer), request(2, Act::Answer)];
    let mut answers = processor.stream(ready(requests), as_completed()).unwrap();
    assert_eq!(answer(&mut answers).await.sequence, 1);
    assert_eq!(answer(&mut answers).await.sequence, 2);
    drop(keeper);
    assert_eq!(answer(&mut answers).await.sequence, 0);
    assert!(next(&mut answers).await.is_none());
}

#[tokio::test]
async fn in_request_order_the_quick_wait_for_the_slow() {
    let processor = processor(config());
    let (slow, keeper) = gate();
    let mut answers =
        processor.stream(ready([request(0, Act::Wait(slow)), request(1, Act::Answer)]), in_order()).unwrap();
    stir(&mut answers).await;
    keeper.await_begin();
    drop(keeper);
    assert_eq!(answer(&mut answers).await.sequence, 0);
    assert_eq!(answer(&mut answers).await.sequence, 1);
}

#[tokio::test]
async fn a_message_that_fails_or_panics_is_answered_so_and_the_stream_lives_on() {
    let processor = processor(config());
    let acts = [Act::Answer, Act::Fail, Act::Panic, Act::Answer];
    let requests = acts.into_iter().enumerate().map(|(n, act)| request(n as u64, act));
    let answers = all(processor.stream(ready(requests), in_order()).unwrap()).await;
    let kinds: Vec<_> = answers.iter().map(kind).collect();
    assert_eq!(kinds, [None, Some(FailureKind::InvalidArgument), Some(FailureKind::Internal), None]);
    let panic = answers[2].result.as_ref().unwrap_err().to_string();
    assert!(panic.contains("message 2 panics"), "{panic}");
}

#[tokio::test]
async fn every_message_beside_a_stuck_one_of_its_batch_goes_on() {
    let processor = processor(config());
    let (gate, keeper) = gate();
    let (sender, feed) = feed();
    let mut answers = processor.stream(feed, as_completed()).unwrap();
    // Both workers are busy while a batch gathers behind them.
    for n in 0..2 {
        sender.send(Message::new(request(n, Act::Wait(gate.clone())))).unwrap();
    }
    stir(&mut answers).await;
    keeper.await_begin();
    keeper.await_begin();
    let (stuck, stuck_keeper) = common::gate();
    sender.send(Message::new(request(2, Act::Wait(stuck)))).unwrap();
    for n in 3..10 {
        sender.send(Message::new(request(n, Act::Answer))).unwrap();
    }
    stir(&mut answers).await;
    drop(keeper);
    stuck_keeper.await_begin();
    let mut numbers: Vec<_> = Vec::new();
    for _ in 0..9 {
        numbers.push(answer(&mut answers).await.sequence);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 3, 4, 5, 6, 7, 8, 9]);
    drop(stuck_keeper);
    assert_eq!(answer(&mut answers).await.sequence, 2);
}

#[tokio::test]
async fn a_running_message_is_answered_at_its_deadline_and_its_slot_counts_until_it_ends() {
    with_time_enough(async |timeout| {
        let processor = processor(OptimizationConfig { stream_channel_capacity: 1, ..config() });
        let (stubborn, keeper) = gate();
        let (sender, feed) = feed();
        let mut answers = processor.stream(feed, in_order()).unwrap();
        let begun = Instant::now();
        sender.send(Message::new(request(0, Act::Wait(stubborn))).timeout(Some(timeout))).unwrap();
        sender.send(Message::new(request(1, Act::Answer))).unwrap();
        assert_eq!(kind(&answer(&mut answers).await), Some(FailureKind::DeadlineExceeded));
        assert!(begun.elapsed() >= timeout);
        keeper.begins_within(Duration::ZERO)?;
        stir(&mut answers).await;
        drop(keeper);
        assert_eq!(answer(&mut answers).await.sequence, 1);
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_queued_message_is_answered_at_its_deadline_while_all_workers_are_busy_and_frees_its_bytes() {
    let processor = processor(config());
    let (busy, keeper) = gate();
    let (sender, feed) = feed();
    let mut answers = processor.stream(feed, as_completed()).unwrap();
    for n in 0..2 {
        sender.send(Message::new(request(n, Act::Wait(busy.clone())))).unwrap();
    }
    let late = common::Request { weight: 1000, ..request(2, Act::Answer) };
    let computed = Arc::clone(&late.computed);
    stir(&mut answers).await;
    keeper.await_begin();
    keeper.await_begin();
    sender.send(Message::new(late).timeout(Some(Duration::from_millis(20)))).unwrap();
    let expired = answer(&mut answers).await;
    assert_eq!((expired.sequence, kind(&expired)), (2, Some(FailureKind::DeadlineExceeded)));
    assert_eq!(processor.pool().bytes_in_flight(), 2, "its bytes are free while it is still in the lane");
    drop((keeper, sender));
    assert_eq!(all(answers).await.len(), 2);
    assert_eq!(computed.load(SeqCst), 0, "it was never started");
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_answered_without_a_worker() {
    let processor = processor(config());
    let (sender, feed) = feed();
    let late = request(0, Act::Answer);
    let computed = Arc::clone(&late.computed);
    sender.send(Message::new(late).timeout(Some(Duration::ZERO))).unwrap();
    drop(sender);
    let answers = all(processor.stream(feed, in_order()).unwrap()).await;
    assert_eq!(kind(&answers[0]), Some(FailureKind::DeadlineExceeded));
    assert_eq!(computed.load(SeqCst), 0);
}

#[tokio::test]
async fn the_deadline_of_the_call_is_that_of_every_message() {
    let processor = processor(config());
    let (busy, keeper) = gate();
    let requests = (0..4).map(|n| request(n, Act::Wait(busy.clone())));
    let deadline = Some(Instant::now() + Duration::from_millis(30));
    let answers = processor.stream(ready(requests), StreamOptions { deadline, ..in_order() }).unwrap();
    let answers = all(answers).await;
    assert!(answers.iter().all(|answer| kind(answer) == Some(FailureKind::DeadlineExceeded)), "{answers:?}");
    drop(keeper);
}

#[tokio::test]
async fn a_client_that_goes_cancels_what_waits_and_stops_what_runs() {
    // What is short waits for what is long, and does not run within its checkpoints.
    let processor = processor(OptimizationConfig { enable_length_scheduling: false, ..config() });
    let (spin, keeper) = gate();
    let waiting = request(9, Act::Answer);
    let computed = Arc::clone(&waiting.computed);
    let requests = [request(0, Act::Spin(spin.clone())), request(1, Act::Spin(spin)), waiting];
    let mut answers = processor.stream(ready(requests), in_order()).unwrap();
    stir(&mut answers).await;
    keeper.await_begin();
    keeper.await_begin();
    assert_eq!(processor.open_streams(), 1);
    drop(answers);
    keeper.await_end();
    keeper.await_end();
    eventually("everything is free", || {
        let pool = processor.pool();
        pool.bytes_in_flight() == 0 && pool.queued() == 0 && processor.open_streams() == 0
    })
    .await;
    assert_eq!(computed.load(SeqCst), 0);
}

#[tokio::test]
async fn no_more_is_accepted_than_may_be_in_flight() {
    let config = OptimizationConfig { worker_queue_capacity: 4, max_bytes_in_flight: 1024, ..config() };
    let processor = processor(config);
    let (busy, keeper) = gate();
    let requests = (0..100).map(|n| common::Request { weight: 100, ..request(n, Act::Wait(busy.clone())) });
    let mut answers = processor.stream(ready(requests), in_order()).unwrap();
    stir(&mut answers).await;
    keeper.await_begin();
    keeper.await_begin();
    stir(&mut answers).await;
    assert_eq!(processor.pool().queued(), 4);
    assert_eq!(answers.context().message_count, 7, "two run, four wait, one stands at the door");
    assert_eq!(processor.pool().bytes_in_flight(), 600);
    drop(keeper);
    assert_eq!(all(answers).await.len(), 100);
    assert_eq!(processor.pool().bytes_in_flight(), 0);
}

#[tokio::test]
async fn a_message_larger_than_all_that_may_be_in_flight_is_refused_and_the_stream_lives_on() {
    let processor = processor(OptimizationConfig { max_bytes_in_flight: 1024, ..config() });
    let large = common::Request { weight: 1025, ..request(0, Act::Answer) };
    let answers = all(processor.stream(ready([large, request(1, Act::Answer)]), in_order()).unwrap()).await;
    let refused = answers[0].result.as_ref().unwrap_err();
    assert!(
        matches!(refused, OptimizationError::Refused(Refusal::TooLarge { weight: 1025, limit: 1024 })),
        "{refused}"
    );
    assert!(answers[1].result.is_ok());
}

#[tokio::test]
async fn a_full_plane_sheds_when_it_is_told_to() {
    let config = OptimizationConfig { worker_queue_capacity: 1, when_full: WhenFull::Shed, ..config() };
    let processor = processor(config);
    let (busy, keeper) = gate();
    let (sender, feed) = feed();
    let mut answers = processor.stream(feed, as_completed()).unwrap();
    for n in 0..2 {
        sender.send(Message::new(request(n, Act::Wait(busy.clone())))).unwrap();
        stir(&mut answers).await;
        keeper.await_begin();
    }
    for n in 2..4 {
        sender.send(Message::new(request(n, Act::Answer))).unwrap();
    }
    let shed = answer(&mut answers).await;
    assert_eq!((shed.sequence, kind(&shed)), (3, Some(FailureKind::ResourceExhausted)));
    drop((keeper, sender));
    assert_eq!(all(answers).await.len(), 3);
}

#[tokio::test]
async fn urgent_messages_go_first() {
    let processor = processor(OptimizationConfig { worker_count: 1, ..config() });
    let (busy, keeper) = gate();
    let (sender, feed) = feed();
    let mut answers = processor.stream(feed, as_completed()).unwrap();
    sender.send(Message::new(request(0, Act::Wait(busy)))).unwrap();
    stir(&mut answers).await;
    keeper.await_begin();
    for (n, priority) in [(1, Priority::Low), (2, Priority::Normal), (3, Priority::High)] {
        sender.send(Message::new(common::Request { priority, ..request(n, Act::Answer) })).unwrap();
    }
    stir(&mut answers).await;
    drop((keeper, sender));
    let sequences: Vec<_> = all(answers).await.iter().map(|answer| answer.sequence).collect();
    assert_eq!(sequences, [0, 3, 2, 1]);
}

#[tokio::test]
async fn a_silent_stream_is_ended_with_a_status_and_a_busy_one_is_not() {
    let processor = processor(OptimizationConfig { stream_timeout: Duration::from_millis(50), ..config() });
    let (sender, feed) = feed();
    let mut answers = processor.stream(feed, in_order()).unwrap();
    sender.send(Message::new(request(0, Act::Answer))).unwrap();
    assert!(answer(&mut answers).await.result.is_ok());
    let end = next(&mut answers).await.unwrap().unwrap_err();
    assert!(matches!(end, OptimizationError::StreamIdle(_)), "{end}");
    assert!(next(&mut answers).await.is_none());
}

#[tokio::test]
async fn one_stream_too_many_is_refused_and_another_may_come_when_one_has_gone() {
    let processor = processor(OptimizationConfig { max_concurrent_connections: 2, ..config() });
    let one = processor.stream(ready([]), in_order()).unwrap();
    let _two = processor.stream(ready([]), in_order()).unwrap();
    let refused = processor.stream(ready([]), in_order()).map(|_| ()).unwrap_err();
    assert!(
        matches!(refused, OptimizationError::Refused(Refusal::TooManyStreams { limit: 2, .. })),
        "{refused}"
    );
    drop(one);
    assert!(processor.stream(ready([]), in_order()).is_ok());
}

#[tokio::test]
async fn a_client_that_leaves_work_behind_in_the_workers_counts_until_it_has_ended() {
    let processor = processor(OptimizationConfig { max_concurrent_connections: 2, ..config() });
    let (wait, keeper) = gate();
    for number in 0..2 {
        let waits = request(number, Act::Wait(wait.clone()));
        let mut answers = processor.stream(ready([waits]), in_order()).unwrap();
        stir(&mut answers).await;
        keeper.await_begin();
    }
    let refused = processor.stream(ready([]), in_order()).map(|_| ()).unwrap_err();
    assert!(
        matches!(refused, OptimizationError::Refused(Refusal::TooManyStreams { limit: 2, .. })),
        "{refused}"
    );
    drop(keeper);
    eventually("both have ended", || processor.open_streams() == 0).await;
    assert!(processor.stream(ready([]), in_order()).is_ok());
}

#[tokio::test]
async fn a_single_message_is_answered_by_itself() {
    let processor = processor(config());
    assert_eq!(processor.process_one(request(3, Act::Answer)).await.unwrap(), 3);
    let (spin, keeper) = gate();
    let one = tokio::spawn({
        let processor = processor.clone();
        async move { processor.process_one(request(4, Act::Spin(spin))).await }
    });
    let keeper = tokio::task::spawn_blocking(move || {
        keeper.await_begin();
        keeper
    })
    .await
    .unwrap();
    one.abort();
    assert!(one.await.unwrap_err().is_cancelled());
    keeper.await_end();
}

#[tokio::test]
async fn a_draining_plane_finishes_what_it_accepted_and_refuses_the_rest() {
    let processor = processor(config());
    let (slow, keeper) = gate();
    let (sender, feed) = feed();
    let mut answers = processor.stream(feed, in_order()).unwrap();
    sender.send(Message::new(request(0, Act::Wait(slow)))).unwrap();
    stir(&mut answers).await;
    keeper.await_begin();
    let drain = tokio::spawn({
        let processor = processor.clone();
        async move { processor.drain(Instant::now() + LONG).await }
    });
    eventually("the plane is closed", || {
        matches!(processor.pool().try_spawn(|| ()), Err(millstream::TrySpawnError::Closed(_)))
    })
    .await;
    sender.send(Message::new(request(1, Act::Answer))).unwrap();
    drop((keeper, sender));
    let answers = all(answers).await;
    assert!(answers[0].result.is_ok());
    assert_eq!(kind(&answers[1]), Some(FailureKind::Unavailable));
    assert_eq!(drain.await.unwrap().unfinished, 0);
}

#[tokio::test]
async fn at_the_drain_deadline_what_is_left_is_answered_unavailable() {
    let processor = processor(OptimizationConfig { worker_count: 1, ..config() });
    let (slow, keeper) = gate();
    let requests = [request(0, Act::Wait(slow)), request(1, Act::Answer)];
    let mut answers = processor.stream(ready(requests), in_order()).unwrap();
    stir(&mut answers).await;
    keeper.await_begin();
    let drained = processor.drain(Instant::now() + Duration::from_millis(20)).await;
    assert_eq!(drained.unfinished, 2);
    let answers = all(answers).await;
    assert!(answers.iter().all(|answer| {
        matches!(&answer.result, Err(OptimizationError::Interrupted(Interruption::ShutDown)))
    }));
    drop(keeper);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_streams_with_every_kind_of_trouble_lose_nothing_and_leave_nothing_behind() {
    const STREAMS: u64 = 40;
    const MESSAGES: u64 = 500;
    let processor = processor(OptimizationConfig {
        worker_count: 3,
        worker_queue_capacity: 16,
        stream_channel_capacity: 32,
        ..config()
    });
    let computed = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..STREAMS)
        .map(|stream| {
            let (processor, computed) = (processor.clone(), Arc::clone(&computed));
            tokio::spawn(async move {
                let (sender, feed) = feed();
                for n in 0..MESSAGES {
                    let act = match (n * 31 + stream * 17) % 23 {
                        0 => Act::Fail,
                        1 => Act::Panic,
                        _ => Act::Answer,
                    };
                    let key = (n % 3 == 0).then_some(n / 9);
                    let priority = Priority::ALL[(n % 3) as usize];
                    let weight = (n * 37 % 1000) as usize;
                    let computed = Arc::clone(&computed);
                    let vouched = n % 2 == 0;
                    let request = Request { number: n, act, key, weight, priority, vouched, computed };
                    let timeout = (n % 7 == 0).then_some(Duration::from_micros(n * 50));
                    sender.send(Message::new(request).timeout(timeout)).unwrap();
                }
                drop(sender);
                let options = if stream % 2 == 0 { in_order() } else { as_completed() };
                let mut answers = processor.stream(feed, options).unwrap();
                if stream % 5 == 0 {
                    for _ in 0..MESSAGES / 2 {
                        answer(&mut answers).await;
                    }
                    return;
                }
                let mut sequences: Vec<_> = all(answers).await.iter().map(|answer| answer.sequence).collect();
                if stream % 2 == 1 {
                    sequences.sort_unstable();
                }
                assert_eq!(sequences, (0..MESSAGES).collect::<Vec<_>>());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // A worker may be about to let go of a message of a stream that has left: places and bytes are free before that.
    eventually("everything is free", || {
        let pool = processor.pool();
        pool.bytes_in_flight() == 0 && pool.queued() == 0 && processor.open_streams() == 0
    })
    .await;
    assert_eq!(processor.drain(Instant::now() + LONG).await.unfinished, 0);
}

#[tokio::test]
async fn answers_that_nobody_takes_stop_the_intake_and_then_the_work() {
    let limit = 1 << 20;
    let processor = processor(OptimizationConfig { worker_count: 1, max_bytes_in_flight: limit, ..config() });
    let (sender, feed) = feed();
    let mut answers = processor.stream(feed, in_order()).unwrap();
    for n in 0..4 {
        sender.send(Message::new(request(n, Act::Heavy(limit)))).unwrap();
    }
    let first = answer(&mut answers).await;
    assert!(first.result.is_ok(), "one answer above the limit for each worker");
    drop(sender);
    let rest = all(answers).await;
    assert_eq!(rest.len(), 3);
    assert!(processor.pool().bytes_in_flight() == 0);
    let piled_up = rest.iter().filter_map(|answer| answer.result.as_ref().err());
    for error in piled_up {
        assert!(matches!(error, OptimizationError::Refused(Refusal::AnswersPileUp { .. })), "{error}");
    }
}
