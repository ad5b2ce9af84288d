//! One bounded queue, first in first out, for many on both sides, in which nobody waits for a thread that was stopped.
//!
//! What is queued lies in a cell; the numbers of the cells go round a [`Ring`]. A number is at any time in one place: in
//! a slot of the ring, with a thread or on loan from the [`Hands`], or in the midst of being exchanged by one thread for
//! another. Whoever has a number has its cell:
//! ```text
//!  push: the value into one's cell, the cell into the ring, a vacant one out of it
//!  pop:  one's cell into the ring, a filled one out of it, the value out of that
//! ```
//! So a push and a pop are one exchange each, on the slot, and everything else is the thread's own. `ArrayQueue` takes its
//! place in the queue first and fills it afterwards; who comes to a place that was taken by a thread which has been stopped
//! waits there. In return its exchange is on a line that only one side writes: with one or two threads at each side it
//! passes half as much again, with more about as much (`cargo bench --bench primitives`). A queue of numbers that waits for
//! nobody beside another one for the free numbers (two rings of Nikolaev's SCQ) takes six exchanges, and passed a quarter.
//!
//! **Who may wait.** Only a thread that has no cell of its own, while as many others as there are cells to lend are
//! stopped in here: [`push`](Lane::push) and [`pop`](Lane::pop) then give up their core and try again.

use super::{
    cells::Cells,
    hands::{Hand, Hands},
    ring::{Exchanged, Refused, Ring},
};
use crate::platform::stage;

/// See the module.
pub(crate) struct Lane<T> {
    ring: Ring,
    cells: Cells<T>,
    hands: Hands,
}

impl<T> Lane<T> {
    /// Room for `capacity` values, rounded up to a power of two; with a cell for each of so many threads, and cells to
    /// lend to others, of which there has to be one at least.
    pub(crate) fn new(capacity: usize, own: usize, loans: usize) -> Self {
        let slots = capacity.max(1).next_power_of_two();
        let cells = slots + own + loans;
        Self { ring: Ring::new(slots, cells), cells: Cells::new(cells), hands: Hands::new(slots, own, loans) }
    }

    pub(super) fn push(&self, value: T) {
        let mut value = value;
        while let Err(back) = self.try_push(value) {
            // Who pushes sees to it that there is room. What is missing is a cell to borrow.
            stage::give_way();
            value = back;
        }
    }

    /// As [`push`](Self::push), and gives the value back if there is no room, or no cell.
    #[inline]
    pub(crate) fn try_push(&self, value: T) -> Result<(), T> {
        match self.hands.mine() {
            Some(hand) if let Some(cell) = hand.cell.get() => {
                let (kept, put) = self.put(cell, value, hand.tail.get());
                hand.cell.set(Some(kept.number));
                hand.tail.set(kept.next);
                put
            }
            hand => self.push_with_a_loan(value, hand),
        }
    }

    fn push_with_a_loan(&self, value: T, hand: Option<&Hand>) -> Result<(), T> {
        let Some((place, cell)) = self.hands.borrow() else {
            return Err(value);
        };
        let begin = hand.map_or_else(|| self.ring.tail(), |hand| hand.tail.get());
        let (kept, put) = self.put(cell, value, begin);
        Hands::give_back(place, kept.number);
        if let Some(hand) = hand {
            hand.tail.set(kept.next);
        }
        put
    }

    /// With a cell that is the caller's; the one that is the caller's afterwards comes back, whatever becomes of the
    /// value.
    #[inline]
    #[allow(unsafe_code)]
    fn put(&self, cell: u32, value: T, begin: u64) -> (Exchanged, Result<(), T>) {
        // SAFETY: the number is the caller's, and so the cell; whoever had it before handed the number on by an exchange
        // in the ring, or a loan's return, after it was done with the cell. A cell that is not in a filled slot is empty.
        unsafe { self.cells.put(cell, value) };
        match self.ring.put(cell, begin) {
            Ok(exchanged) => (exchanged, Ok(())),
            Err(Refused { next }) => {
                // SAFETY: the number did not go into the ring, so the cell is the caller's, and filled just now.
                let value = unsafe { self.cells.take(cell) };
                (Exchanged { number: cell, next }, Err(value))
            }
        }
    }

    /// Takes the value that was queued first.
    #[inline]
    pub(crate) fn pop(&self) -> Option<T> {
        match self.hands.known() {
            Some(hand) if let Some(cell) = hand.cell.get() => {
                let (kept, value) = self.take(cell, hand.head.get());
                hand.cell.set(Some(kept.number));
                hand.head.set(kept.next);
                value
            }
            _ => self.pop_as_a_stranger(),
        }
    }

    /// Who comes for the first time, or has to borrow, looks first whether that pays.
    fn pop_as_a_stranger(&self) -> Option<T> {
        while !self.is_empty() {
            match self.hands.mine() {
                Some(hand) if hand.cell.get().is_some() => return self.pop(),
                _ => {}
            }
            if let Some((place, cell)) = self.hands.borrow() {
                let (kept, value) = self.take(cell, self.ring.head());
                Hands::give_back(place, kept.number);
                return value;
            }
            stage::give_way();
        }
        None
    }

    /// As [`put`](Self::put).
    #[inline]
    #[allow(unsafe_code)]
    fn take(&self, cell: u32, begin: u64) -> (Exchanged, Option<T>) {
        match self.ring.take(cell, begin) {
            Ok(exchanged) => {
                // SAFETY: the exchange took the number out of a filled slot, so the cell is the caller's; who put it there
                // had filled the cell before.
                let value = unsafe { self.cells.take(exchanged.number) };
                (exchanged, Some(value))
            }
            Err(Refused { next }) => (Exchanged { number: cell, next }, None),
        }
    }

    /// Whether there was nothing in the lane, a moment ago. Who pops here looks at one slot.
    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty(self.hands.known().map_or(0, |hand| hand.head.get()))
    }

    /// Values in the lane, counted up to `most`: never fewer than there are, and more only while others push and pop. Who
    /// pushes here looks at hardly more slots than there are values.
    pub(crate) fn len_up_to(&self, most: usize) -> usize {
        self.ring.len_up_to(most, self.hands.known().map_or(0, |hand| hand.tail.get()))
    }

    /// The same, of all.
    pub(crate) fn len(&self) -> usize {
        self.len_up_to(usize::MAX)
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
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
        let lane = Lane::new(2, 1, 1);
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
            let (lane, mut model) = (Lane::new(100, 1, 1), VecDeque::new());
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
    fn it_is_full_when_as_many_lie_there_as_there_is_room_for_wherever_one_was_last() {
        for (capacity, own) in [(1, 0), (1, 1), (2, 1), (8, 0), (8, 1)] {
            let lane = Lane::new(capacity, own, 1);
            for round in 0..300 {
                (0..capacity).for_each(|n| lane.try_push((round, n)).unwrap());
                assert_eq!(lane.try_push((round, capacity)), Err((round, capacity)));
                assert_eq!(lane.len(), capacity);
                let kept = round % capacity;
                assert!((kept..capacity).all(|n| lane.pop() == Some((round, n - kept))));
                assert_eq!(lane.len(), kept);
                while lane.pop().is_some() {}
            }
        }
    }

    #[test]
    fn who_finds_every_cell_lent_gets_its_value_back_and_what_lies_there_goes_with_the_lane() {
        let lane = Lane::new(4, 0, 1);
        let value = Arc::new(());
        let (place, cell) = lane.hands.borrow().unwrap();
        assert!(lane.try_push(Arc::clone(&value)).is_err());
        Hands::give_back(place, cell);
        lane.push(Arc::clone(&value));
        assert_eq!(Arc::strong_count(&value), 2);
        drop(lane);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_thread_that_stands_still_with_a_cell_in_its_hands_holds_up_nobody() {
        let lane = Lane::new(2, 2, 1);
        lane.push(0);
        let stopped = lane.hands.new_hand();
        let cell = stopped.cell.get().unwrap();
        let loan = lane.hands.borrow();
        for round in 0..100 {
            lane.push(round + 1);
            assert_eq!(lane.pop(), Some(round));
        }
        // It goes on, from where it was.
        let (kept, put) = lane.put(cell, 101, stopped.tail.get());
        assert_eq!((put, lane.len()), (Ok(()), 2));
        assert_eq!(lane.take(kept.number, stopped.head.get()).1, Some(100));
        assert_eq!(lane.pop(), Some(101));
        assert!(loan.is_some());
    }

    #[test]
    fn many_threads_lose_nothing_and_see_each_producer_in_order() {
        many_threads(64, 16);
    }

    #[test]
    fn nor_do_many_that_have_to_borrow_their_cells() {
        many_threads(2, 2);
        many_threads(0, 1);
    }

    fn many_threads(own: usize, loans: usize) {
        const PRODUCERS: usize = 4;
        const EACH: usize = 50_000;
        let lane = Arc::new(Lane::new(64, own, loans));
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
mod loom_tests;
