//! When a stream looks at its input, and at what its workers have done.
//!
//! At other times than in an overload: whenever something comes. To be woken for one message costs a thread of tokio, and whoever
//! wakes it, several times what it takes to refuse it; and in an overload that time is taken from the workers.
//!
//! So from the level on at which there is no time to spare, or while more is refused than accepted, a stream that has just
//! read, and for which messages come one upon the other, looks again after a [`TICK`], and reads what has come by then at a
//! stroke:
//!
//! ```text
//!              read a message within BRISK of the one before it, in an overload
//!  by arrival ──────────────────────────────────────────────────────────────► by the clock ─┐ every TICK
//!             ◄────────────────────────────────────────────────────────────── ◄─────────────┘
//!                nothing came for EMPTY_READS ticks, the overload is over, or a message was urgent
//! ```
//! Where messages are few and far between, ticks are more wakes and not fewer: with 40 a second on each of 20 streams a
//! fourth of what tokio's threads did. A stream all of whose messages were refused is waited for by nobody else: it looks
//! after a [`REST`] only, together with all others that are like that.
//!
//! By the clock, the input is asked with a waker that wakes nobody, and workers need not wake the task either. The tick is
//! what wakes it: it is always set when the input was asked so, and never else ([`Reading::next_tick`]), so that nothing
//! is forgotten. Timers of one runtime fire together, and with them all streams that go by the clock: one wake for many.
//!
//! The server reads the connections by the same rules, for the same reason.
//!
//! A message waits for up to two ticks more so, where those before it keep it waiting for many; a stream whose latest
//! message was urgent is spared that.

use std::time::{Duration, Instant};

use super::timer::LEAD;

/// tokio's timer has no finer one.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// Between two looks of a stream that has nothing in work; one who is refused in it has as much longer to wait for that.
const REST: Duration = Duration::from_millis(4);
/// Messages that come so closely, or closer, are met by most ticks.
const BRISK: Duration = Duration::from_millis(2);
/// Ticks in vain before the input is asked to wake the task again: a stream that carries little is not to be looked at all
/// the time, nor to be woken for every message that comes a little late.
const EMPTY_READS: u32 = 4;

#[derive(Debug, Default)]
pub(crate) struct Reading {
    tick: Option<Instant>,
    /// When the latest message was read.
    latest: Option<Instant>,
    /// Messages have come one upon the other, and there were not too many ticks in vain since.
    brisk: bool,
    /// Reads that found nothing, one after the other.
    empty: u32,
    /// The latest message was urgent.
    pub(super) urgent: bool,
}

impl Reading {
    /// When to look again, if the input will not say so.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        self.tick
    }

    /// Whether the tick is yet to come. The alarm may be a little early, which is near enough.
    pub(super) fn rests(&mut self, now: impl FnOnce() -> Instant) -> bool {
        self.tick = self.tick.filter(|tick| now() + LEAD < *tick);
        self.tick.is_some()
    }

    /// A message was read.
    pub(crate) fn found(&mut self, urgent: bool, now: Instant) {
        self.brisk |= self.latest.is_some_and(|latest| now.saturating_duration_since(latest) <= BRISK);
        self.latest = Some(now);
        self.empty = 0;
        self.urgent = urgent;
    }

    /// Whether the input is to be asked without a waker.
    pub(crate) fn by_the_clock(&self, overloaded: bool) -> bool {
        overloaded && !self.urgent && self.brisk
    }

    /// The input, asked without a waker, had no more; and nothing at all if `read` is false. `idle`: nothing is in work.
    /// `since_epoch` is the same clock for all streams.
    pub(crate) fn pause(&mut self, read: bool, idle: bool, now: Instant, since_epoch: Duration) {
        if !read {
            self.empty += 1;
            self.brisk &= self.empty < EMPTY_READS;
        }
        let rest = REST.as_nanos() as u64;
        // Modulo, so that all who rest wake up together.
        let left = || Duration::from_nanos(rest - since_epoch.as_nanos() as u64 % rest);
        self.tick = Some(now + if idle { left() } else { TICK });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_by_the_clock_in_an_overload_for_as_long_as_something_comes() {
        let mut reading = Reading::default();
        let mut now = Instant::now();
        reading.found(false, now);
        assert!(!reading.by_the_clock(true), "one message is no stream of them");
        now += BRISK;
        reading.found(false, now);
        assert!(reading.by_the_clock(true) && !reading.by_the_clock(false));
        reading.pause(true, false, now, Duration::ZERO);
        assert_eq!(reading.next_tick(), Some(now + TICK));
        assert!(reading.rests(|| now));
        for _ in 0..EMPTY_READS {
            assert!(reading.by_the_clock(true));
            assert!(!reading.rests(|| now + TICK), "the tick has come");
            assert_eq!(reading.next_tick(), None);
            reading.pause(false, false, now, Duration::ZERO);
        }
        assert!(!reading.by_the_clock(true));
    }

    #[test]
    fn streams_with_nothing_in_work_rest_for_longer_and_wake_up_together() {
        let now = Instant::now();
        let wakes = [0, 1, 1500, 3999].map(|micros| {
            let (mut reading, since) = (Reading::default(), Duration::from_micros(micros));
            reading.pause(true, true, now + since, 5 * REST + since);
            reading.next_tick()
        });
        assert_eq!(wakes, [Some(now + REST); 4]);
    }

    #[test]
    fn messages_that_are_far_between_are_read_as_they_come() {
        let (mut reading, now) = (Reading::default(), Instant::now());
        for message in 0..10 {
            reading.found(false, now + message * 2 * BRISK);
            assert!(!reading.by_the_clock(true));
        }
    }

    #[test]
    fn who_is_urgent_does_not_wait_for_the_clock() {
        let (mut reading, now) = (Reading::default(), Instant::now());
        (0..2).for_each(|_| reading.found(true, now));
        assert!(!reading.by_the_clock(true));
        reading.found(false, now);
        assert!(reading.by_the_clock(true));
    }
}
