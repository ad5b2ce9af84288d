//! The bounded queues between submitters and workers: a lane for each [`Line`], and what workers have cut off.
//!
//! **No thread waits for another** in a [`lane`], wherever that one was stopped; `ArrayQueue`'s poppers wait for a pusher
//! that was.
//!
//! **Bound.** A lane holds as many tasks as the whole pool may have messages waiting; who pushes holds a place in
//! [`Room`](super::room::Room), and each task stands for at least one message with a place. What was withdrawn lies there
//! without a place until it is swept out, for which there is room of its own ([`sweep`]). So a push finds its lane full
//! only where who was to sweep has been stopped; then it sweeps itself.
//!
//! **Memory.** The lanes of modest streams are there from the start. The others are made for the first task that is
//! queued there, since most pools never see one: whoever comes first makes it, and nobody waits for that. Workers look at
//! no lanes that were never used ([`in_use`]).
//!
//! **Order.** Within a lane first come, first served; a deadline moves nobody forward, for which `simulation::deadlines`
//! has the figures. The rest of a batch that its worker cut off lies at the worker's seat, and counts as the head of its
//! lane there; workers that find the lanes empty take it from another's seat.
//!
//! **No starvation.** Of [`TURNS`] picks of a worker each line comes first at least once ([`order`]): so the head of any
//! lane waits for at most [`TURNS`] picks of one worker.

mod cells;
mod hands;
mod in_use;
mod lane;
mod order;
mod ring;
mod sweep;

use crossbeam::utils::CachePadded;
use once_cell::race::OnceBox;

#[cfg(feature = "proof")]
pub(crate) use self::lane::Lane;
#[cfg(not(feature = "proof"))]
use self::lane::Lane;
pub(crate) use self::order::order_of_service;
pub(super) use self::order::{TURNS, priorities};
use self::{in_use::InUse, sweep::Deaths};
use super::{job::Task, line::Line, priority::Priority};
use crate::platform::stage;

/// Threads that have a cell of their own in each shared lane. More of them borrow.
const CELLS_OF_THREADS: usize = 128;
/// Cells to lend, in a shared lane and at a seat, where everybody borrows. So many threads may be stopped there in the
/// midst of a push or a pop before another one notices.
const LOANS: usize = 16;
const LOANS_OF_A_SEAT: usize = 7;

pub(super) struct Lanes {
    capacity: usize,
    /// By rank.
    shared: [OnceBox<Lane<Task>>; Line::COUNT],
    /// By seat, then by rank: at most one rest each.
    rests: Box<[CachePadded<[Lane<Task>; Line::COUNT]>]>,
    in_use: CachePadded<InUse>,
    deaths: Deaths,
}

impl Lanes {
    pub(super) fn new(capacity: usize, seats: usize) -> Self {
        let one = || CachePadded::new([(); Line::COUNT].map(|()| Lane::new(1, 0, LOANS_OF_A_SEAT)));
        let lanes = Self {
            capacity,
            shared: [(); Line::COUNT].map(|()| OnceBox::new()),
            rests: (0..seats).map(|_| one()).collect(),
            in_use: CachePadded::new(InUse::default()),
            deaths: Deaths::default(),
        };
        for priority in Priority::ALL {
            lanes.shared(Line::from(priority).rank());
        }
        lanes
    }

    /// The lane of a rank, made if it was not there.
    fn shared(&self, rank: usize) -> &Lane<Task> {
        let room = self.capacity + Deaths::room(self.capacity);
        self.shared[rank].get_or_init(|| Box::new(Lane::new(room, CELLS_OF_THREADS, LOANS)))
    }

    /// Queues a task. The caller holds a place in the room for it.
    pub(super) fn push(&self, task: Task) {
        let rank = task.line.rank();
        let lane = self.shared(rank);
        self.in_use.add_line(rank);
        let mut task = task;
        while let Err(back) = lane.try_push(task) {
            sweep::clear(lane);
            // It may also be a cell that is missing.
            stage::give_way();
            task = back;
        }
    }

    /// Leaves the rest of a batch at a seat, in reach of everybody. Only the worker of that seat does, after it took
    /// the rest that lay there.
    pub(super) fn push_rest(&self, seat: usize, task: Task) {
        let rank = task.line.rank();
        self.in_use.add_rests(rank);
        self.rests[seat][rank].push(task);
    }

    /// The next task for a worker, on its `turn`-th pick.
    pub(super) fn pick(&self, seat: usize, turn: usize) -> Option<Task> {
        let uses = self.in_use.look();
        let rest = |seat: &[Lane<Task>; Line::COUNT], rank: usize| {
            if uses.has_rests(rank) { seat[rank].pop() } else { None }
        };
        let queued = |rank: usize| if uses.has_line(rank) { self.shared[rank].get()?.pop() } else { None };
        let found =
            order_of_service(turn).find_map(|rank| rest(&self.rests[seat], rank).or_else(|| queued(rank)));
        if found.is_some() || !uses.has_any_rests() {
            return found;
        }
        order_of_service(turn).find_map(|rank| self.rests.iter().find_map(|seat| rest(seat, rank)))
    }

    /// Any task at all, for a shutdown that empties the lanes.
    pub(super) fn take_any(&self) -> Option<Task> {
        self.pick(0, 0)
    }

    fn all(&self) -> impl Iterator<Item = &Lane<Task>> {
        let uses = self.in_use.look();
        (0..Line::COUNT).flat_map(move |rank| {
            let lane = if uses.has_line(rank) { self.shared[rank].get() } else { None };
            let seats = if uses.has_rests(rank) { &self.rests[..] } else { &[] };
            lane.into_iter().chain(seats.iter().map(move |seat| &seat[rank]))
        })
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

#[cfg(all(test, millstream_shuttle))]
mod shuttle_tests;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::grpc::performance::{
        overload::Appetite,
        worker_pool::{forecast::Share, job::stand_in::StandIn},
    };

    #[derive(Default)]
    struct Nothing(Share);

    impl StandIn for Nothing {
        fn share(&self, _: u32) -> &Share {
            &self.0
        }
        fn is_withdrawn(&self, unit: u32) -> bool {
            unit >= WITHDRAWN
        }
    }

    /// Units from here on were withdrawn.
    const WITHDRAWN: u32 = 1000;

    fn task(line: impl Into<Line>, unit: u32) -> Task {
        Task { job: Arc::new(Nothing::default()), unit, line: line.into() }
    }

    fn all_lines() -> impl Iterator<Item = Line> {
        let of = |priority| Appetite::ALL.map(|appetite| Line { priority, appetite });
        Priority::ALL.into_iter().flat_map(of)
    }

    #[test]
    fn every_lane_is_served_within_its_turns_while_the_others_never_run_dry() {
        let lanes = Lanes::new(200, 1);
        for unit in 0..200 {
            for line in all_lines() {
                lanes.push(task(line, unit));
            }
        }
        let picked: Vec<_> = (0..TURNS).map(|turn| lanes.pick(0, turn).unwrap().line).collect();
        let count = |line: Line| picked.iter().filter(|&&picked| picked == line).count();
        let counts: Vec<_> = all_lines().map(count).collect();
        assert_eq!(counts, [46, 1, 1, 10, 1, 1, 2, 1, 1]);
    }

    #[test]
    fn nobody_starves_whatever_the_others_send_and_whenever_it_comes() {
        for line in all_lines() {
            for begin in 0..TURNS {
                // Before each pick one more comes in every line but this.
                let lanes = Lanes::new(2 * TURNS, 1);
                lanes.push(task(line, 0));
                let waited = (0..).find(|pick| {
                    all_lines().filter(|&other| other != line).for_each(|other| lanes.push(task(other, 1)));
                    lanes.pick(0, begin + pick).unwrap().line == line
                });
                assert!(waited.unwrap() < TURNS, "{line:?} waits for {waited:?} picks from {begin} on");
            }
        }
    }

    #[test]
    fn a_greedy_stream_stands_behind_the_others_of_its_priority_and_before_those_of_a_lower_one() {
        let lanes = Lanes::new(10, 1);
        assert!(all_lines().map(Line::rank).eq(0..Line::COUNT));
        for line in [Line::from(Priority::Low), Line::last_of(Priority::Normal), Line::from(Priority::Normal)]
        {
            lanes.push(task(line, 0));
            lanes.push(task(line, 1));
        }
        let picked: Vec<_> =
            (1..=6).map(|_| lanes.pick(0, 1).unwrap()).map(|task| task.line.rank()).collect();
        assert_eq!(picked, [3, 3, 5, 5, 6, 6]);
    }

    #[test]
    fn lanes_that_nobody_has_used_are_not_made() {
        let lanes = Lanes::new(10, 1);
        let made = || all_lines().filter(|line| lanes.shared[line.rank()].get().is_some()).count();
        assert_eq!(made(), Priority::ALL.len());
        lanes.push(task(Line::last_of(Priority::Low), 0));
        assert_eq!(made(), Priority::ALL.len() + 1);
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
    fn what_stopped_sweepers_have_left_behind_takes_nobodys_room() {
        let lanes = Lanes::new(10, 1);
        for _ in 0..5 {
            // Nobody sweeps when it is time.
            while !lanes.count_death(10) {
                lanes.push(task(Priority::Normal, WITHDRAWN));
            }
        }
        (0..10).for_each(|unit| lanes.push(task(Priority::Normal, unit)));
        let picked = std::iter::from_fn(|| lanes.pick(0, 0)).map(|task| task.unit);
        assert!(picked.filter(|&unit| unit < WITHDRAWN).eq(0..10));
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
