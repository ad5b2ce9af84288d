//! The rule by which the bench `tail_latency` leaves out messages that came around a standstill of a core.

#[path = "../benches/tail_latency/standstills.rs"]
mod standstills;

use std::time::{Duration, Instant};

use standstills::{AFTER, BEFORE, Standstill, Standstills, is_void};

/// Long enough after the clock's first instant that there is something before it.
fn epoch() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const INSTANT: Duration = Duration::from_nanos(1);

#[test]
fn without_a_standstill_every_message_counts() {
    let epoch = epoch();
    assert!((0..100).all(|offset| !Standstills::default().touch(epoch + ms(offset))));
}

#[test]
fn what_arrives_from_a_while_before_a_standstill_to_a_while_after_it_is_left_out() {
    let (from, to) = (epoch(), epoch() + ms(3));
    let standstills = Standstills::new(vec![Standstill { from, to }]);
    for (arrival, left_out) in [
        (from - BEFORE - INSTANT, false),
        (from - BEFORE, true),
        (from, true),
        (to, true),
        (to + AFTER, true),
        (to + AFTER + INSTANT, false),
    ] {
        assert_eq!(
            standstills.touch(arrival),
            left_out,
            "{:?} after its start",
            arrival.checked_duration_since(from)
        );
    }
}

#[test]
fn standstills_of_several_cores_count_in_any_order_and_over_each_other() {
    let epoch = epoch();
    let standstill = |from, to| Standstill { from: epoch + ms(from), to: epoch + ms(to) };
    // A short one within a long one, one that begins while what is around another lasts, and one far from them.
    let all = vec![standstill(500, 503), standstill(10, 60), standstill(20, 22), standstill(70, 75)];
    let standstills = Standstills::new(all.clone());
    for offset in 0..600 {
        let arrival = epoch + ms(offset);
        let one_by_one = all.iter().any(|one| one.from - BEFORE <= arrival && arrival <= one.to + AFTER);
        assert_eq!(standstills.touch(arrival), one_by_one, "at {offset} ms");
    }
}

#[test]
fn a_run_of_which_more_than_two_fifths_are_left_out_is_void() {
    assert!(!is_void(0, 0));
    assert!(!is_void(0, 1000));
    assert!(!is_void(400, 1000));
    assert!(is_void(401, 1000));
}
