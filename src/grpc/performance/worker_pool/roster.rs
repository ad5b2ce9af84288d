//! Who was queued lately, and might make room for somebody better.
//!
//! A page for each priority, written round and round; each line names one queued message. Where a message is not to be
//! refused for want of room although a worse one waits, some lines are read, the newest first, and the worst of those
//! ([`Standing`]) is asked to leave. So it is the worst of a sample: finding the worst of all would take a look at all,
//! for each that is refused. The sample is of the newest, who wait longest.
//!
//! A line is a hint. What it names may have been started, answered, or be another message by now: who asks a message to
//! leave names its [`Life`]. It holds its job weakly, so that no stream is kept for having been here.
//!
//! **Nobody waits**: a line that another thread is at is not written, or not read.

use std::{
    sync::{Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::{job::Job, priority::Priority, state::Life};
use crate::{
    grpc::performance::overload::Standing,
    platform::{atomic::AtomicUsize, sync::Mutex},
};

/// Lines of a page: enough for what may wait in lanes of the usual size, and bounded whatever their size.
const LINES: usize = 512;
/// Lines that are read to find the worst.
const LOOKS: usize = 16;

/// A message that was queued.
#[derive(Clone)]
pub(crate) struct Queued {
    pub(crate) job: Weak<dyn Job>,
    pub(crate) unit: u32,
    pub(crate) life: Life,
    pub(crate) priority: Priority,
    /// When it was queued.
    pub(crate) since: Duration,
    /// When it is to be started at the latest, to be in time; `None`: it has no deadline.
    pub(crate) start_by: Option<Duration>,
    /// When it will be started, by the forecast of that time.
    pub(crate) expected: Duration,
    /// What it weighs.
    pub(crate) bytes: usize,
}

impl Queued {
    fn standing(&self, now: Duration) -> Standing {
        let has_a_chance = self.start_by.is_none_or(|start_by| self.expected.max(now) <= start_by);
        Standing { rank: self.priority.rank(), has_a_chance, since: self.since }
    }
}

struct Page {
    next: AtomicUsize,
    lines: Box<[Mutex<Option<Queued>>]>,
}

pub(super) struct Roster([Page; 3]);

impl Roster {
    /// Pages for lanes in which so many may wait.
    pub(super) fn new(capacity: usize) -> Self {
        let page = || Page {
            next: AtomicUsize::new(0),
            lines: (0..capacity.min(LINES)).map(|_| Mutex::new(None)).collect(),
        };
        Self([page(), page(), page()])
    }

    /// Notes a message that is about to be queued.
    pub(super) fn note(&self, queued: Queued) {
        let page = &self.0[queued.priority.rank()];
        // Relaxed: lines are only hints, and their locks publish them.
        let line = page.next.fetch_add(1, Relaxed) % page.lines.len();
        if let Some(mut line) = page.lines[line].try_lock() {
            *line = Some(queued);
        }
    }

    /// What the first of those would leave whom [`make_room`](Self::make_room) would ask one after the other.
    pub(super) fn bytes_of_worst(&self, newcomer: &Standing, most: usize, now: Duration) -> usize {
        let pages = (newcomer.rank..self.0.len()).rev();
        let worse = pages.flat_map(|rank| self.0[rank].worse_than(newcomer, now));
        worse.take(most).map(|queued| queued.bytes).sum()
    }

    /// Asks somebody strictly worse than the newcomer to leave; false when nobody is found.
    pub(super) fn make_room(&self, newcomer: &Standing, now: Duration) -> bool {
        // The least urgent first; nobody more urgent than the newcomer is worse.
        (newcomer.rank..self.0.len()).rev().any(|rank| self.0[rank].make_room(newcomer, now))
    }
}

impl Page {
    fn make_room(&self, newcomer: &Standing, now: Duration) -> bool {
        self.worse_than(newcomer, now)
            .any(|queued| queued.job.upgrade().is_some_and(|job| job.displace(queued.unit, queued.life)))
    }

    /// Who of the sample is strictly worse than the newcomer, the worst first.
    fn worse_than(&self, newcomer: &Standing, now: Duration) -> impl Iterator<Item = Queued> {
        let next = self.next.load(Relaxed);
        let mut sample: [Option<(Standing, Queued)>; LOOKS] = [const { None }; LOOKS];
        for (back, seen) in (1..=self.lines.len().min(LOOKS)).zip(&mut sample) {
            let line = next.wrapping_sub(back) % self.lines.len();
            let queued = self.lines[line].try_lock().and_then(|line| line.clone());
            *seen = queued.map(|queued| (queued.standing(now), queued));
        }
        let mut worse: Vec<_> =
            sample.into_iter().flatten().filter(|(standing, _)| standing.is_worse_than(newcomer)).collect();
        worse.sort_unstable_by(|(one, _), (other, _)| one.order_of_leaving(other));
        worse.into_iter().map(|(_, queued)| queued)
    }
}
