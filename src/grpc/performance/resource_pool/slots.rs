//! A bounded shelf of boxed values on which no thread ever waits for another.
//!
//! Each slot has a number, and a number is at any time in exactly one of three places: on the stack of full slots, on
//! the stack of vacant ones, or in the hands of one thread that moves a value in or out:
//! ```text
//!          take: pop                    put: pop
//!  full ───────────▶ a taker's    vacant ───────────▶ a giver's
//!   ▲                  │ push        ▲                  │ push
//!   │                  └─────────────┼▶ vacant          │
//!   └────────────────────────────────┼──────────────────┘
//! ```
//! Both are Treiber stacks of numbers over one array of links, with a count of changes beside the top that keeps a
//! number which went and came back from looking as if it had stayed (ABA). The array lives as long as the slots, so
//! there is nothing to reclaim.
//!
//! **No stall spreads.** A thread that is stopped anywhere in here has at most one number in its hands, and others
//! work on with the rest: a failed exchange means that somebody else got on. That is why this is not a ring buffer
//! of the usual kind (`crossbeam::queue::ArrayQueue` among them): there a writer that is stopped between claiming a
//! place and filling it makes every reader that comes to that place spin until the writer runs again.
//!
//! **Bounded.** There are as many numbers as slots, so no more than that many values are kept. While a taker has a
//! number in its hands the shelf looks one slot smaller to a giver; the giver then keeps its value.
//!
//! **Last in, first out**: what comes off the shelf was used last, and is still in the caches.

use std::{
    iter,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed},
};

use crossbeam::utils::{Backoff, CachePadded};

use super::berth::Berth;
use crate::platform::atomic::{AtomicU32, AtomicU64};
use crate::platform::contain::drop_contained;

/// The number of a slot, in [`Top`] and in the links.
const NUMBER_BITS: u32 = 24;
/// Below the last slot there is nothing.
const NOTHING: u32 = (1 << NUMBER_BITS) - 1;

/// The top of a stack: a slot's number in the low 24 bits, and above it a count of changes. The count comes round
/// after 2^40 of them: hours of nothing else, while one thread is stopped between a load and an exchange.
#[derive(Clone, Copy)]
struct Top(u64);

impl Top {
    const EMPTY: Self = Self(NOTHING as u64);

    fn number(self) -> Option<u32> {
        let number = (self.0 & u64::from(NOTHING)) as u32;
        (number != NOTHING).then_some(number)
    }

    /// The next top, with `number` (or [`NOTHING`]) on it.
    fn followed_by(self, number: u32) -> Self {
        let changes = (self.0 >> NUMBER_BITS).wrapping_add(1);
        Self(changes << NUMBER_BITS | u64::from(number))
    }
}

/// A stack of slot numbers. Which number lies under which is in the links, which all stacks share.
struct Stack(CachePadded<AtomicU64>);

impl Stack {
    fn empty() -> Self {
        Self(CachePadded::new(AtomicU64::new(Top::EMPTY.0)))
    }

    /// Puts down a number that the caller has in its hands.
    fn push(&self, number: u32, links: &[AtomicU32]) {
        let backoff = Backoff::new();
        // Relaxed, here and on failure: a stale top only makes the exchange fail, and what lies below is not looked at.
        let mut top = Top(self.0.load(Relaxed));
        loop {
            // Relaxed: published by the exchange, and read by others only after they have seen it.
            links[number as usize].store(top.number().unwrap_or(NOTHING), Relaxed);
            // AcqRel: releases the link, and what is in the slot, to the pop that takes this number; acquires what was
            // on top, so that a pop that sees this one sees all the links below.
            match self.0.compare_exchange_weak(top.0, top.followed_by(number).0, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => top = Top(now),
            }
            backoff.spin();
        }
    }

    /// Takes a number into the caller's hands.
    fn pop(&self, links: &[AtomicU32]) -> Option<u32> {
        let backoff = Backoff::new();
        // Acquire, here and on failure: pairs with the push that put this number down; exchanges in between keep its
        // release sequence going.
        let mut top = Top(self.0.load(Acquire));
        loop {
            let number = top.number()?;
            // Relaxed: if the number has been taken meanwhile this is stale, but then the exchange fails.
            let below = links[number as usize].load(Relaxed);
            // AcqRel: Acquire as above; Release passes on to the next pop the links that this one saw.
            match self.0.compare_exchange_weak(top.0, top.followed_by(below).0, AcqRel, Acquire) {
                Ok(_) => return Some(number),
                Err(now) => top = Top(now),
            }
            backoff.spin();
        }
    }
}

/// The shelf. See the module for the protocol.
pub(super) struct Slots<T> {
    full: Stack,
    vacant: Stack,
    links: Box<[AtomicU32]>,
    values: Box<[Berth<T>]>,
}

impl<T> Slots<T> {
    /// Room for `capacity` values.
    ///
    /// # Panics
    /// When `capacity` is 2^24 - 1 or more.
    pub(super) fn new(capacity: usize) -> Self {
        assert!(capacity < NOTHING as usize, "a pool keeps at most {} values, not {capacity}", NOTHING - 1);
        let slots = Self {
            full: Stack::empty(),
            vacant: Stack::empty(),
            links: iter::repeat_with(|| AtomicU32::new(NOTHING)).take(capacity).collect(),
            values: iter::repeat_with(|| Berth::new(None)).take(capacity).collect(),
        };
        for number in (0..capacity as u32).rev() {
            slots.vacant.push(number, &slots.links);
        }
        slots
    }

    /// The value that was put here last.
    pub(super) fn take(&self) -> Option<Box<T>> {
        let number = self.full.pop(&self.links)?;
        let value = self.values[number as usize]
            .take()
            .expect("a full slot was filled before its number was put down");
        self.vacant.push(number, &self.links);
        Some(value)
    }

    /// Takes a slot out of use for good: a vacant one, or if there is none a full one with its value. `None`: every slot
    /// is in somebody's hands.
    pub(super) fn retire(&self) -> Option<Option<Box<T>>> {
        if self.vacant.pop(&self.links).is_some() {
            return Some(None);
        }
        let number = self.full.pop(&self.links)?;
        Some(self.values[number as usize].take())
    }

    /// Keeps `value`.
    ///
    /// # Errors
    /// The value, when there is no room.
    pub(super) fn put(&self, value: Box<T>) -> Result<(), Box<T>> {
        let Some(number) = self.vacant.pop(&self.links) else {
            return Err(value);
        };
        // Nobody else puts anything there: the number is in this call's hands.
        let put = self.values[number as usize].leave(value);
        assert!(put.is_ok(), "a vacant slot was emptied before its number was put down");
        self.full.push(number, &self.links);
        Ok(())
    }
}

/// Each value is dropped by itself: one whose destructor panics does not keep the others from it.
impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        while let Some(value) = self.take() {
            if let Err(panic) = drop_contained(value) {
                tracing::warn!(%panic, "a pooled instance panicked while it was dropped");
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_last_is_taken_first_and_no_more_is_kept_than_there_is_room_for() {
        let slots = Slots::new(2);
        assert_eq!(slots.take(), None);
        assert_eq!(slots.put(Box::new(1)), Ok(()));
        assert_eq!(slots.put(Box::new(2)), Ok(()));
        assert_eq!(slots.put(Box::new(3)), Err(Box::new(3)));
        assert_eq!(slots.take(), Some(Box::new(2)));
        assert_eq!(slots.take(), Some(Box::new(1)));
        assert_eq!(slots.take(), None);
    }

    #[test]
    fn a_shelf_without_room_gives_everything_back() {
        let slots = Slots::new(0);
        assert_eq!(slots.put(Box::new(1)), Err(Box::new(1)));
        assert_eq!(slots.take(), None);
    }

    #[test]
    fn a_slot_that_is_retired_is_a_vacant_one_or_hands_its_value_out() {
        let slots = Slots::new(2);
        slots.put(Box::new(1)).unwrap();
        assert_eq!(slots.retire(), Some(None));
        assert_eq!(slots.put(Box::new(2)), Err(Box::new(2)));
        assert_eq!(slots.retire(), Some(Some(Box::new(1))));
        assert_eq!((slots.retire(), slots.take()), (None, None));
    }

    #[test]
    fn a_taker_and_a_giver_that_stop_halfway_hold_one_slot_each_and_nobody_else_up() {
        let slots = Slots::new(3);
        slots.put(Box::new(1)).unwrap();
        // One thread stopped with a full slot in its hands, one with a vacant slot.
        let taker = slots.full.pop(&slots.links).unwrap();
        let giver = slots.vacant.pop(&slots.links).unwrap();
        for value in 0..100 {
            slots.put(Box::new(value)).unwrap();
            assert_eq!(slots.put(Box::new(value)), Err(Box::new(value)));
            assert_eq!(slots.take(), Some(Box::new(value)));
            assert_eq!(slots.take(), None);
        }
        // They go on.
        assert_eq!(slots.values[taker as usize].take(), Some(Box::new(1)));
        slots.vacant.push(taker, &slots.links);
        slots.values[giver as usize].leave(Box::new(2)).unwrap();
        slots.full.push(giver, &slots.links);
        assert_eq!(slots.take(), Some(Box::new(2)));
    }

    #[test]
    fn a_number_that_went_and_came_back_does_not_look_as_if_it_had_stayed() {
        let slots = Slots::new(2);
        slots.put(Box::new(1)).unwrap();
        slots.put(Box::new(2)).unwrap();
        let before = Top(slots.full.0.load(Acquire));
        let number = slots.full.pop(&slots.links).unwrap();
        slots.full.push(number, &slots.links);
        let after = Top(slots.full.0.load(Acquire));
        assert_eq!(before.number(), after.number());
        assert_ne!(before.0, after.0);
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests {
    use loom::{sync::Arc, thread};

    use super::*;

    /// The stacks and links of two slots, and who holds which number.
    struct Numbers {
        full: Stack,
        vacant: Stack,
        links: Box<[AtomicU32]>,
        held: [AtomicU32; 2],
    }

    impl Numbers {
        fn new() -> Self {
            let numbers = Self {
                full: Stack::empty(),
                vacant: Stack::empty(),
                links: iter::repeat_with(|| AtomicU32::new(NOTHING)).take(2).collect(),
                held: [AtomicU32::new(0), AtomicU32::new(0)],
            };
            numbers.full.push(0, &numbers.links);
            numbers.full.push(1, &numbers.links);
            numbers
        }

        /// Moves a number from one stack to the other, and checks that nobody else has it meanwhile.
        fn shift(&self, from: &Stack, to: &Stack) -> bool {
            let Some(number) = from.pop(&self.links) else {
                return false;
            };
            assert_eq!(self.held[number as usize].swap(1, AcqRel), 0, "{number} was handed out twice");
            assert_eq!(self.held[number as usize].swap(0, AcqRel), 1);
            to.push(number, &self.links);
            true
        }
    }

    #[test]
    fn a_number_is_in_one_pair_of_hands_at_a_time_and_none_is_lost() {
        loom::model(|| {
            let numbers = Arc::new(Numbers::new());
            let other = {
                let numbers = Arc::clone(&numbers);
                thread::spawn(move || {
                    numbers.shift(&numbers.full, &numbers.vacant);
                    numbers.shift(&numbers.vacant, &numbers.full);
                })
            };
            numbers.shift(&numbers.full, &numbers.vacant);
            numbers.shift(&numbers.vacant, &numbers.full);
            other.join().unwrap();
            let left = iter::from_fn(|| numbers.full.pop(&numbers.links)).count()
                + iter::from_fn(|| numbers.vacant.pop(&numbers.links)).count();
            assert_eq!(left, 2);
        });
    }
}
