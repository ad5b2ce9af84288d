//! Wakers that are to be woken at a time, to the precision of the platform's timers: some 0.1 ms, where tokio's counts in
//! milliseconds.
//!
//! They are for streams that have a message open shortly before its deadline, which is rare: each costs a wake of the
//! supervisor to hear of it, and one when its time has come. One that is not needed any more is woken for nothing.

use std::{cmp::Ordering, collections::BinaryHeap, task::Waker, time::Instant};

use crate::platform::contain::wake_logged;

#[derive(Default)]
pub(super) struct Reminders(BinaryHeap<Reminder>);

struct Reminder {
    at: Instant,
    waker: Waker,
}

impl Reminders {
    pub(super) fn add(&mut self, at: Instant, waker: Waker) {
        self.0.push(Reminder { at, waker });
    }

    /// Wakes those whose time has come; says when the next one's comes.
    pub(super) fn wake_due(&mut self, now: Instant) -> Option<Instant> {
        while self.0.peek().is_some_and(|reminder| reminder.at <= now)
            && let Some(Reminder { waker, .. }) = self.0.pop()
        {
            wake_logged(waker);
        }
        self.0.peek().map(|next| next.at)
    }
}

/// The earliest is the greatest, so that it is at the top of the heap.
impl Ord for Reminder {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Reminder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Reminder {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Reminder {}

#[cfg(test)]
#[cfg(not(any(millstream_loom, millstream_shuttle)))]
mod tests {
    use std::{sync::Arc, task::Wake, time::Duration};

    use parking_lot::Mutex;

    use super::*;

    /// Notes its number when it is woken; the number 2 panics then.
    struct Sleeper(u32, Arc<Mutex<Vec<u32>>>);

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.1.lock().push(self.0);
            assert_ne!(self.0, 2, "as the test wants it");
        }
    }

    #[test]
    fn all_whose_time_has_come_are_woken_in_its_order_and_nobody_else() {
        let (woken, mut reminders, start) = (Arc::default(), Reminders::default(), Instant::now());
        let at = |number: u32| start + number * Duration::from_micros(10);
        for number in [3, 1, 4, 2, 5] {
            reminders.add(at(number), Waker::from(Arc::new(Sleeper(number, Arc::clone(&woken)))));
        }
        assert_eq!(reminders.wake_due(start), Some(at(1)));
        assert!(woken.lock().is_empty());
        assert_eq!(reminders.wake_due(at(3)), Some(at(4)));
        assert_eq!(*woken.lock(), [1, 2, 3], "a waker that panics harms nobody");
        assert_eq!(reminders.wake_due(at(9)), None);
        assert_eq!(*woken.lock(), [1, 2, 3, 4, 5]);
    }
}
