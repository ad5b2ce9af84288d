//! The deadlines of a stream, on one timer.
//!
//! The timer is armed for the earliest deadline that was ever asked for, and not moved when that message is answered in
//! time: it then fires once for nothing, which is cheaper than moving it for every message.
//!
//! tokio's timer counts milliseconds, and rounds up twice: a deadline to the next one, and the sleep until then again. So
//! it fires up to two late. It is armed a little early ([`LEAD`]), and where it then fires too early, once more.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

use crate::platform::clock;

/// Half of what one rounding may cost: three of four deadlines have come when it fires, and are the less late for it.
pub(super) const LEAD: Duration = Duration::from_micros(500);

/// Entries beyond twice the live ones that are kept before the dead are swept out.
const SLACK: usize = 64;

/// A message that has to be answered by then: the slot, and the sequence number of the message that it held.
type Due = Reverse<(Instant, u32, u64)>;

#[derive(Default)]
pub(super) struct Timer {
    due: BinaryHeap<Due>,
    alarm: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
}

impl Timer {
    /// Notes a deadline. With the first one comes the memory of the alarm, which a stream that has found its stride may
    /// need at any moment: whenever it first has nothing to do.
    pub(super) fn add(&mut self, deadline: Instant, slot: u32, sequence: u64) {
        self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        self.due.push(Reverse((deadline, slot, sequence)));
    }

    /// Sweeps out what was answered, when there is much of it. `live` tells which entries still matter.
    pub(super) fn sweep(&mut self, in_flight: usize, live: impl Fn(u32, u64) -> bool) {
        if self.due.len() > 2 * in_flight + SLACK {
            self.due.retain(|Reverse((_, slot, sequence))| live(*slot, *sequence));
        }
    }

    /// The next message whose deadline is not after `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(u32, u64)> {
        let &Reverse((deadline, slot, sequence)) = self.due.peek()?;
        if deadline > now {
            return None;
        }
        self.due.pop();
        Some((slot, sequence))
    }

    /// Whether any deadline is noted.
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Ready when the earliest deadline, or `other`, may have come.
    pub(super) fn poll(&mut self, other: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let earliest = self.due.peek().map(|Reverse((deadline, ..))| *deadline);
        let wanted = match (earliest, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if let Some(wanted) = wanted
            && self.armed.is_none_or(|armed| wanted < armed)
        {
            let early = wanted.checked_sub(LEAD).filter(|early| *early > clock::now());
            let at = early.unwrap_or(wanted);
            match &mut self.alarm {
                Some(alarm) => alarm.as_mut().reset(at.into()),
                None => self.alarm = Some(Box::pin(sleep_until(at.into()))),
            }
            self.armed = Some(wanted);
        }
        let (Some(_), Some(alarm)) = (self.armed, &mut self.alarm) else { return Poll::Pending };
        let fired = alarm.as_mut().poll(cx);
        if fired.is_ready() {
            self.armed = None;
        }
        fired
    }
}
