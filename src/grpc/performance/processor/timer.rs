//! The deadlines of a stream, on two timers: one that costs next to nothing, and one that is on time.
//!
//! ```text
//!            alarm                    reminder
//!  far ────────────────► near ──────────────────────► due
//!      APPROACH before it     at it, to some 0.1 ms
//! ```
//! **The alarm** is tokio's timer. It is armed for the earliest deadline that was ever asked for, and not moved when that
//! message is answered in time: it then fires once for nothing, which is cheaper than moving it for every message. It
//! counts milliseconds, and rounds up twice: a deadline to the next one, and the sleep until then again. So it fires up to
//! two late, and later still where a thread of tokio is busy or has to wait for a core. Therefore it is armed for a moment
//! that is [`APPROACH`] before the deadline.
//!
//! **The reminder** is given by the pool's supervisor, which sleeps to the microsecond. It is asked for one only by a stream
//! that the alarm has woken, or a message that was late, and that finds the next one open shortly before its deadline: what
//! is answered well in time costs nobody a system call, however short its time was. A reminder may be for nothing, too.
//!
//! **Nothing hangs on the reminder.** From then on the alarm is armed for the deadline itself. If the stream has moved to
//! another task meanwhile, or the pool is over and with it its supervisor, that wakes it, late by what it rounds.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

use crate::platform::{clock, stage::reached};

/// Half of what one rounding may cost, by which the alarm is always armed early: three of four times it then does not fire
/// too soon, and is the less late for it.
pub(super) const LEAD: Duration = Duration::from_micros(500);

/// What the alarm rounds, and as much again for a thread of tokio that is late.
const APPROACH: Duration = Duration::from_millis(3);

/// Entries beyond twice the live ones that are kept before the dead are swept out.
const SLACK: usize = 64;

/// A message that has to be answered by then: the slot, and the sequence number of the message that it held.
type Due = Reverse<(Instant, u32, u64)>;

#[derive(Default)]
pub(super) struct Timer {
    due: BinaryHeap<Due>,
    alarm: Option<Pin<Box<Sleep>>>,
    /// What the alarm is set for; `None` once it has fired.
    armed: Option<Instant>,
    /// The stream is awake because the alarm has fired, or because a message was late, and has not looked ahead since.
    awake: bool,
    /// The deadline that the alarm was last set for itself.
    near: Option<Instant>,
    /// The one that a reminder was last asked for.
    reminded: Option<Instant>,
}

impl Timer {
    /// Notes a deadline. With the first one comes the memory of the alarm, which a stream that has found its stride may
    /// need at any moment: whenever it first has nothing to do.
    pub(super) fn add(&mut self, deadline: Instant, slot: u32, sequence: u64) {
        self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        self.due.push(Reverse((deadline, slot, sequence)));
    }

    /// Sweeps out what was answered, when there is much of it. `open` tells which messages still lack an answer.
    pub(super) fn sweep(&mut self, in_flight: usize, open: impl Fn(u32, u64) -> bool) {
        if self.due.len() > 2 * in_flight + SLACK {
            self.due.retain(|Reverse((_, slot, sequence))| open(*slot, *sequence));
        }
    }

    /// The slot of the next open message whose deadline is not after `now`.
    pub(super) fn pop_due(&mut self, now: Instant, open: impl Fn(u32, u64) -> bool) -> Option<u32> {
        while let Some(&Reverse((deadline, slot, sequence))) = self.due.peek()
            && deadline <= now
        {
            self.due.pop();
            if open(slot, sequence) {
                self.awake = true;
                return Some(slot);
            }
        }
        None
    }

    /// Whether any deadline is noted.
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Ready when the earliest deadline may have come, or is near, or `other` may have come. `remind` is asked to wake the
    /// waker at that time.
    pub(super) fn poll(
        &mut self,
        other: Option<Instant>,
        open: impl Fn(u32, u64) -> bool,
        remind: impl FnOnce(Instant, Waker),
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let awake = std::mem::take(&mut self.awake);
        if awake {
            while self.due.peek().is_some_and(|Reverse((_, slot, sequence))| !open(*slot, *sequence)) {
                self.due.pop();
            }
        }
        if let Some(wanted) = self.wanted(other)
            && self.armed.is_none_or(|armed| wanted < armed)
        {
            let now = clock::now();
            // Where the alarm was too soon, it was not for nothing.
            self.near = self.earliest().filter(|deadline| *deadline <= now + APPROACH + LEAD);
            self.arm(self.wanted(other).unwrap_or(wanted), now);
            if awake
                && self.near != self.reminded
                && let Some(deadline) = self.near
            {
                reached!("timer: a message is still open shortly before its deadline");
                self.reminded = self.near;
                remind(deadline, cx.waker().clone());
            }
        }
        let (Some(_), Some(alarm)) = (self.armed, &mut self.alarm) else { return Poll::Pending };
        let fired = alarm.as_mut().poll(cx);
        if fired.is_ready() {
            (self.armed, self.awake) = (None, true);
        }
        fired
    }

    fn earliest(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((deadline, ..))| *deadline)
    }

    /// What the alarm has to be set for.
    fn wanted(&self, other: Option<Instant>) -> Option<Instant> {
        let approach = |deadline: Instant| match self.near {
            Some(near) if near == deadline => deadline,
            _ => deadline.checked_sub(APPROACH).unwrap_or(deadline),
        };
        [self.earliest().map(approach), other].into_iter().flatten().min()
    }

    fn arm(&mut self, at: Instant, now: Instant) {
        let early = at.checked_sub(LEAD).filter(|early| *early > now).unwrap_or(at);
        match &mut self.alarm {
            Some(alarm) => alarm.as_mut().reset(early.into()),
            None => self.alarm = Some(Box::pin(sleep_until(early.into()))),
        }
        self.armed = Some(at);
    }
}

#[cfg(test)]
#[cfg(not(any(millstream_loom, millstream_shuttle)))]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A stream's timer, and what it has asked to be reminded of.
    #[derive(Default)]
    struct Watch {
        timer: Timer,
        reminders: Vec<Instant>,
    }

    impl Watch {
        fn poll(&mut self, open: bool, cx: &mut Context<'_>) -> Poll<()> {
            let reminders = &mut self.reminders;
            self.timer.poll(None, |_, _| open, |at, _| reminders.push(at), cx)
        }

        /// Sleeps until the timer says so.
        async fn sleep(&mut self) {
            poll_fn(|cx| self.poll(true, cx)).await;
        }

        /// A look at the timer that does not wait for it.
        fn look(&mut self, open: bool) -> bool {
            self.poll(open, &mut Context::from_waker(Waker::noop())).is_ready()
        }

        fn pop_due(&mut self) -> Option<u32> {
            self.timer.pop_due(clock::now(), |_, _| true)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_open_shortly_before_its_deadline_is_reminded_of_it_once_and_woken_by_the_alarm_at_the_latest()
     {
        let (mut watch, deadline) = (Watch::default(), clock::now() + 50 * MS);
        watch.timer.add(deadline, 7, 0);
        watch.sleep().await;
        let left = deadline - clock::now();
        assert!(left >= MS && left <= APPROACH + LEAD, "{left:?} before it");
        assert_eq!((watch.pop_due(), watch.reminders.len()), (None, 0));
        while watch.pop_due().is_none() {
            watch.sleep().await;
        }
        assert_eq!(watch.reminders, [deadline]);
        let late = clock::now() - deadline;
        assert!(late <= 2 * MS, "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_in_time_asks_for_no_reminder_however_short_its_time_was() {
        for timeout in [MS, 2 * MS, 50 * MS] {
            let mut watch = Watch::default();
            watch.timer.add(clock::now() + timeout, 0, 0);
            assert!(!watch.look(true));
            assert!(watch.reminders.is_empty(), "{timeout:?}: nobody has waited yet");
        }
        let mut watch = Watch::default();
        watch.timer.add(clock::now() + 50 * MS, 0, 0);
        watch.sleep().await;
        assert!(!watch.look(false));
        assert!(watch.timer.is_empty() && watch.reminders.is_empty());
        watch.timer.add(clock::now() + MS, 0, 1);
        assert!(!watch.look(true));
        assert!(watch.reminders.is_empty(), "the alarm was for one before it");
    }

    #[tokio::test(start_paused = true)]
    async fn after_one_that_was_late_the_next_is_reminded_of_at_once_if_it_is_near() {
        let (mut watch, start) = (Watch::default(), clock::now());
        let deadlines = [1, 2, 20].map(|ms| start + ms * MS);
        (0..).zip(deadlines).for_each(|(slot, deadline)| watch.timer.add(deadline, slot, 0));
        assert!(!watch.look(true));
        tokio::time::advance(MS).await;
        assert_eq!((watch.pop_due(), watch.pop_due()), (Some(0), None));
        assert!(!watch.look(true));
        assert_eq!(watch.reminders, deadlines[1..2]);
        tokio::time::advance(MS).await;
        assert_eq!((watch.pop_due(), watch.pop_due()), (Some(1), None));
        watch.look(true);
        assert_eq!(watch.reminders, deadlines[1..2], "the third is far");
    }
}
