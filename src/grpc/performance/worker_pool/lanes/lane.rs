//! One bounded queue, first in first out, for many on both sides, in which nobody waits for a thread that was stopped.
//!
//! What is queued lies in a cell; the numbers of the cells go round two [`Ring`]s, one of free cells, one of filled ones.
//! Whoever holds a number holds its cell, so a cell is one owner's at a time. A thread that is stopped between two rings
//! keeps one cell from circulation, and nothing else: cells beyond the bound, the slack, make up for that.

use super::{
    super::handoff::Handoff,
    ring::{MOST, Ring},
};
use crate::platform::stage;

pub(crate) struct Lane<T> {
    free: Ring,
    filled: Ring,
    cells: Box<[Handoff<T>]>,
}

impl<T> Lane<T> {
    /// Room for at least `capacity`, while no more than `slack` threads stand still holding a cell; who pushes sees to it
    /// that there is never more.
    pub(crate) fn new(capacity: usize, slack: usize) -> Self {
        let cells = (capacity + slack).next_power_of_two().min(MOST);
        Self {
            free: Ring::full(cells),
            filled: Ring::empty(cells),
            cells: (0..cells).map(|_| Handoff::empty()).collect(),
        }
    }

    pub(super) fn push(&self, value: T) {
        let mut value = value;
        while let Err(back) = self.try_push(value) {
            // More threads than there is slack for were stopped just between their rings; one will go on.
            stage::give_way();
            value = back;
        }
    }

    /// As [`push`](Self::push), and gives the value back if every cell is in use.
    pub(crate) fn try_push(&self, value: T) -> Result<(), T> {
        let Some(cell) = self.free.take() else {
            return Err(value);
        };
        self.cells[cell].put(value);
        stage::point();
        self.filled.put(cell);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        let cell = self.filled.take()?;
        stage::point();
        let value = self.cells[cell].take();
        self.free.put(cell);
        Some(value.expect("a filled cell holds a value, which is its taker's"))
    }

    /// Values in the lane: never fewer than there are, and more only while others push and pop.
    pub(crate) fn len(&self) -> usize {
        self.filled.len()
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
        thread,
    };

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_many_times_around() {
        let lane = Lane::new(1, 1);
        for round in 0..10_000 {
            assert_eq!(lane.pop(), None);
            lane.push(round);
            lane.push(round + 1);
            assert_eq!(lane.len(), 2);
            assert_eq!((lane.pop(), lane.pop()), (Some(round), Some(round + 1)));
        }
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_deque(steps in prop::collection::vec(prop::option::of(0..1000_u32), 0..2000)) {
            let (lane, mut model) = (Lane::new(100, 28), VecDeque::new());
            for step in steps {
                match step {
                    Some(value) if model.len() < 100 => {
                        lane.push(value);
                        model.push_back(value);
                    }
                    _ => prop_assert_eq!(lane.pop(), model.pop_front()),
                }
                prop_assert_eq!(lane.len(), model.len());
            }
        }
    }

    #[test]
    fn many_threads_lose_nothing_and_see_each_producer_in_order() {
        const PRODUCERS: usize = 4;
        const EACH: usize = 50_000;
        let lane = Arc::new(Lane::new(64, 64));
        let (held, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let producers = (0..PRODUCERS).map(|producer| {
            let (lane, held) = (Arc::clone(&lane), Arc::clone(&held));
            thread::spawn(move || {
                for n in 0..EACH {
                    while held.fetch_update(SeqCst, SeqCst, |held| (held < 64).then_some(held + 1)).is_err() {
                        thread::yield_now();
                    }
                    lane.push((producer, n));
                }
                Vec::new()
            })
        });
        let consumers = (0..4).map(|_| {
            let (lane, held, taken) = (Arc::clone(&lane), Arc::clone(&held), Arc::clone(&taken));
            thread::spawn(move || {
                let mut seen = Vec::new();
                while taken.load(SeqCst) < PRODUCERS * EACH {
                    if let Some(value) = lane.pop() {
                        held.fetch_sub(1, SeqCst);
                        taken.fetch_add(1, SeqCst);
                        seen.push(value);
                    } else {
                        thread::yield_now();
                    }
                }
                seen
            })
        });
        let threads: Vec<_> = producers.chain(consumers).collect();
        let seen: Vec<Vec<(usize, usize)>> =
            threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        for consumer in &seen {
            for producer in 0..PRODUCERS {
                assert!(consumer.iter().filter(|value| value.0 == producer).is_sorted(), "out of order");
            }
        }
        let mut all: Vec<_> = seen.into_iter().flatten().collect();
        all.sort_unstable();
        let expected: Vec<_> = (0..PRODUCERS).flat_map(|p| (0..EACH).map(move |n| (p, n))).collect();
        assert_eq!(all, expected);
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests {
    use loom::{sync::Arc, thread};

    use super::*;

    #[test]
    fn two_takers_and_a_putter_lose_nothing_and_nothing_comes_twice() {
        loom::model(|| {
            let ring = Arc::new(Ring::empty(2));
            ring.put(0);
            let putter = {
                let ring = Arc::clone(&ring);
                thread::spawn(move || ring.put(1))
            };
            let taker = {
                let ring = Arc::clone(&ring);
                thread::spawn(move || ring.take())
            };
            let mut taken: Vec<_> = ring.take().into_iter().collect();
            putter.join().unwrap();
            taken.extend(taker.join().unwrap());
            while let Some(number) = ring.take() {
                taken.push(number);
            }
            taken.sort_unstable();
            assert_eq!(taken, [0, 1]);
        });
    }
}
