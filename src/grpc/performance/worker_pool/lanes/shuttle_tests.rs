//! Room, lane and sleepers together, as the way of a task has them, with more threads than loom can hold. Who is forgotten
//! is a deadlock, which shuttle reports.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use shuttle::{future::block_on, thread};

use super::lane::Lane;
use crate::{
    grpc::performance::{
        config::OptimizationConfig,
        worker_pool::{
            priority::Priority,
            room::Room,
            sleepers::{Side, Sleepers},
        },
    },
    platform::atomic::{AtomicU32, AtomicUsize, random_runs},
};

const SUBMITTERS: usize = 3;
const EACH: usize = 2;
const WORKERS: usize = 3;
/// Fewer than there are submitters, so that some wait.
const PLACES: usize = 2;

struct Pool {
    room: Arc<Room>,
    sleepers: Arc<Sleepers>,
    lane: Lane<usize>,
    taken: AtomicUsize,
    times: Box<[AtomicU32]>,
}

impl Pool {
    fn new() -> Arc<Self> {
        let config = OptimizationConfig {
            worker_count: WORKERS,
            worker_queue_capacity: PLACES,
            backpressure_threshold: 1.0,
            ..OptimizationConfig::default()
        };
        let sleepers = Arc::new(Sleepers::new(WORKERS, &[]));
        let told = Arc::clone(&sleepers);
        Arc::new(Self {
            room: Arc::new(Room::new(&config, move || told.wake_all())),
            sleepers,
            // Cells are lent only: what finds a thread's own cannot tell shuttle's apart.
            lane: Lane::new(PLACES, 0, 4),
            taken: AtomicUsize::new(0),
            times: (0..SUBMITTERS * EACH).map(|_| AtomicU32::new(0)).collect(),
        })
    }

    fn submit(&self, task: usize) {
        block_on(self.room.wait(Priority::Normal, 1)).expect("the room is open");
        assert!(self.room.places_held() <= PLACES, "more than there is room for");
        self.lane.push(task);
        self.sleepers.notify(Side::Elsewhere, |most| self.lane.len_up_to(most));
    }

    fn is_over(&self) -> bool {
        self.taken.load(SeqCst) == SUBMITTERS * EACH
    }

    /// A worker's life, without the spinning.
    fn work(&self, seat: usize) {
        while let Some(task) = self.lane.pop().or_else(|| self.search(seat)) {
            self.times[task].fetch_add(1, SeqCst);
            self.room.release(1, 1);
            if self.taken.fetch_add(1, SeqCst) + 1 == SUBMITTERS * EACH {
                self.sleepers.wake_all();
            }
        }
    }

    fn search(&self, seat: usize) -> Option<usize> {
        self.sleepers.begin_search();
        let found = self.lane.pop();
        let found =
            found.or_else(|| self.sleepers.sleep_until_found(seat, || self.lane.pop(), || self.is_over()));
        self.sleepers.end_search(|| !self.lane.is_empty(), |most| self.lane.len_up_to(most));
        found
    }
}

#[test]
fn every_task_is_taken_once_and_nobody_sleeps_or_waits_for_ever() {
    random_runs(|| {
        let pool = Pool::new();
        let spawn = |work: fn(&Pool, usize), which| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || work(&pool, which))
        };
        let submit: fn(&Pool, usize) = |pool, which| (0..EACH).for_each(|n| pool.submit(which * EACH + n));
        let submitters = (0..SUBMITTERS).map(|which| spawn(submit, which));
        let threads: Vec<_> = submitters.chain((0..WORKERS).map(|seat| spawn(Pool::work, seat))).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        assert!(pool.times.iter().all(|times| times.load(SeqCst) == 1));
        assert_eq!((pool.room.places_held(), pool.room.bytes_held()), (0, 0));
    });
}

#[test]
fn of_many_who_push_and_pop_each_value_comes_once_and_in_the_order_of_its_thread() {
    const PUSHERS: u32 = 3;
    const VALUES: u32 = 3;
    random_runs(|| {
        let lane = Arc::new(Lane::new((PUSHERS * VALUES) as usize, 0, 2));
        let pushing: Vec<_> = (0..PUSHERS)
            .map(|thread| {
                let lane = Arc::clone(&lane);
                thread::spawn(move || (0..VALUES).for_each(|n| lane.push((thread, n))))
            })
            .collect();
        let popping: Vec<_> = (0..2)
            .map(|_| {
                let lane = Arc::clone(&lane);
                thread::spawn(move || {
                    let popped: Vec<_> = (0..4).filter_map(|_| lane.pop()).collect();
                    for thread in 0..PUSHERS {
                        assert!(popped.iter().filter(|(from, _)| *from == thread).is_sorted(), "{popped:?}");
                    }
                    popped
                })
            })
            .collect();
        pushing.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        let mut popped: Vec<_> =
            popping.into_iter().flat_map(|thread| thread.join().expect("no thread panics")).collect();
        popped.extend(std::iter::from_fn(|| lane.pop()));
        popped.sort_unstable();
        let all = (0..PUSHERS).flat_map(|thread| (0..VALUES).map(move |n| (thread, n)));
        assert_eq!(popped, all.collect::<Vec<_>>());
    });
}
