//! The bounded queues between submitters and workers: a lane for each priority, and what workers have cut off.
//!
//! **No thread waits for another** in a [`lane`], wherever that one was stopped; `ArrayQueue`'s poppers wait for a pusher
//! that was.
//!
//! **Bound.** A lane holds as many tasks as the whole pool may have messages waiting; who pushes holds a place in
//! [`Room`](super::room::Room), and each task stands for at least one message with a place, so a push never finds its
//! lane full. What was withdrawn lies there without a place until it is swept out, for which there is room of its own
//! ([`sweep`]).
//!
//! **Order.** Within a lane first come, first served. The rest of a batch that its worker cut off lies at the worker's
//! seat, and counts as the head of its lane there; workers that find the lanes empty take it from another's seat.
//!
//! **No starvation.** Of [`TURNS`] picks of a worker, most look at high before normal before low, some at normal first,
//! one at low first: so the head of any lane waits for at most [`TURNS`] picks of one worker.

mod cells;
mod hands;
mod lane;
mod ring;
mod sweep;

use crossbeam::utils::CachePadded;

#[cfg(feature = "proof")]
pub(crate) use self::lane::Lane;
#[cfg(not(feature = "proof"))]
use self::lane::Lane;
use self::sweep::Deaths;
use super::{job::Task, priority::Priority};

/// Threads that have a cell of their own in each shared lane. More of them borrow.
const CELLS_OF_THREADS: usize = 128;
/// Cells to lend, in a shared lane and at a seat, where everybody borrows. So many threads may be stopped there in the
/// midst of a push or a pop before another one notices.
const LOANS: usize = 16;
const LOANS_OF_A_SEAT: usize = 7;

/// Picks after which every lane has come first.
pub(super) const TURNS: usize = 16;

/// Which lane a pick looks at first, by its turn. Ranks as in [`Priority::ALL`].
pub(super) fn order(turn: usize) -> [usize; 3] {
    match turn % TURNS {
        3 | 7 | 11 => [1, 0, 2],
        15 => [2, 0, 1],
        _ => [0, 1, 2],
    }
}

pub(super) struct Lanes {
    shared: [Lane<Task>; 3],
    /// By seat, then by rank: at most one rest each.
    rests: Box<[CachePadded<[Lane<Task>; 3]>]>,
    deaths: Deaths,
}

impl Lanes {
    pub(super) fn new(capacity: usize, seats: usize) -> Self {
        let one = || CachePadded::new([(); 3].map(|()| Lane::new(1, 0, LOANS_OF_A_SEAT)));
        Self {
            shared: [(); 3].map(|()| Lane::new(capacity + Deaths::room(capacity), CELLS_OF_THREADS, LOANS)),
            rests: (0..seats).map(|_| one()).collect(),
            deaths: Deaths::default(),
        }
    }

    /// Queues a task. The caller holds a place in the room for it.
    pub(super) fn push(&self, task: Task) {
        self.shared[task.priority.rank()].push(task);
    }

    /// Leaves the rest of a batch at a seat, in reach of everybody. Only the worker of that seat does, after it took
    /// the rest that lay there.
    pub(super) fn push_rest(&self, seat: usize, task: Task) {
        self.rests[seat][task.priority.rank()].push(task);
    }

    /// The next task for a worker, on its `turn`-th pick.
    pub(super) fn pick(&self, seat: usize, turn: usize) -> Option<Task> {
        let order = order(turn);
        order
            .iter()
            .find_map(|&rank| self.rests[seat][rank].pop().or_else(|| self.shared[rank].pop()))
            .or_else(|| order.iter().find_map(|&rank| self.rests.iter().find_map(|seat| seat[rank].pop())))
    }

    /// Any task at all, for a shutdown that empties the lanes.
    pub(super) fn take_any(&self) -> Option<Task> {
        self.pick(0, 0)
    }

    fn all(&self) -> impl Iterator<Item = &Lane<Task>> {
        self.shared.iter().chain(self.rests.iter().flat_map(|seat| seat.iter()))
    }

    /// Whether there is no task that nobody has taken, a moment ago.
    pub(super) fn is_empty(&self) -> bool {
        self.all().all(Lane::is_empty)
    }

    /// Tasks that nobody has taken, counted up to `most` or a little further: never fewer than there are, and exact only
    /// while nobody pushes or picks.
    pub(super) fn waiting_up_to(&self, most: usize) -> usize {
        let mut waiting = 0;
        for lane in self.all() {
            if waiting >= most {
                break;
            }
            waiting += lane.len_up_to(most);
        }
        waiting
    }

    /// The same, of all.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.all().map(Lane::len).sum()
    }
}

impl Priority {
    /// Position in [`Priority::ALL`].
    pub(crate) fn rank(self) -> usize {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use super::*;
    use crate::grpc::performance::{
        error::Interruption,
        worker_pool::{
            forecast::{Forecast, Share},
            job::Job,
            overstay::Description,
            state::Life,
        },
    };

    #[derive(Default)]
    struct Nothing(Share);

    impl Job for Nothing {
        fn split(&self, _: u32) -> Option<u32> {
            None
        }
        fn share(&self, _: u32) -> &Share {
            &self.0
        }
        fn run(&self, _: u32, _: Instant, _: &Forecast) {}
        fn refuse(&self, _: u32, _: Interruption) {}
        fn is_withdrawn(&self, unit: u32) -> bool {
            unit >= WITHDRAWN
        }
        fn describe(&self, _: u32, _: Life) -> Option<Description> {
            None
        }
        fn displace(&self, _: u32, _: Life) -> bool {
            false
        }
        fn life(&self, _: u32) -> Life {
            Life::ONLY
        }
        fn abandon(&self, _: u32, _: Life, _: Interruption) {}
    }

    /// Units from here on were withdrawn.
    const WITHDRAWN: u32 = 1000;

    fn task(priority: Priority, unit: u32) -> Task {
        Task { job: Arc::new(Nothing::default()), unit, priority }
    }

    #[test]
    fn every_lane_is_served_within_its_turns_while_the_others_never_run_dry() {
        let lanes = Lanes::new(100, 1);
        for unit in 0..100 {
            for priority in Priority::ALL {
                lanes.push(task(priority, unit));
            }
        }
        let picked: Vec<_> = (0..TURNS).map(|turn| lanes.pick(0, turn).unwrap().priority).collect();
        let count = |priority| picked.iter().filter(|&&p| p == priority).count();
        assert_eq!((count(Priority::High), count(Priority::Normal), count(Priority::Low)), (12, 3, 1));
    }

    #[test]
    fn within_a_lane_first_come_is_first_served_and_a_rest_is_the_head() {
        let lanes = Lanes::new(10, 2);
        lanes.push(task(Priority::Normal, 1));
        lanes.push(task(Priority::Normal, 2));
        lanes.push_rest(0, task(Priority::Normal, 0));
        let units: Vec<_> = (0..3).map(|_| lanes.pick(0, 0).unwrap().unit).collect();
        assert_eq!(units, [0, 1, 2]);
    }

    #[test]
    fn a_sweep_takes_out_what_was_withdrawn_and_keeps_the_order_of_the_others() {
        let lanes = Lanes::new(10, 1);
        for unit in [0, WITHDRAWN, 1, WITHDRAWN + 1, 2] {
            lanes.push(task(Priority::Normal, unit));
        }
        lanes.sweep();
        assert_eq!(lanes.waiting(), 3);
        let units: Vec<_> = (0..3).map(|_| lanes.pick(0, 0).unwrap().unit).collect();
        assert_eq!(units, [0, 1, 2]);
    }

    #[test]
    fn it_is_time_to_sweep_when_many_have_died_and_then_not_for_a_while() {
        let lanes = Lanes::new(1000, 1);
        let calls: Vec<_> = (1..=1000).filter(|_| lanes.count_death(200)).collect();
        assert_eq!(calls, [133, 266, 399, 532, 665, 798, 931]);
    }

    #[test]
    fn a_rest_is_taken_from_a_busy_neighbour() {
        let lanes = Lanes::new(10, 2);
        lanes.push_rest(0, task(Priority::Low, 7));
        assert_eq!(lanes.waiting(), 1);
        assert_eq!(lanes.pick(1, 0).unwrap().unit, 7);
        assert_eq!(lanes.waiting(), 0);
    }
}
