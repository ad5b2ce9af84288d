use std::cell::Cell;

use super::*;

const SPIN: Duration = Duration::from_micros(50);

struct Message {
    begun: bool,
    /// Looks after which it is over.
    looks: Cell<u32>,
}

impl Expected for Message {
    fn has_begun(&self) -> bool {
        self.begun
    }

    fn is_over(&self) -> bool {
        self.looks.set(self.looks.get().saturating_sub(1));
        self.looks.get() == 0
    }
}

fn after(looks: u32) -> Message {
    Message { begun: true, looks: Cell::new(looks) }
}

fn look(lookout: &Lookout, message: &Message) -> bool {
    lookout.await_briefly(message, Look::Awake { woke: true }, || unreachable!("somebody was woken"))
}

#[test]
fn what_comes_soon_is_found_and_what_does_not_is_not_waited_for() {
    let lookout = Lookout::new(SPIN, 1);
    assert!(look(&lookout, &after(3)));
    let start = Instant::now();
    assert!(!look(&lookout, &after(u32::MAX)));
    assert!(start.elapsed() >= SPIN);
}

#[test]
fn only_what_is_learnt_and_short_and_first_in_line_is_near() {
    let lookout = Lookout::new(SPIN, 1);
    let prospect = |service, wait| lookout.prospect(service, wait);
    let short = SPIN / 4;
    assert_eq!(prospect(SPIN, Duration::from_nanos(1)), Prospect::Far, "its wait counts too");
    assert_eq!(prospect(short, 2 * short), Prospect::Far, "there is more than one ahead");
    assert_eq!(prospect(Duration::ZERO, Duration::ZERO), Prospect::Far, "nothing is known of it");
    assert_ne!(prospect(short, short), Prospect::Far);
}

#[test]
fn after_a_pause_a_message_is_not_looked_out_for() {
    let mut lookout = Lookout::new(SPIN, 1);
    lookout.epoch -= 2 * WARM;
    assert_eq!(lookout.prospect(SPIN, Duration::ZERO), Prospect::Cold);
    let deadline = Instant::now() + Duration::from_secs(60);
    while lookout.prospect(SPIN, Duration::ZERO) != Prospect::Near {
        assert!(Instant::now() < deadline, "two in a row are never close together");
    }
    lookout.epoch -= 2 * WARM;
    assert_eq!(lookout.prospect(SPIN, Duration::ZERO), Prospect::Cold);
}

#[test]
fn a_message_that_nobody_begins_gets_one_wake_of_its_own() {
    let left = Look::Awake { woke: false };
    let nudges = |message: &Message, longest| {
        let nudges = Cell::new(0);
        Lookout::new(longest, 1).await_briefly(message, left, || nudges.set(nudges.get() + 1));
        nudges.get()
    };
    let idle = || Message { begun: false, looks: Cell::new(u32::MAX) };
    // A machine that stops the thread for all of that time leaves none for the wake.
    let mut longest = SPIN;
    while nudges(&idle(), longest) != 1 {
        assert!(longest < Duration::from_secs(60), "nobody is woken");
        longest *= 2;
    }
    assert_eq!(nudges(&after(u32::MAX), SPIN), 0, "this one has begun");
}

#[test]
fn a_core_is_lent_to_who_was_woken_for_what_came_after_a_pause() {
    assert_eq!(Prospect::Cold.look(true), Some(Look::Lending));
    assert_eq!(Prospect::Cold.look(false), None, "nobody needs it");
    assert_eq!(Prospect::Far.look(true), None);
}

#[test]
fn lending_that_never_wins_is_let_be_and_looking_awake_goes_on() {
    let mut lookout = Lookout::new(SPIN, 1);
    let lend = |lookout: &Lookout, looks| {
        lookout.await_briefly(&after(looks), Look::Lending, || unreachable!("nobody was left to"))
    };
    // Whoever has the core meanwhile may keep it for longer than one looks.
    lookout.longest = Duration::from_secs(60);
    assert!(lend(&lookout, 3));
    lookout.longest = SPIN;
    for _ in 0..=Credit::MOST / Credit::LOSS {
        assert!(!lend(&lookout, u32::MAX));
    }
    assert!(!lend(&lookout, 1), "let pass");
    assert!(look(&lookout, &after(1)));
}

#[test]
fn who_has_caught_up_looks_for_what_is_brief_and_not_for_long() {
    let lookout = Lookout::new(SPIN, 1);
    assert!(lookout.suits_caught_up(PATIENCE));
    assert!(!lookout.suits_caught_up(2 * PATIENCE));
    assert!(!lookout.suits_caught_up(Duration::ZERO), "nothing is known of it");
    assert!(!Lookout::new(Duration::ZERO, 1).suits_caught_up(PATIENCE), "nobody is to look");
    let catch_up = |looks| {
        lookout.await_briefly(&after(looks), Look::CaughtUp, || unreachable!("it was queued long ago"))
    };
    let start = Instant::now();
    assert!(!catch_up(u32::MAX));
    assert!(start.elapsed() >= PATIENCE);
    assert!(catch_up(1));
    // As many losses as wins are no reason to stop.
    for _ in 0..100 {
        assert!(!catch_up(u32::MAX));
        assert!(catch_up(1));
    }
}

#[test]
fn no_more_threads_look_than_may() {
    let lookout = Lookout::new(SPIN, 1);
    lookout.looking.fetch_add(1, Relaxed);
    assert!(!look(&lookout, &after(1)));
    lookout.looking.fetch_sub(1, Relaxed);
    assert!(look(&lookout, &after(1)));
}

#[test]
fn looking_that_never_wins_is_let_be_and_tried_again() {
    let lookout = Lookout::new(SPIN, 1);
    let losses = 1 + Credit::MOST / Credit::LOSS;
    for _ in 0..losses {
        assert!(!look(&lookout, &after(u32::MAX)));
    }
    for _ in 0..-Credit::LET_PASS {
        assert!(!look(&lookout, &after(1)), "let pass");
    }
    assert!(look(&lookout, &after(1)), "tried again");
}
