//! What a message has taken of its worker, without what others took from both.
//!
//! The wall clock counts in what a thread was kept off its core for. Workers give way to I/O threads, and those of the
//! lowest scheduling class to everybody: in a flood of new messages one of 5 ms takes a second, now and then. To expect
//! that of those to come would be wrong by two orders of magnitude, and what has a deadline of a minute would be refused in
//! a queue of two seconds. What is taken regularly belongs to the forecast, though: a service whose I/O takes a third of
//! the cores does run at two thirds of its speed. So no message counts as more than [`STARVED`] times its CPU time, if it
//! kept its core as far as it was let; one that waits for something counts as what it takes by the wall clock.
//!
//! To read it takes a system call before and after. That is nothing to a millisecond, and is left out where the class is
//! known to be brief. Where messages are so brief that few of them are learnt from, it is chosen before they run which:
//! then nobody reads a clock for the others.

use std::{cell::Cell, time::Duration};

use super::service_times::{ONE_IN, Sample};
use crate::platform::{cpu_clock::thread_cpu_time, usage::Usage};

/// In times of the CPU time.
const STARVED: u32 = 2;

/// A message that is being worked on by this thread.
pub(crate) struct Effort {
    /// Where it is to be learnt, if there is room for its class.
    entry: Option<usize>,
    before: Option<Usage>,
    /// `None`: it is not learnt from.
    sample: Option<Sample>,
    /// By the CPU clock, where its own time is measured: see `own_time`.
    own_before: Option<Duration>,
}

/// True once in [`ONE_IN`] times, and in step with nothing: multiples of the golden ratio spread evenly, and those of any
/// number of steps do.
fn chance() -> bool {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0) };
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    state < u64::MAX / ONE_IN
}

impl Effort {
    /// From now on.
    pub(super) fn watched(entry: Option<usize>) -> Self {
        Self { entry, before: Usage::of_this_thread(), sample: Some(Sample::Any), own_before: None }
    }

    pub(super) fn unwatched(entry: Option<usize>) -> Self {
        Self { entry, before: None, sample: Some(Sample::Any), own_before: None }
    }

    /// One of those that are brief.
    pub(super) fn one_of_many(entry: Option<usize>) -> Self {
        Self { entry, before: None, sample: chance().then_some(Sample::Chosen), own_before: None }
    }

    /// The same, and its own time is measured from now on.
    pub(super) fn with_own_time(self) -> Self {
        Self { own_before: Some(thread_cpu_time()), ..self }
    }

    /// How it is to be learnt from, if it is at all.
    pub(super) fn sample(&self) -> Option<Sample> {
        self.sample
    }

    pub(super) fn entry(&self) -> Option<usize> {
        self.entry
    }

    /// What is to be learnt of it, now that it has taken so long by the wall clock.
    pub(super) fn of(&self, service: Duration) -> Duration {
        let own = self.before.and_then(|before| Usage::of_this_thread()?.without_a_wait_since(before));
        own.map_or(service, |own| service.min(STARVED * own))
    }

    /// What it has taken of a core by now, if that is measured.
    pub(super) fn own_time(&self) -> Option<Duration> {
        self.own_before.map(|before| thread_cpu_time().saturating_sub(before))
    }
}

#[cfg(test)]
#[cfg(all(target_os = "linux", not(millstream_loom)))]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const MS: Duration = Duration::from_millis(1);

    /// Works for 5 ms, and says what counts of an hour, and the most that may.
    fn five_of_an_hour() -> (Duration, Duration) {
        let (effort, begun) = (Effort::watched(None), thread_cpu_time());
        while thread_cpu_time() - begun < 5 * MS {}
        assert_eq!(effort.of(MS), MS, "never more than the wall clock says");
        let counted = effort.of(HOUR);
        (counted, STARVED * (thread_cpu_time() - begun + MS))
    }

    #[test]
    fn who_was_kept_off_its_core_counts_as_twice_its_own_time() {
        let deadline = Instant::now() + HOUR / 60;
        let counted = loop {
            let (counted, most) = five_of_an_hour();
            if counted <= most {
                break counted;
            }
            // The kernel may have it wait for memory that others are about to change.
            assert_eq!(counted, HOUR, "it has waited");
            assert!(Instant::now() < deadline, "it never works for 5 ms without a wait");
        };
        assert!(counted >= 8 * MS, "{counted:?}");
    }

    #[test]
    fn who_waits_counts_as_what_it_takes_by_the_wall_clock_and_so_does_who_is_not_watched() {
        let (_keep, nothing) = mpsc::channel::<()>();
        let mut time = MS;
        loop {
            let effort = Effort::watched(None);
            nothing.recv_timeout(time).expect_err("nobody sends");
            if effort.of(HOUR) == HOUR {
                break;
            }
            // Who is stopped for all of that time before he falls asleep need not wait any more.
            assert!(time < HOUR / 60, "no wait is seen");
            time *= 2;
        }
        assert_eq!(Effort::unwatched(None).of(HOUR), HOUR);
    }

    #[test]
    fn of_those_that_are_brief_each_has_the_same_chance_whatever_its_place_among_others() {
        const ROUNDS: u64 = 1000;
        for period in [1, 2, 3, ONE_IN, 3 * ONE_IN, 100] {
            let chosen = (0..ROUNDS * ONE_IN * period)
                .filter(|n| Effort::one_of_many(None).sample().is_some() && n % period == 0)
                .count() as u64;
            assert!(
                (ROUNDS * 9 / 10..=ROUNDS * 11 / 10).contains(&chosen),
                "{chosen} at a period of {period}"
            );
        }
    }
}
