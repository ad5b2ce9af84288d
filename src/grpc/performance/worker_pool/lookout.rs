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
//! `credit`), each way of looking by itself: where it keeps losing, it is let be, and tried again now and then.
//!
//! **Who has caught up** with the workers looks as well, however much it has under way. That is a task that awaits messages
//! in the order in which it queued them, has just found one done, and the next one not: this is about to be done, too
//! (`spawn::order`). Did it sleep, its wake would take the core from a worker that gives way to it, for the few messages
//! that were done meanwhile, again and again: with 16 threads that await 1,600 empty jobs each there were 7 switches of
//! context for 50 jobs, which took twice the time of the jobs. It looks for [`PATIENCE`] at most, and leaves the cache
//! lines of the workers alone in between, so that it mostly finds several done.
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

/// How long who has caught up looks out for what is done next, and what that may take: several of what is brief, and no
/// more than a wake costs.
const PATIENCE: Duration = Duration::from_micros(5);
/// Busy-wait hints between two of its looks: half a microsecond or more.
const HINTS: u32 = 40;

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
    /// On a core of its own, for what was queued long ago, behind another that is done.
    CaughtUp,
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
    /// What looking has won, awake, lending, and caught up.
    awake: CachePadded<Credit>,
    lending: CachePadded<Credit>,
    caught_up: CachePadded<Credit>,
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
            caught_up: CachePadded::new(Credit::full()),
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
        let (credit, loss) = match look {
            Look::Awake { .. } => (&self.awake, Credit::LOSS),
            Look::Lending => (&self.lending, Credit::LOSS),
            // Neither takes longer than what it would spare.
            Look::CaughtUp => (&self.caught_up, 1),
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
        credit.settle_at(won && in_time, loss);
        won
    }

    /// How long to look, until it is begun and again until it is done.
    fn longest(&self, look: Look) -> Duration {
        match look {
            Look::Awake { .. } | Look::Lending => self.longest,
            Look::CaughtUp => self.longest.min(PATIENCE),
        }
    }

    /// Whether messages that take so long are worth a look for who has caught up; zero says that nothing is known.
    pub(super) fn suits_caught_up(&self, service: Duration) -> bool {
        !service.is_zero() && service <= self.longest(Look::CaughtUp)
    }

    fn look(
        &self,
        message: &(impl Expected + ?Sized),
        look: Look,
        queued: Instant,
        nudge: impl FnOnce(),
    ) -> bool {
        let mut nudge = (look == Look::Awake { woke: false }).then_some(nudge);
        let longest = self.longest(look);
        let mut begun = None;
        loop {
            let looks = match look {
                Look::Awake { .. } => LOOKS,
                // Nobody knows when the core comes back.
                Look::Lending => 1,
                // They are far apart.
                Look::CaughtUp => 1,
            };
            for _ in 0..looks {
                if message.is_over() {
                    return true;
                }
                match look {
                    Look::Awake { .. } => std::hint::spin_loop(),
                    Look::Lending => stage::give_way(),
                    Look::CaughtUp => (0..HINTS).for_each(|_| std::hint::spin_loop()),
                }
            }
            let now = Instant::now();
            if begun.is_none() && message.has_begun() {
                begun = Some(now);
            }
            if now - begun.unwrap_or(queued) >= longest {
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
mod tests;
