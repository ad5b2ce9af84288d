use super::{service_times::ONE_IN, *};

const QUICK: Class = Class::new("quick");
const SLOW: Class = Class::new("slow");

fn learnt() -> Forecast {
    let forecast = Forecast::new(2);
    for _ in 0..100 {
        forecast.learn(QUICK, Duration::from_micros(10));
        forecast.learn(SLOW, Duration::from_millis(10));
    }
    forecast
}

fn near(found: Duration, expected: Duration) -> bool {
    found.abs_diff(expected) * 20 <= expected
}

#[test]
fn the_wait_is_the_work_ahead_divided_by_the_workers() {
    let forecast = learnt().by_length(false);
    let shares: Vec<_> = (0..10).map(|_| Share::default()).collect();
    for share in &shares {
        forecast.queued(share, SLOW, Priority::Normal);
    }
    let wait = forecast.wait(Level::Short, Priority::Normal, false);
    assert!(near(wait, Duration::from_millis(50)), "{wait:?}");
    assert_eq!(
        forecast.wait(Level::Short, Priority::High, false),
        Duration::ZERO,
        "who is more urgent does not wait for them"
    );
    for share in &shares[..5] {
        forecast.unqueued(share);
        forecast.unqueued(share);
    }
    let wait = forecast.wait(Level::Short, Priority::Low, false);
    assert!(near(wait, Duration::from_millis(25)), "{wait:?}");
}

#[test]
fn who_wants_little_does_not_wait_for_who_wants_much() {
    let forecast = learnt().by_length(false);
    let greedy = Line::last_of(Priority::Normal);
    let share = Share::default();
    forecast.queued(&share, SLOW, greedy);
    assert_eq!(forecast.wait(Level::Short, Priority::Normal, false), Duration::ZERO);
    assert!(near(forecast.wait(Level::Short, greedy, false), Duration::from_millis(5)));
    assert!(near(forecast.wait(Level::Short, Priority::Low, false), Duration::from_millis(5)));
    assert!(forecast.has_waiting(Priority::Normal) && !forecast.has_waiting(Priority::Low));
    forecast.unqueued(&share);
    assert_eq!(forecast.wait(Level::Long, greedy, false), Duration::ZERO);
}

#[test]
fn classes_are_told_apart_and_an_unknown_one_counts_as_the_mean() {
    let forecast = learnt();
    assert!(near(forecast.service(QUICK), Duration::from_micros(10)));
    assert!(near(forecast.service(SLOW), Duration::from_millis(10)));
    let unknown = forecast.service(Class::new("never seen"));
    assert!(unknown > Duration::from_millis(1) && unknown < Duration::from_millis(10), "{unknown:?}");
}

#[test]
fn a_class_is_long_when_most_of_it_runs_far_longer_than_most_messages() {
    const MIXED: Class = Class::new("mixed");
    let forecast = Forecast::new(2);
    assert_eq!(forecast.level(QUICK), Level::Short);
    for n in 0..100 {
        forecast.learn(QUICK, Duration::from_micros(200));
        forecast
            .learn(MIXED, if n % 5 == 0 { Duration::from_millis(10) } else { Duration::from_micros(200) });
        if n % 10 == 0 {
            forecast.learn(SLOW, Duration::from_millis(10));
        }
    }
    let levels = [QUICK, SLOW, MIXED, Class::new("unknown")].map(|class| forecast.level(class));
    assert_eq!(levels, [Level::Short, Level::Long, Level::Short, Level::Short]);
    assert_eq!(forecast.by_length(false).level(SLOW), Level::Short);
}

/// Times of an exponential law, of 1 ms in the mean, in no order; a class for each power of two.
fn learn_an_exponential_law(forecast: &Forecast, samples: u32) {
    for n in 0..samples {
        let share = (f64::from(n.wrapping_mul(0x9e37_79b9)) + 0.5) / f64::from(u32::MAX);
        let time = Duration::from_millis(1).mul_f64(-share.ln());
        forecast.learn(of_magnitude(time), time);
    }
}

fn of_magnitude(time: Duration) -> Class {
    Class::new("of magnitude").refined(time.as_micros().checked_ilog2().unwrap_or(0))
}

#[test]
fn nothing_is_long_where_lengths_follow_one_law_and_something_is_where_few_make_the_others_wait() {
    let forecast = Forecast::new(2);
    learn_an_exponential_law(&forecast, 5000);
    let longest = Duration::from_millis(5);
    assert_eq!(forecast.level(of_magnitude(longest)), Level::Short);
    // One in a hundred of them, of 100 ms.
    for _ in 0..50 {
        forecast.learn(SLOW, Duration::from_millis(100));
    }
    learn_an_exponential_law(&forecast, 64);
    assert_eq!([SLOW, QUICK].map(|class| forecast.level(class)), [Level::Long, Level::Short]);
}

#[test]
fn what_is_far_longer_than_most_is_long_however_rare_it_is() {
    let forecast = Forecast::new(2);
    for n in 1..=50_000 {
        forecast.learn(QUICK, Duration::from_millis(1));
        if n % 5000 == 0 {
            forecast.learn(SLOW, Duration::from_secs(10));
        } else if n > 10_000 {
            assert_eq!(forecast.level(SLOW), Level::Long, "after {n}");
        }
    }
}

#[test]
fn what_lies_just_beyond_the_limit_weighs_as_it_counts() {
    let forecast = Forecast::new(2);
    for _ in 0..100 {
        forecast.learn(QUICK, Duration::from_millis(1));
        forecast.learn(QUICK, Duration::from_millis(1));
        forecast.learn(SLOW, Duration::from_millis(6));
    }
    assert_eq!(forecast.level(SLOW), Level::Long);
}

#[test]
fn a_class_that_is_no_longer_long_does_not_overtake_its_own_messages() {
    let forecast = Forecast::new(2);
    (0..100).for_each(|_| forecast.learn(QUICK, Duration::from_micros(10)));
    (0..10).for_each(|_| forecast.learn(SLOW, Duration::from_millis(1)));
    let [first, second, third] = [(); 3].map(|()| Share::default());
    assert_eq!(forecast.queued(&first, SLOW, Priority::Normal), Level::Long);
    (0..1000).for_each(|_| forecast.learn(SLOW, Duration::from_millis(1)));
    let entry = forecast.times.find(SLOW).unwrap();
    assert!(!forecast.has_learnt_long(entry), "it is what most messages are");
    assert_eq!(forecast.queued(&second, SLOW, Priority::Normal), Level::Long, "behind the first");
    assert_eq!(forecast.level(QUICK), Level::Short);
    assert!(forecast.unqueued(&first) && !forecast.unqueued(&first));
    assert_eq!(forecast.level(SLOW), Level::Long, "the second still waits");
    assert!(forecast.unqueued(&second));
    assert_eq!(forecast.queued(&third, SLOW, Priority::Normal), Level::Short);
    assert!(forecast.unqueued(&third));
    assert_eq!(forecast.level(SLOW), Level::Short);
}

#[test]
fn what_is_long_waits_for_what_is_short_and_not_the_other_way_round() {
    let forecast = Forecast::new(2);
    for _ in 0..100 {
        forecast.learn(QUICK, Duration::from_micros(200));
    }
    for _ in 0..10 {
        forecast.learn(SLOW, Duration::from_millis(10));
    }
    let [long, short] = [(); 2].map(|()| Share::default());
    assert_eq!(forecast.queued(&long, SLOW, Priority::High), Level::Long);
    assert_eq!(long.level(), Level::Long);
    assert_eq!(forecast.wait(Level::Short, Priority::Low, false), Duration::ZERO);
    assert_eq!(forecast.queued(&short, QUICK, Priority::Low), Level::Short);
    let wait = forecast.wait(Level::Long, Priority::High, false);
    assert!(near(wait, Duration::from_micros(5100)), "{wait:?}");
}

#[test]
fn the_longest_of_a_thousand_is_known_for_each_class() {
    let forecast = Forecast::new(2);
    assert_eq!(forecast.quantile(QUICK, 0.999), None);
    for n in 0..2000 {
        forecast.learn(QUICK, Duration::from_micros(if n % 400 == 0 { 900 } else { 10 }));
        forecast.learn(SLOW, Duration::from_millis(10));
    }
    assert!(forecast.quantile(QUICK, 0.99).is_some_and(|high| high < Duration::from_micros(13)));
    assert!(forecast.quantile(QUICK, 0.999).is_some_and(|high| high >= Duration::from_micros(900)));
    assert!(forecast.quantile(SLOW, 0.999).is_some_and(|high| high >= Duration::from_millis(10)));
}

#[test]
fn who_sleeps_takes_no_cpu_time_and_is_not_done() {
    let (forecast, limit) = (Forecast::new(1), Duration::from_micros(50));
    forecast.teach(QUICK, Duration::from_micros(2));
    forecast.teach(SLOW, Duration::from_micros(2));
    for _ in 0..100 {
        forecast.learn(QUICK, Duration::from_micros(10));
        forecast.learn(SLOW, Duration::from_millis(10));
    }
    assert!(forecast.done_within(QUICK, limit).is_some() && forecast.done_within(SLOW, limit).is_none());
    assert!(forecast.done_within(QUICK, Duration::ZERO).is_none());
    assert!(forecast.done_within(Class::DEFAULT, limit).is_none(), "nothing is known of it");
}

#[test]
fn of_brief_messages_one_stands_for_many() {
    let forecast = Forecast::new(1);
    for _ in 0..100 {
        forecast.learn(QUICK, Duration::from_nanos(500));
    }
    let shares: Vec<_> = (0..10 * ONE_IN).map(|_| Share::default()).collect();
    for share in &shares {
        forecast.queued(share, QUICK, Priority::Normal);
    }
    let wait = forecast.wait(Level::Short, Priority::Normal, false);
    assert!(near(wait, 10 * ONE_IN as u32 * Duration::from_nanos(500)), "{wait:?}");
    assert!(shares.iter().all(|share| forecast.unqueued(share)), "each of them has its place");
    assert_eq!(forecast.wait(Level::Short, Priority::Normal, false), Duration::ZERO);
}

#[test]
fn while_all_are_busy_the_running_messages_count_too() {
    let forecast = learnt();
    assert_eq!(forecast.wait(Level::Short, Priority::Normal, false), Duration::ZERO);
    assert!(forecast.wait(Level::Short, Priority::Normal, true) > Duration::ZERO);
}
