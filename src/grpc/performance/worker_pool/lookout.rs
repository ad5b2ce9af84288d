//! Looking out for an outcome that is about to come, before the task that awaits it goes to sleep.
//!
//! Once its last task waits, a thread of tokio sleeps, and to wake it costs more than a short message takes: on virtual
//! cores some 15 µs of the waker, and 40 to 60 until it runs. So a task whose message is expected to be done sooner looks
//! for the outcome from within its poll. It has registered no waker then, and the worker has nobody to wake.
//!
//! **Why in the poll.** A task that yields to look again would let others in; but tokio, whenever it finds such a task
//! with nothing else to do, wakes a second thread to share the work that there might be, and so makes of each look the
//! very wake that is to be spared, on the core that the worker needs. A poll of some ten microseconds is what any task
//! may take.
//!
//! **When everybody sleeps** the worker is woken on the core of the task, for one on a core that is asleep takes longer. It
//! runs there once the task's thread sleeps; and who sleeps has to be woken by the worker, whereupon tokio wakes another
//! thread, to share the work that there might be, before it polls the task. So the task *lends* the worker its core and
//! looks when it has it back: which is when the worker has done the message, and finds nothing else. A round trip with a job
//! of 20 µs takes 31 to 47 µs so, where it took 53 to 65.
//!
//! **Bounds.** Nobody looks who cannot win much ([`Prospect`]): the class has to be learnt, its service time and the
//! predicted wait have to be within `await_spin`, no more than one such message may be ahead, hardly anything may wait for
//! workers, and whoever looks has hardly anything else under way, nor has it much of what others have (with many in flight a
//! thread serves all better by sending the next one, or by taking an answer that is there). Nobody looks for longer than
//! that, twice: once until the message is begun, once more until it is done. Who lends its core may get it back later, if
//! others want it, too, or if the message turns out long: once the platform weighs them anew, after some milliseconds. That
//! counts as lost. No more threads look
//! than half of the workers, so that workers have cores to work on. And looking lives on what it has won lately (see
//! `credit`), awake and lending each by itself: where it keeps losing, it is let be, and tried again now and then.
//!
//! **Nobody looks in vain** because the message was left to a searcher that does not run (it may be on the very core of
//! who looks): a message that nobody has begun after [`GRACE`] gets a wake of its own.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crossbeam::utils::CachePadded;

use super::{credit::Credit, sleepers::Side};
use crate::platform::stage;

/// A searcher that runs begins a message within a microsecond.
const GRACE: Duration = Duration::from_micros(5);
/// Looks between two readings of the clock. A look and a pause take some 50 ns.
const LOOKS: u32 = 8;

/// Since the last message that was near: from then on every thread is likely to sleep.
const WARM: Duration = Duration::from_micros(500);

/// Messages that whoever looks may have under way, that one included; and that may wait for a worker in all.
const COMPANY: usize = 4;

/// What to expect of a message that is about to be queued, and so what who queues it does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// Its outcome is near: look out for it.
    Near,
    /// It would be near, if everybody did not sleep: lend its worker the core.
    Cold,
    /// It will take its time.
    Far,
}

impl Prospect {
    /// Where the worker for it had best be.
    pub(crate) fn side(self) -> Side {
        match self {
            // Who looks out awake keeps its core.
            Self::Near => Side::Elsewhere,
            Self::Cold => Side::Here,
            // Who queues what is far sleeps, or goes on with other things.
            Self::Far => Side::Unsure,
        }
    }

    /// How to look out for it, now that it is queued and somebody was woken for it or not.
    pub(crate) fn look(self, woke: bool) -> Option<Look> {
        match self {
            Self::Near => Some(Look::Awake { woke }),
            // Whoever did not have to be woken runs elsewhere.
            Self::Cold => woke.then_some(Look::Lending),
            Self::Far => None,
        }
    }
}

/// How a task looks out for a message that it has queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// On a core of its own; whether somebody was woken for the message.
    Awake { woke: bool },
    /// When the worker that was woken on its core leaves it.
    Lending,
}

/// A message that a task may look out for.
pub(crate) trait Expected {
    /// Whether a worker has come for it.
    fn has_begun(&self) -> bool;
    /// Whether there is something to take: its outcome, or why there will be none.
    fn is_over(&self) -> bool;
}

pub(crate) struct Lookout {
    longest: Duration,
    /// Threads that may look at a time, and those that do.
    most: usize,
    looking: CachePadded<AtomicUsize>,
    /// What looking has won, awake and lending.
    awake: CachePadded<Credit>,
    lending: CachePadded<Credit>,
    /// Nanoseconds from `epoch` to the latest message that was near, or would have been.
    latest: CachePadded<AtomicU64>,
    epoch: Instant,
}

/// Counts a thread that looks, for as long as it does.
struct Looking<'a>(&'a AtomicUsize);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Lookout {
    pub(super) fn new(longest: Duration, most: usize) -> Self {
        Self {
            longest,
            most,
            looking: CachePadded::new(AtomicUsize::new(0)),
            awake: CachePadded::new(Credit::full()),
            lending: CachePadded::new(Credit::full()),
            latest: CachePadded::new(AtomicU64::new(0)),
            epoch: Instant::now(),
        }
    }

    /// Whether somebody may look out for a message at all who has so many under way, or while so many wait.
    pub(super) fn suits(messages: usize) -> bool {
        messages <= COMPANY
    }

    /// What to expect of a message; a service time of zero says that nothing is known.
    pub(super) fn prospect(&self, service: Duration, wait: Duration) -> Prospect {
        if service.is_zero() || service + wait > self.longest || wait > service {
            return Prospect::Far;
        }
        let now = self.epoch.elapsed().as_nanos() as u64;
        // Relaxed: it publishes nothing, and of two at once either may be the latest.
        let since = now.saturating_sub(self.latest.swap(now, Relaxed));
        if since < WARM.as_nanos() as u64 { Prospect::Near } else { Prospect::Cold }
    }

    /// Looks out for a message; true when it is over. `nudge` wakes one more worker, for a message that was left to one
    /// that was awake and does not come.
    pub(crate) fn await_briefly(
        &self,
        message: &(impl Expected + ?Sized),
        look: Look,
        nudge: impl FnOnce(),
    ) -> bool {
        let credit = match look {
            Look::Awake { .. } => &self.awake,
            Look::Lending => &self.lending,
        };
        if !credit.allows()
            || self.looking.fetch_update(Relaxed, Relaxed, |n| (n < self.most).then_some(n + 1)).is_err()
        {
            return false;
        }
        let looking = Looking(&self.looking);
        let start = Instant::now();
        let won = self.look(message, look, start, nudge);
        drop(looking);
        let in_time = look != Look::Lending || start.elapsed() <= 2 * self.longest;
        credit.settle(won && in_time);
        won
    }

    fn look(
        &self,
        message: &(impl Expected + ?Sized),
        look: Look,
        queued: Instant,
        nudge: impl FnOnce(),
    ) -> bool {
        let mut nudge = (look == Look::Awake { woke: false }).then_some(nudge);
        let mut begun = None;
        loop {
            let looks = match look {
                Look::Awake { .. } => LOOKS,
                // Nobody knows when the core comes back.
                Look::Lending => 1,
            };
            for _ in 0..looks {
                if message.is_over() {
                    return true;
                }
                match look {
                    Look::Awake { .. } => std::hint::spin_loop(),
                    Look::Lending => stage::give_way(),
                }
            }
            let now = Instant::now();
            if begun.is_none() && message.has_begun() {
                begun = Some(now);
            }
            if now - begun.unwrap_or(queued) >= self.longest {
                return message.is_over();
            }
            if begun.is_none()
                && now - queued >= GRACE
                && let Some(nudge) = nudge.take()
            {
                nudge();
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
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
}
