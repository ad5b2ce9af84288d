//! How many threads work, and what becomes of one that is stuck.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use millstream::{
    Interruption, OptimizationConfig, OptimizationError,
    processor::{Message, StreamOptions},
};
use tokio::sync::mpsc::UnboundedSender;

use crate::common::{self, *};

#[tokio::test]
async fn as_many_messages_run_at_a_time_as_there_are_workers() {
    for workers in [1, 3] {
        let processor = processor(OptimizationConfig { worker_count: workers, ..config() });
        let (busy, keeper) = gate();
        let requests = (0..4).map(|n| request(n, Act::Wait(busy.clone())));
        let mut answers = processor.stream(ready(requests), StreamOptions::default()).unwrap();
        stir(&mut answers).await;
        for _ in 0..workers {
            keeper.await_begin();
        }
        assert_eq!((processor.pool().workers(), processor.pool().queued()), (workers, 4 - workers));
        drop(keeper);
        assert_eq!(all(answers).await.len(), 4);
    }
}

#[tokio::test]
async fn a_message_that_runs_for_longer_than_the_timeout_is_answered_for() {
    let short = Duration::from_millis(50);
    let usual = OptimizationConfig::default().worker_timeout;
    for worker_timeout in [short, usual] {
        let processor = processor(OptimizationConfig { worker_timeout, ..config() });
        let (stuck, keeper) = gate();
        let begun = Instant::now();
        let mut answers =
            processor.stream(ready([request(7, Act::Wait(stuck))]), StreamOptions::default()).unwrap();
        stir(&mut answers).await;
        keeper.await_begin();
        passed(begun + 2 * short).await;
        if worker_timeout == short {
            let overstayed = answer(&mut answers).await.result;
            assert!(
                matches!(overstayed, Err(OptimizationError::Interrupted(Interruption::Overstayed))),
                "{overstayed:?}"
            );
            assert!(begun.elapsed() < usual / 2, "{:?}", begun.elapsed());
            drop(keeper);
        } else {
            stir(&mut answers).await;
            drop(keeper);
            assert_eq!(answer(&mut answers).await.result.unwrap(), 7);
        }
    }
}

#[tokio::test]
async fn a_stuck_thread_is_stood_in_for_if_there_may_be_a_substitute() {
    for substitutes in [0, 1] {
        let processor = processor(OptimizationConfig {
            worker_count: 1,
            worker_timeout: Duration::from_millis(20),
            worker_substitutes: substitutes,
            ..config()
        });
        let (stuck, keeper) = gate();
        let (sender, feed) = feed();
        let mut answers = processor.stream(feed, StreamOptions::default()).unwrap();
        sender.send(Message::new(request(0, Act::Wait(stuck)))).unwrap();
        answer(&mut answers).await.result.unwrap_err();

        // Without a substitute nobody comes for the next message before its deadline.
        let patience = if substitutes == 0 { Duration::from_millis(200) } else { common::LONG };
        let comes = somebody_comes(&sender, &mut answers, patience).await;
        assert_eq!(comes, substitutes > 0, "with {substitutes} substitutes");
        drop(keeper);
        assert!(somebody_comes(&sender, &mut answers, common::LONG).await, "the thread came back");
    }
}

/// Whether somebody comes for a message within a time. Whoever does may be so slow on a busy machine that the message
/// overstays, and has an answer before it is begun: then another one is sent.
async fn somebody_comes(
    sender: &UnboundedSender<Message<common::Request>>,
    answers: &mut Answers,
    time: Duration,
) -> bool {
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let message = request(1, Act::Answer);
        let begun = Arc::clone(&message.computed);
        sender.send(Message::new(message).timeout(Some(left))).unwrap();
        answer(answers).await;
        if begun.load(SeqCst) > 0 || left.is_zero() {
            return begun.load(SeqCst) > 0;
        }
    }
}
