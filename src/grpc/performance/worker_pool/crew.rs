//! The threads that serve work of one level, and where that work waits for them.
//!
//! There are two crews. The *front* crew, the pool's workers proper, serves short messages; the *background* crew serves
//! what was learnt to take long, on threads of the lowest scheduling class, pinned to the same cores: the kernel takes
//! the core from them the moment a worker of the front has something to do. So a short message never waits for a long
//! one, and no handler has to know of it.
//!
//! ```text
//!                 short, or unknown                          the thread sinks: SCHED_IDLE from now on
//!              ┌──────────────────▶ front lanes ══▶ worker ─────────────────────────▶ goes on with its message,
//!  forecast ───┤                                      │  steps aside                  then ends
//!              │  learnt to be long                   ▼  (floor)                      a fresh worker has its seat
//!              └──────────────────▶ background lanes ══▶ worker at SCHED_IDLE
//! ```
//! **Which crew** a message goes to is settled once, when it is queued, by the median of its class against that of all
//! messages, and by whether what is long makes the others wait ([`Forecast::level`](super::Forecast::level)); its
//! [`Share`](super::Share) remembers it, so that whoever takes it off, sweeps or withdraws it looks in the right lanes. A
//! class of which nothing is known is short. One that turns out not to be long (its flood is what most messages are by
//! now, or what is long hardly makes others wait any more) goes to the background until none of its messages wait there:
//! else the first of a stream would be overtaken by all that follow, whose answers then have to wait for them.
//!
//! **What turns out long** on a worker of the front lets shorter work run in its checkpoints, if it has any
//! (`interlude`). Else it is found by the supervisor, and sinks with its thread: `supervisor::overruns` says when, `post`
//! how it is settled between the two whether the message was done first.
//!
//! **No worker is reserved** for what is short. That is for pools in which what is long keeps its thread to the end; here it
//! keeps its seat for no longer than it takes to be found, and a worker that was kept free would be idle beside work.
//!
//! **Nothing short waits unseen.** Whoever queues something short and finds nobody free says so (`haste`), and so does a
//! worker that takes the last free place and leaves something behind; as long as that word is out the supervisor looks.
//!
//! **Nothing long starves.** A worker of the front that has had no pause for a while steps aside while there is anything
//! long to do (`floor`).
//!
//! **Nobody starves by priority.** Each seat counts its picks (`lanes`), whoever has it: where messages overstay, or turn out
//! long, a thread leaves its seat after a few, and one that began to count would never come to what is served last.
//!
//! **One room.** Both crews' messages hold places in the same room, and bytes: what is long cannot fill more than the
//! bounds that hold for all. When the room is over, the sleepers of both are woken to leave.
//!
//! Each crew is whole by itself: lanes of its own, sleepers of its own, seats of its own. No wake, place or answer of one
//! depends on the other crew's, so that what `lanes`, `sleepers` and `state` promise holds for each. A platform that
//! refuses the lowest class costs only the order of precedence: the threads then have the highest niceness it allows, and
//! a warning says so, once.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use crossbeam::utils::CachePadded;

use super::{
    job::Task,
    lanes::{Lanes, TURNS},
    sleepers::{Side, Sleepers},
};
use crate::platform::{affinity::Core, atomic::AtomicU32};

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
    /// Picks, by seat. Relaxed: a seat is one worker's at a time, and one that lost it in the midst of a task never picks
    /// again; the count decides an order, and publishes nothing.
    picks: Box<[CachePadded<AtomicU32>]>,
}

impl Crew {
    /// A crew of so many seats, on `cores` in turn, whose lanes hold as many messages as the pool may have waiting. One
    /// without seats is never given work.
    pub(super) fn new(capacity: usize, seats: usize, cores: &[Core]) -> Self {
        let capacity = if seats == 0 { 1 } else { capacity };
        let sleepers = Arc::new(Sleepers::new(seats, cores));
        let picks = (0..seats).map(|_| CachePadded::new(AtomicU32::new(0))).collect();
        Self { lanes: Lanes::new(capacity, seats.max(1)), sleepers, seats, picks }
    }

    /// Whether there is anybody.
    pub(super) fn has_seats(&self) -> bool {
        self.seats > 0
    }

    pub(super) fn seats(&self) -> usize {
        self.seats
    }

    /// Queues a task, and sees to it that somebody comes for it, on that side if there is a choice. True when somebody
    /// was woken for it.
    pub(super) fn submit(&self, task: Task, side: Side) -> bool {
        self.lanes.push(task);
        self.notify(side)
    }

    /// Takes the next task out of the lanes, for the worker of a seat.
    pub(super) fn pick(&self, seat: usize) -> Option<Task> {
        let picks = &self.picks[seat];
        let turn = picks.load(Relaxed);
        let task = self.lanes.pick(seat, turn as usize)?;
        picks.store((turn + 1) % TURNS as u32, Relaxed);
        Some(task)
    }

    pub(super) fn notify(&self, side: Side) -> bool {
        self.sleepers.notify(side, |most| self.lanes.waiting_up_to(most))
    }
}
