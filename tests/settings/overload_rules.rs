//! What is refused, who makes room, and how an overload is told, as the settings say.

use std::time::{Duration, Instant};

use millstream::{
    DeadlineAdmission, MakeRoom, OptimizationConfig, OptimizationError, OptimizedStreamProcessor,
    OverloadLevel, Priority, QueueControl, Refusal, WhenFull, WhenFullFor,
    monitor::Counter,
    processor::{Message, StreamOptions},
};

use crate::common::{self, busy::Busy, *};

const MS: Duration = Duration::from_millis(1);

fn urgent(priority: Priority) -> common::Request {
    common::Request { priority, ..request(99, Act::Answer) }
}

/// A plane whose one worker is busy, and whose lanes are full of messages of low priority.
async fn full(config: OptimizationConfig) -> Busy {
    const PLACES: u64 = 4;
    let mut plane = Busy::new(OptimizationConfig { worker_queue_capacity: PLACES as usize, ..config }).await;
    let low = |number| common::Request { priority: Priority::Low, ..request(number, Act::Answer) };
    plane.send((1..=PLACES).map(|number| Message::new(low(number)))).await;
    plane
}

/// Whether a message of this priority is refused at once for want of room.
async fn is_shed(processor: &OptimizedStreamProcessor<Actor>, priority: Priority) -> bool {
    let answer = processor.process_one(urgent(priority));
    match tokio::time::timeout(Duration::from_millis(20), answer).await {
        Ok(Err(OptimizationError::Refused(Refusal::Overloaded { .. }))) => true,
        Ok(other) => panic!("neither refused nor waiting: {other:?}"),
        Err(_) => false,
    }
}

#[tokio::test]
async fn what_happens_for_want_of_room_is_told_for_each_priority() {
    use WhenFullFor::{AsUsual, Shed, Wait};
    let cases = [
        (WhenFull::Wait, AsUsual, AsUsual, [false, false, false]),
        (WhenFull::Wait, Shed, AsUsual, [true, false, false]),
        (WhenFull::Wait, AsUsual, Shed, [false, false, true]),
        (WhenFull::Shed, Wait, AsUsual, [false, true, true]),
        (WhenFull::Shed, AsUsual, Wait, [true, true, false]),
    ];
    for (when_full, when_full_high, when_full_low, expected) in cases {
        let make_room = MakeRoom::Off;
        let config = OptimizationConfig { when_full, when_full_high, when_full_low, make_room, ..config() };
        let Busy { processor, .. } = &full(config).await;
        for (priority, expected) in
            [Priority::High, Priority::Normal, Priority::Low].into_iter().zip(expected)
        {
            let case = (when_full, when_full_high, when_full_low, priority);
            assert_eq!(is_shed(processor, priority).await, expected, "{case:?}");
        }
    }
}

#[tokio::test]
async fn only_who_may_takes_the_place_of_a_worse_one() {
    let cases = [(MakeRoom::Off, 0), (MakeRoom::High, 1), (MakeRoom::Normal, 2), (MakeRoom::All, 2)];
    for (make_room, expected) in cases {
        let config = OptimizationConfig { make_room, when_full: WhenFull::Shed, ..config() };
        let plane = full(config).await;
        let processor = plane.processor.clone();
        let (mut high, mut normal, mut low) = (
            Box::pin(processor.process_one(urgent(Priority::High))),
            Box::pin(processor.process_one(urgent(Priority::Normal))),
            Box::pin(processor.process_one(urgent(Priority::Low))),
        );
        let mut refused = 0;
        for answer in [&mut high, &mut normal, &mut low] {
            // Refused at once, or queued in the place of another.
            refused += usize::from(at_once(answer).await.is_ready());
        }
        assert_eq!(refused, 3 - expected, "{make_room:?}");
        assert_eq!(processor.monitor().counts().of(Counter::Displaced), expected as u64, "{make_room:?}");
        let answers = plane.finish().await;
        let displaced = |error: &OptimizationError| matches!(error, OptimizationError::Refused(Refusal::Displaced { retry_after }) if *retry_after >= MS);
        let left = answers.iter().filter(|answer| answer.result.as_ref().is_err_and(displaced)).count();
        assert_eq!((answers.len(), left), (5, expected), "{make_room:?}");
    }
}

#[tokio::test]
async fn nobody_makes_room_for_a_message_for_which_that_is_not_enough() {
    let config = OptimizationConfig { max_bytes_in_flight: 1024, when_full: WhenFull::Shed, ..config() };
    let mut plane = Busy::new(config).await;
    let weighing = |priority, weight| common::Request { priority, weight, ..request(99, Act::Answer) };
    plane.send((0..9).map(|_| Message::new(weighing(Priority::Low, 100)))).await;
    let displaced = || plane.processor.monitor().counts().of(Counter::Displaced);
    // Four may leave for one.
    for (weight, expected) in [(524, 0), (523, 4)] {
        let mut newcomer = Box::pin(plane.processor.process_one(weighing(Priority::Normal, weight)));
        let polled = at_once(&mut newcomer).await;
        assert_eq!((polled.is_pending(), displaced()), (expected > 0, expected), "{weight}: {polled:?}");
    }
}

/// Whether one with a second, and then one with a minute, is let in where all places are taken by messages that have a second for
/// a wait of two, and how many have left for it by then; nothing where the machine has held that up for too long.
async fn let_in_among_the_late() -> Option<[(bool, u64); 2]> {
    const PLACES: u64 = 40;
    const TIME: Duration = Duration::from_secs(1);
    let config = OptimizationConfig {
        worker_count: 1,
        worker_queue_capacity: PLACES as usize,
        when_full: WhenFull::Shed,
        deadline_admission: DeadlineAdmission::Off,
        enable_length_scheduling: false,
        ..config()
    };
    let processor = processor(config);
    for number in 0..3 {
        processor.process_one(request(number, Act::Busy(50 * MS))).await.unwrap();
    }
    let mut plane = Busy::on(processor.clone(), 1).await;
    let timed = |timeout| Message::new(request(99, Act::Answer)).timeout(Some(timeout));
    let begun = Instant::now();
    plane.send((0..PLACES).map(|_| timed(TIME))).await;
    let mut seen = [(false, 0); 2];
    for (timeout, seen) in [TIME, LONG].into_iter().zip(&mut seen) {
        let mut newcomer = Box::pin(processor.answer(timed(timeout), None));
        *seen =
            (at_once(&mut newcomer).await.is_pending(), processor.monitor().counts().of(Counter::Displaced));
    }
    (begun.elapsed() < TIME).then_some(seen)
}

#[tokio::test]
async fn who_would_be_late_itself_takes_nobodys_place() {
    let deadline = Instant::now() + LONG;
    let seen = loop {
        if let Some(seen) = let_in_among_the_late().await {
            break seen;
        }
        assert!(Instant::now() < deadline, "the machine is never calm for a second");
    };
    assert_eq!(seen, [(false, 0), (true, 1)]);
}

/// Of which the messages of [`after_long_waits`] take several.
const INTERVAL: Duration = Duration::from_millis(20);

/// A plane that sheds, with a target of 1 ms, through which messages have gone that waited for far longer; how many were
/// refused for that.
async fn after_long_waits(config: OptimizationConfig) -> (OptimizedStreamProcessor<Actor>, usize) {
    const MESSAGES: u64 = 100;
    let mut plane = Busy::new(OptimizationConfig { queue_target_max: MS, ..config }).await;
    plane.send((1..MESSAGES).map(|number| Message::new(request(number, Act::Busy(MS))))).await;
    passed(Instant::now() + 20 * MS).await;
    let processor = plane.processor.clone();
    let mut refused = 0;
    for answer in plane.finish().await {
        match answer.result {
            Ok(_) => {}
            Err(OptimizationError::Refused(Refusal::WaitedTooLong { waited, target, .. })) => {
                assert!(waited > 2 * target && target <= MS, "{waited:?} {target:?}");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (processor, refused)
}

#[tokio::test]
async fn who_has_waited_too_long_is_refused_or_counted_or_neither() {
    use QueueControl::{DryRun, Enforce, Off};
    let cases = [
        (Enforce, WhenFull::Shed, true, true),
        (Enforce, WhenFull::Wait, false, true),
        (DryRun, WhenFull::Shed, false, true),
        (Off, WhenFull::Shed, false, false),
    ];
    for (queue_control, when_full, refuses, counts) in cases {
        let queue_interval = INTERVAL;
        let config = OptimizationConfig { queue_control, when_full, queue_interval, ..config() };
        let case = format!("{queue_control:?} {when_full:?}");
        comes_true(&case, async || {
            let (processor, refused) = after_long_waits(config.clone()).await;
            let counted = processor.monitor().counts().of(Counter::WaitedTooLong);
            assert!(
                (refused > 0, counted > 0) <= (refuses, counts),
                "{case}: {refused} refused, {counted} counted"
            );
            (refused > 0, counted > 0) == (refuses, counts)
        })
        .await;
    }
}

/// A machine that stops the worker for whole intervals makes the queue control forget what it has seen, so that what is to be
/// refused is not, but not each time.
async fn comes_true(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < deadline, "never came: {what}");
    }
}

#[tokio::test]
async fn waits_are_judged_by_the_least_of_an_interval() {
    for (queue_interval, refuses) in [(INTERVAL, true), (Duration::from_secs(3600), false)] {
        let config = OptimizationConfig { queue_interval, when_full: WhenFull::Shed, ..config() };
        comes_true("who has waited too long is refused", async || {
            let (_, refused) = after_long_waits(config.clone()).await;
            assert!(refuses || refused == 0, "{queue_interval:?}");
            refused > 0 || !refuses
        })
        .await;
    }
}

#[tokio::test]
async fn the_target_is_as_many_service_times_as_it_is_told_within_its_bounds() {
    let target = async |config: OptimizationConfig| {
        let processor = processor(config);
        processor.process_one(request(0, Act::Busy(20 * MS))).await.unwrap();
        let service = processor.forecast(millstream::Class::DEFAULT, Priority::Normal).service_time;
        assert!(service >= 20 * MS, "{service:?}");
        processor.overload().queue_target.as_secs_f64() / service.as_secs_f64()
    };
    for queue_target_services in [2.0, 7.0] {
        let queue_target_max = Duration::from_secs(3600);
        let config = OptimizationConfig { queue_target_services, queue_target_max, ..config() };
        let found = target(config).await;
        assert!((found - queue_target_services).abs() < 0.01, "{found}");
    }
    for bound in [2 * MS, 30_000 * MS] {
        let config = OptimizationConfig { queue_target_min: bound, queue_target_max: bound, ..config() };
        assert_eq!(processor(config).overload().queue_target, bound);
    }
}

#[tokio::test]
async fn each_level_begins_at_its_load() {
    const NEVER: f64 = 1e6;
    let cases = [
        ([NEVER, NEVER, NEVER], OverloadLevel::Normal),
        ([1.0, NEVER, NEVER], OverloadLevel::Warning),
        ([1.0, 1.0, NEVER], OverloadLevel::Critical),
        ([1.0, 1.0, 1.0], OverloadLevel::Emergency),
    ];
    for ([overload_warning, overload_critical, overload_emergency], expected) in cases {
        let config = OptimizationConfig {
            overload_warning,
            overload_critical,
            overload_emergency,
            // Longer than the look at the end may take; shorter than what is between.
            queue_interval: 30 * MS,
            ..config()
        };
        // A machine that holds up the look at the end has let the level fall again.
        let deadline = Instant::now() + LONG;
        loop {
            let (processor, _) = after_long_waits(config.clone()).await;
            let level = processor.overload().level;
            assert!(level <= expected && Instant::now() < deadline, "{level} in place of {expected}");
            if level == expected {
                break;
            }
        }
    }
}

/// Whether a stream that has nearly all that waits is refused a message that a light stream is not.
async fn is_held_back(fair_wait_share: f64) -> bool {
    const WORK: Duration = Duration::from_millis(20);
    let processor = processor(OptimizationConfig { worker_count: 1, fair_wait_share, ..config() });
    processor.process_one(request(0, Act::Busy(WORK))).await.unwrap();
    let mut heavy = Busy::on(processor.clone(), 1).await;
    heavy.send((1..=20).map(|number| Message::new(request(number, Act::Busy(WORK))))).await;
    // The wait may take 40% of the budget, and takes 20%.
    let budget = 5 * processor.forecast(millstream::Class::DEFAULT, Priority::Normal).queue_wait;
    let late = || processor.monitor().counts().of(Counter::WouldBeLate);
    let message = |number| Message::new(request(number, Act::Answer)).timeout(Some(budget));
    let (light, feed) = feed();
    let mut light_answers = processor.stream(feed, StreamOptions::default()).unwrap();
    light.send(message(1)).unwrap();
    stir(&mut light_answers).await;
    assert_eq!(late(), 0, "a light stream is let in");
    heavy.send([message(1)]).await;
    late() == 1
}

#[tokio::test]
async fn a_stream_that_crowds_others_out_has_less_of_the_wait_to_itself() {
    assert!(is_held_back(0.25).await);
    assert!(!is_held_back(1.0).await);
}
