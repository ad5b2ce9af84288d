//! The threads that serve work of one level, and where that work waits for them.
//!
//! There are two crews. The *front* crew, the pool's workers proper, serves short messages; the *background* crew serves
//! what was learnt to take long, on threads of the lowest scheduling class, pinned to the same cores: the kernel takes
//! the core from them the moment a worker of the front has something to do. So a short message never waits for a long
//! one, and no handler has to know of it.
//!
//! Each crew is whole by itself: lanes of its own, sleepers of its own, seats of its own. Nothing of one protocol depends
//! on the other crew's.

use std::sync::Arc;

use super::{job::Task, lanes::Lanes, sleepers::Sleepers};

/// How long a message is expected to run, beside the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// As most do, or unknown.
    Short,
    /// Far longer than most.
    Long,
}

pub(super) struct Crew {
    pub(super) lanes: Lanes,
    pub(super) sleepers: Arc<Sleepers>,
    seats: usize,
}

impl Crew {
    /// A crew of so many seats, whose lanes hold as many messages as the pool may have waiting. One without seats is
    /// never given work.
    pub(super) fn new(capacity: usize, seats: usize) -> Self {
        let capacity = if seats == 0 { 1 } else { capacity };
        Self { lanes: Lanes::new(capacity, seats.max(1)), sleepers: Arc::new(Sleepers::new(seats)), seats }
    }

    /// Whether there is anybody.
    pub(super) fn has_seats(&self) -> bool {
        self.seats > 0
    }

    pub(super) fn seats(&self) -> usize {
        self.seats
    }

    /// Queues a task, and sees to it that somebody comes for it.
    pub(super) fn submit(&self, task: Task) {
        self.lanes.push(task);
        self.notify();
    }

    pub(super) fn notify(&self) {
        self.sleepers.notify(|| self.lanes.waiting());
    }
}
