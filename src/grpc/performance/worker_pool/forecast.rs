//! How long a message will wait: the work that is queued, by what its classes were learnt to take.
//!
//! Each queued message adds the expected service time of its class to the work that waits, and takes it off when a
//! worker starts it, or it is withdrawn: [`Share`] remembers how much, and lets one of them do it. The predicted wait of
//! a newcomer is the work of its own and more urgent priorities, divided by the workers; while all of them are busy, one
//! mean service time comes on top for the messages that run (their remaining time, were service times exponential).
//!
//! That is one sum for all classes, where an average over all messages would be wrong by as much as classes differ
//! (TiKV's read pool uses one such average, and says so in a comment).
//!
//! All of it is a forecast: relaxed counters that publish nothing; a race makes it wrong by one message for a moment.

mod service_times;

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crossbeam::utils::CachePadded;

use self::service_times::ServiceTimes;
use super::priority::Priority;
use crate::{grpc::performance::monitor::Class, platform::atomic};

/// Work that one queued message stands for, until it is taken off; and with it, the right to give its place back, which
/// goes to whoever takes it off.
#[derive(Debug, Default)]
pub(crate) struct Share(atomic::AtomicU64);

/// Bits of a share that name the lane, and below the nanoseconds one that says that there is a share.
const RANK_BITS: u32 = 2;
const HELD: u64 = 1 << RANK_BITS;
const LOW_BITS: u32 = RANK_BITS + 1;

impl Share {
    fn put(&self, rank: usize, nanoseconds: u64) {
        let nanoseconds = nanoseconds.min(u64::MAX >> LOW_BITS);
        self.0.store(nanoseconds << LOW_BITS | HELD | rank as u64, Relaxed);
    }

    /// What was put, once. Relaxed: a swap, so that one of many gets it, and what it carries is a number.
    fn take(&self) -> Option<(usize, u64)> {
        let share = self.0.swap(0, Relaxed);
        (share & HELD != 0).then_some(((share & (HELD - 1)) as usize, share >> LOW_BITS))
    }
}

pub(crate) struct Forecast {
    workers: u64,
    times: ServiceTimes,
    /// Expected nanoseconds of work in the lanes, by rank.
    waiting: [CachePadded<AtomicU64>; 3],
}

impl Forecast {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers: workers as u64,
            times: ServiceTimes::new(),
            waiting: [(); 3].map(|()| CachePadded::new(AtomicU64::new(0))),
        }
    }

    /// A message is about to be queued.
    pub(crate) fn queued(&self, share: &Share, class: Class, priority: Priority) {
        let expected = self.times.expected(class);
        share.put(priority.rank(), expected);
        self.waiting[priority.rank()].fetch_add(expected, Relaxed);
    }

    /// It was started, or withdrawn; true for the first of these calls, the others find nothing to do.
    pub(crate) fn unqueued(&self, share: &Share) -> bool {
        let Some((rank, expected)) = share.take() else { return false };
        if expected > 0 {
            self.waiting[rank].fetch_sub(expected, Relaxed);
        }
        true
    }

    /// Whether there is work of this rank in the lanes.
    pub(super) fn has_waiting(&self, rank: usize) -> bool {
        self.waiting[rank].load(Relaxed) > 0
    }

    /// A message was served.
    pub(crate) fn learn(&self, class: Class, service: Duration) {
        self.times.learn(class, service.as_nanos() as u64);
    }

    /// How long a message of this class is expected to run; zero while nothing is known of any.
    pub(crate) fn service(&self, class: Class) -> Duration {
        Duration::from_nanos(self.times.expected(class))
    }

    /// How long a message runs in the mean, over all classes; zero while nothing is known.
    pub(crate) fn mean(&self) -> Duration {
        Duration::from_nanos(self.times.mean())
    }

    /// How long a newcomer will wait to be started.
    pub(crate) fn wait(&self, priority: Priority, all_busy: bool) -> Duration {
        let ahead: u64 = self.waiting[..=priority.rank()].iter().map(|work| work.load(Relaxed)).sum();
        let running = if all_busy { self.times.mean() } else { 0 };
        Duration::from_nanos((ahead + running) / self.workers)
    }

    /// How long all that waits will take.
    pub(super) fn drain(&self) -> Duration {
        self.wait(Priority::Low, true)
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

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
        let forecast = learnt();
        let shares: Vec<_> = (0..10).map(|_| Share::default()).collect();
        for share in &shares {
            forecast.queued(share, SLOW, Priority::Normal);
        }
        let wait = forecast.wait(Priority::Normal, false);
        assert!(near(wait, Duration::from_millis(50)), "{wait:?}");
        assert_eq!(
            forecast.wait(Priority::High, false),
            Duration::ZERO,
            "who is more urgent does not wait for them"
        );
        for share in &shares[..5] {
            forecast.unqueued(share);
            forecast.unqueued(share);
        }
        let wait = forecast.wait(Priority::Low, false);
        assert!(near(wait, Duration::from_millis(25)), "{wait:?}");
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
    fn while_all_are_busy_the_running_messages_count_too() {
        let forecast = learnt();
        assert_eq!(forecast.wait(Priority::Normal, false), Duration::ZERO);
        assert!(forecast.wait(Priority::Normal, true) > Duration::ZERO);
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    #[test]
    fn whoever_takes_a_message_off_gives_its_place_back_and_nobody_else() {
        loom::model(|| {
            let queued = Arc::new((Forecast::new(1), Share::default()));
            queued.0.queued(&queued.1, Class::DEFAULT, Priority::Normal);
            // The worker that starts it, and whoever displaces it; its own stream expires it.
            let others = [(), ()].map(|()| {
                let queued = Arc::clone(&queued);
                thread::spawn(move || queued.0.unqueued(&queued.1))
            });
            let mine = queued.0.unqueued(&queued.1);
            let theirs = others.map(|other| usize::from(other.join().unwrap()));
            assert_eq!(usize::from(mine) + theirs.iter().sum::<usize>(), 1);
        });
    }
}
