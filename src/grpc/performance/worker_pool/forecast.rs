//! How long a message will wait: the work that is queued, by what its classes were learnt to take.
//!
//! Each queued message adds the expected service time of its class to the work that waits, and takes it off when a
//! worker starts it, or it is withdrawn: [`Share`] remembers how much, and lets one of them do it. The predicted wait of
//! a newcomer is the work of its own line and of those before it, divided by the workers; while all of them are busy, one
//! mean service time comes on top for the messages that run (their remaining time, were service times exponential).
//!
//! That is one sum for all classes, where an average over all messages would be wrong by as much as classes differ
//! (TiKV's read pool uses one such average, and says so in a comment).
//!
//! **Which classes are long** is told by their medians beside that of all messages, and by whether what is long makes the
//! others wait. How long a message waits for one that is at work goes by the squares of their times (Pollaczek and
//! Khinchine's formula): so the long ones have to make up most of that sum. Where lengths follow a law without a gap, such as
//! the exponential one, they do not: to hold the few longest back wins the others little, and makes the p99 of all twice as
//! long. What is far longer than most is long however rare it is, since one of those is enough.
//!
//! All of it is a forecast: relaxed counters that publish nothing; a race makes it wrong by one message for a moment.

mod effort;
mod histogram;
mod own_time;
mod service_times;
mod share;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crossbeam::utils::CachePadded;

pub(crate) use self::{effort::Effort, share::Share};
use self::{
    service_times::{Sample, ServiceTimes},
    share::{RANKS, lane, one_for_many},
};
use super::{crew::Level, line::Line, priority::Priority};
use crate::{grpc::performance::monitor::Class, platform::clock};

/// What a class takes in the mean whose messages' own time is not looked at, in nanoseconds.
const UNWATCHED: u64 = 1_000_000;

/// A class counts as long when half of its messages run for longer than this many times the median over all messages
/// (levels at 5 and 50 times are what schedulers of unknown lengths use; one is enough with two crews).
const LONG: u32 = 5;
/// It counts as such whatever it weighs beyond this many times that limit: what is so rare that hardly any is remembered.
/// Of an exponential law nothing is ever that long.
const FAR_LONGER: u32 = 10;
/// What runs for less than this is never long: it is over before another thread would be under way in its place, which
/// takes some 100 µs with all wakes.
const LEAST_LONG: Duration = Duration::from_micros(500);
/// What is long while nothing is known.
const LONG_AT_FIRST: Duration = Duration::from_millis(10);
/// The share of the squares from which on what is long makes most of the others' waiting. That beyond five times the median
/// has a third of an exponential law, and two thirds where its times were learnt to be twice as long, as they may while it
/// gives way to all others. Of two kinds, of which one is ten times as long as the other, it has more from one message in
/// twenty on; at 25 times, from one in a hundred and fifty on.
const WEIGHTY: f64 = 0.8;

/// A class of which something was learnt: found once, for all that is asked and learnt at one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known(usize);

pub(crate) struct Forecast {
    workers: u64,
    times: ServiceTimes,
    /// Whether anything counts as long.
    by_length: bool,
    /// Whether what is long makes most of the others' waiting.
    is_long_weighty: AtomicBool,
    /// Expected nanoseconds of work in the lanes of the front, by rank, then in those of the background.
    waiting: [CachePadded<AtomicU64>; 2 * RANKS],
}

impl Forecast {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers: workers as u64,
            times: ServiceTimes::new(),
            by_length: true,
            is_long_weighty: AtomicBool::new(false),
            waiting: [(); 2 * RANKS].map(|()| CachePadded::new(AtomicU64::new(0))),
        }
    }

    /// The same, for a pool that tells short and long apart, or does not.
    pub(super) fn by_length(self, by_length: bool) -> Self {
        Self { by_length, ..self }
    }

    /// A message is about to be queued; says in which lanes.
    pub(crate) fn queued(&self, share: &Share, class: Class, line: impl Into<Line>) -> Level {
        let entry = self.times.find(class);
        let level = self.level_at(entry);
        let lane = lane(level, line.into().rank());
        let expected = one_for_many(self.times.expected_at(entry));
        share.put(lane, entry, expected);
        if expected > 0 {
            self.waiting[lane].fetch_add(expected, Relaxed);
        }
        if let (Level::Long, Some(entry)) = (level, entry) {
            self.times.in_background(entry).fetch_add(1, Relaxed);
        }
        level
    }

    /// What a message of this class counts as: as long, too, while others of its class wait in the background, so that
    /// no class overtakes itself when it turns out not to be long after all.
    pub(crate) fn level(&self, class: Class) -> Level {
        self.level_at(self.times.find(class))
    }

    fn level_at(&self, entry: Option<usize>) -> Level {
        let Some(entry) = entry else { return Level::Short };
        if self.has_learnt_long(entry) || self.times.in_background(entry).load(Relaxed) > 0 {
            Level::Long
        } else {
            Level::Short
        }
    }

    /// Whether most messages of a class run far longer than most of all, and keep those waiting.
    fn has_learnt_long(&self, entry: usize) -> bool {
        let Some(limit) = self.longest_short() else { return false };
        let weighty = if self.is_long_weighty.load(Relaxed) { limit } else { FAR_LONGER * limit };
        self.times.median_at(entry) > weighty.as_nanos() as u64
    }

    /// What runs for longer than this is longer than anything short, whatever its class; `None` where lengths are not looked
    /// at. Whether classes beyond it count as long is another matter ([`level`](Self::level)).
    pub(super) fn longest_short(&self) -> Option<Duration> {
        let limit = match self.times.median() {
            0 => LONG_AT_FIRST,
            median => (LONG * Duration::from_nanos(median)).max(LEAST_LONG),
        };
        self.by_length.then_some(limit)
    }

    /// It was started, or withdrawn; true for the first of these calls, the others find nothing to do.
    pub(crate) fn unqueued(&self, share: &Share) -> bool {
        let Some((lane, entry, expected)) = share.take() else { return false };
        if expected > 0 {
            self.waiting[lane].fetch_sub(expected, Relaxed);
        }
        if let (true, Some(entry)) = (lane >= RANKS, entry) {
            self.times.in_background(entry).fetch_sub(1, Relaxed);
        }
        true
    }

    /// Whether there is work of this priority in the front's lanes.
    pub(super) fn has_waiting(&self, priority: Priority) -> bool {
        let lines = Line::from(priority).rank()..=Line::last_of(priority).rank();
        self.waiting[lines].iter().any(|work| work.load(Relaxed) > 0)
    }

    /// A message is about to be worked on by this thread, and will be [learnt](Self::learn_from) from: its own time, too,
    /// where somebody vouches for it.
    pub(crate) fn begin(&self, class: Class, vouched: bool) -> Effort {
        let effort = self.begin_at(self.times.find_or_take(class));
        if vouched { self.with_own_time(effort) } else { effort }
    }

    fn begin_at(&self, entry: Option<usize>) -> Effort {
        let brief = self.times.is_known_to_be_within(entry, UNWATCHED);
        if brief { Effort::unwatched(entry) } else { Effort::watched(entry) }
    }

    /// The same for one that was queued, by who does without its time where it is one of many that are brief. The class is
    /// looked at only where it was not known yet.
    pub(super) fn begin_queued(&self, share: &Share, class: &Class, vouched: bool) -> Effort {
        let entry = share.entry().or_else(|| self.times.find_or_take(*class));
        let effort = self.begin_one_of(entry);
        if vouched { self.with_own_time(effort) } else { effort }
    }

    /// One of many, where they are brief: most of those go unlearnt.
    fn begin_one_of(&self, entry: Option<usize>) -> Effort {
        if self.times.are_brief(entry) { Effort::one_of_many(entry) } else { self.begin_at(entry) }
    }

    /// The same, and its own time is measured if that is wanted.
    fn with_own_time(&self, effort: Effort) -> Effort {
        let is_wanted = effort.entry().is_some_and(|entry| self.times.own_time_at(entry).is_wanted());
        if is_wanted { effort.with_own_time() } else { effort }
    }

    /// A message was served, and took so long by the wall clock, which is asked for only if that is learnt.
    pub(crate) fn learn_from(&self, effort: &Effort, service: impl FnOnce() -> Duration) {
        // Before the rest is learnt, which takes its own time.
        let own_time = effort.own_time();
        if let Some(sample) = effort.sample() {
            self.learn_at(effort.entry(), effort.of(service()), sample);
        }
        if let (Some(entry), Some(own)) = (effort.entry(), own_time) {
            self.times.own_time_at(entry).learn(own.as_nanos() as u64);
        }
    }

    /// A message was served, and took so much.
    pub(crate) fn learn(&self, class: Class, service: Duration) {
        self.learn_at(self.times.find_or_take(class), service, Sample::Any);
    }

    fn learn_at(&self, entry: Option<usize>, service: Duration, how: Sample) {
        if self.times.learn(entry, service.as_nanos() as u64, how)
            && let Some(limit) = self.longest_short()
        {
            let is_weighty = self.times.square_share_beyond(limit.as_nanos() as u64) >= WEIGHTY;
            self.is_long_weighty.store(is_weighty, Relaxed);
        }
    }

    /// How long a message of this class is expected to run; zero while nothing is known of any.
    pub(crate) fn service(&self, class: Class) -> Duration {
        Duration::from_nanos(self.times.expected_at(self.times.find(class)))
    }

    /// How long this share of the messages of a class run at most, rounded up by a fourth at most; `None` while too few
    /// were seen to tell. Looks at a hundred counters.
    pub(crate) fn quantile(&self, class: Class, share: f64) -> Option<Duration> {
        self.times.quantile(class, share).map(Duration::from_nanos)
    }

    /// A class whose messages are done within `limit` by themselves, as far as was learnt: all but one in a thousand by
    /// the CPU time that they take, since what others take from them meanwhile says nothing of them; and half of them by the
    /// wall clock, or they wait for something.
    pub(super) fn done_within(&self, class: Class, limit: Duration) -> Option<Known> {
        self.times.find(class).map(Known).filter(|known| self.is_done_within(*known, limit))
    }

    /// The same, of a class that is known.
    pub(super) fn is_done_within(&self, Known(entry): Known, limit: Duration) -> bool {
        let limit = limit.as_nanos() as u64;
        self.times.own_tail_at(entry).is_some_and(|tail| tail <= limit)
            && self.times.median_at(entry) <= limit
    }

    /// Does what a message of a known class asks for, from `started`, which is now, and learns of it. With how long it took.
    pub(crate) fn follow<R>(
        &self,
        known: Known,
        started: Instant,
        work: impl FnOnce() -> R,
    ) -> (R, Duration) {
        let effort = self.begin_known(known);
        let outcome = work();
        let service = clock::now() - started;
        self.learn_from(&effort, || service);
        (outcome, service)
    }

    /// As [`begin`](Self::begin), for one of a class that is known and vouched for. Of those that are brief most go
    /// unlearnt.
    fn begin_known(&self, Known(entry): Known) -> Effort {
        let effort = self.begin_one_of(Some(entry));
        if effort.sample().is_some() { self.with_own_time(effort) } else { effort }
    }

    /// As if enough messages of a class had taken so much CPU time for its tail to be known.
    #[cfg(all(test, not(millstream_loom)))]
    pub(crate) fn teach(&self, class: Class, time: Duration) {
        let entry = self.times.find_or_take(class).expect("the table has room for it");
        while self.times.own_tail_at(entry).is_none() {
            self.times.own_time_at(entry).learn(time.as_nanos() as u64);
        }
    }

    /// How long a message runs in the mean, over all classes; zero while nothing is known.
    pub(crate) fn mean(&self) -> Duration {
        Duration::from_nanos(self.times.mean())
    }

    /// How long a newcomer will wait to be started. What is long waits for all that is short, of whatever priority, since
    /// that takes the cores first.
    pub(crate) fn wait(&self, level: Level, line: impl Into<Line>, all_busy: bool) -> Duration {
        let (front, background) = self.waiting.split_at(RANKS);
        let up_to = ..=line.into().rank();
        let (short, long) = match level {
            Level::Short => (&front[up_to], &[][..]),
            Level::Long => (front, &background[up_to]),
        };
        let ahead: u64 = short.iter().chain(long).map(|work| work.load(Relaxed)).sum();
        let running = if all_busy { self.times.mean() } else { 0 };
        Duration::from_nanos((ahead + running) / self.workers)
    }

    /// How long all that waits will take.
    pub(super) fn drain(&self) -> Duration {
        self.wait(Level::Long, Line::last_of(Priority::Low), true)
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests;

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
