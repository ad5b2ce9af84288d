//! Which desk of which pool is this thread's.
//!
//! The way from a pool to the thread's desk is taken twice for each loan, so it is short: [`FRONT`] places are asked by
//! the pool's number alone. Behind them is the list of all desks that the thread has, which also keeps them: the berth that
//! a thread has just filled is there whatever became of the pool. It ends with the thread, and vacates the desks. A thread
//! that is past that point has no desk any more.
//!
//! A desk whose pool is gone is let go of when the thread takes another. Whoever holds a [`Tenant`] while strangers' code
//! runs, which may do that, holds the pool as well.

#![allow(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::desk::{Desk, Tenant};

/// Pools that a thread finds its desks of at once: five data planes have fewer.
const FRONT: usize = 16;

/// From a pool's number to the next one's: as many as a [`Seat`] has bytes, so that a number's lower bits say how far its
/// place is from the first, and nothing has to be reckoned.
const STEP: u64 = size_of::<Seat>() as u64;

/// No two pools of a process have the same, and a pool is for values of one type.
pub(super) struct PoolNumber<T> {
    number: u64,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for PoolNumber<T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for PoolNumber<T> {}

impl<T> PoolNumber<T> {
    pub(super) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        // Relaxed: they only differ. 0 is nobody's.
        Self { number: LAST.fetch_add(STEP, Relaxed) + STEP, of: PhantomData }
    }

    #[inline]
    fn place(self) -> usize {
        place(self.number)
    }
}

#[inline]
fn place(number: u64) -> usize {
    (number / STEP) as usize % FRONT
}

#[derive(Clone, Copy)]
struct Seat {
    pool: u64,
    /// A desk of that pool, whose tenant this thread is; [`SEATS`] keeps it.
    desk: NonNull<()>,
}

impl Seat {
    /// At no pool's desk.
    const NONE: Self = Self { pool: 0, desk: NonNull::dangling() };
}

thread_local! {
    /// Without a destructor, so that it can be asked at any time.
    static SEAT: [Cell<Seat>; FRONT] = const { [const { Cell::new(Seat::NONE) }; FRONT] };
    static SEATS: RefCell<Seats> = const { RefCell::new(Seats(Vec::new())) };
}

/// All that a thread has.
struct Seats(Vec<(u64, Arc<dyn Leave>)>);

/// A desk of whatever it is for.
trait Leave {
    fn leave(&self);
}

impl<T> Leave for Desk<T> {
    fn leave(&self) {
        self.vacate();
    }
}

/// This thread as the tenant of its desk at the pool, if it is known at once that it has one.
#[inline]
pub(super) fn tenant<T>(pool: PoolNumber<T>) -> Option<Tenant<T>> {
    let seat = SEAT.try_with(|seats| seats[pool.place()].get()).ok()?;
    // SAFETY: it is a desk of the pool with this number, and so for `T`. This thread is its tenant, and keeps it, until the
    // place is emptied.
    (seat.pool == pool.number).then(|| unsafe { Tenant::of(seat.desk.cast()) })
}

/// The same, and makes it so: with the desk that `find` finds, which the thread occupies with that. `None`: the thread is
/// about to end.
pub(super) fn take_a_seat<T: 'static>(
    pool: PoolNumber<T>,
    find: impl FnOnce() -> Arc<Desk<T>>,
) -> Option<Tenant<T>> {
    SEATS.try_with(|seats| seats.borrow_mut().sit(pool, find)).ok()?;
    tenant(pool)
}

impl Seats {
    fn sit<T: 'static>(&mut self, pool: PoolNumber<T>, find: impl FnOnce() -> Arc<Desk<T>>) {
        let known = self.0.iter().find(|(number, _)| *number == pool.number);
        let desk = match known {
            Some((_, desk)) => NonNull::from(&**desk).cast(),
            None => {
                self.let_go();
                let desk = find();
                let there = NonNull::from(&*desk).cast();
                self.0.push((pool.number, desk));
                there
            }
        };
        // Never past its end while this list is there.
        SEAT.with(|seats| seats[pool.place()].set(Seat { pool: pool.number, desk }));
    }

    /// Of the desks that nobody else has any more: their pools are gone.
    fn let_go(&mut self) {
        self.0.retain(|(number, desk)| {
            let gone = Arc::strong_count(desk) == 1;
            if gone {
                forget(*number);
            }
            !gone
        });
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        for (number, desk) in &self.0 {
            forget(*number);
            desk.leave();
        }
    }
}

/// Empties the place at which this pool is asked for.
fn forget(number: u64) {
    // Where a thread has no places any more, there is nothing to forget.
    let _ = SEAT.try_with(|seats| {
        let seat = &seats[place(number)];
        if seat.get().pool == number {
            seat.set(Seat::NONE);
        }
    });
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use std::{array, thread};

    use super::*;

    fn desk() -> Arc<Desk<usize>> {
        Arc::new(Desk::new(Some(None)))
    }

    #[test]
    fn a_thread_finds_its_desk_at_each_of_more_pools_than_have_a_place() {
        let pools: [_; 3 * FRONT] = array::from_fn(|_| (PoolNumber::next(), desk()));
        for (n, (number, desk)) in pools.iter().enumerate() {
            assert!(tenant(*number).is_none());
            let tenant = take_a_seat(*number, || Arc::clone(desk)).unwrap();
            assert!(tenant.put(Box::new(n)).is_ok());
        }
        for (n, (number, _)) in pools.iter().enumerate() {
            let tenant = take_a_seat(*number, || unreachable!("the thread has one")).unwrap();
            assert_eq!(tenant.take(), Some(Box::new(n)));
        }
    }

    #[test]
    fn a_thread_lets_go_of_the_desk_of_a_pool_that_is_gone_when_it_takes_another() {
        let (number, gone, there) = (PoolNumber::next(), desk(), desk());
        assert!(take_a_seat(number, || Arc::clone(&gone)).is_some());
        let kept = Arc::downgrade(&gone);
        drop(gone);
        assert!(kept.upgrade().is_some());
        assert!(take_a_seat(PoolNumber::next(), || Arc::clone(&there)).is_some());
        assert!(kept.upgrade().is_none());
        assert!(tenant(number).is_none());
    }

    #[test]
    fn a_desk_is_vacant_once_its_thread_has_ended_and_only_then() {
        let (number, desk) = (PoolNumber::next(), desk());
        thread::scope(|scope| {
            let own = scope.spawn(|| {
                let sat = take_a_seat(number, || Arc::clone(&desk)).is_some();
                sat && !desk.occupy()
            });
            assert!(own.join().unwrap());
        });
        assert!(desk.occupy());
        assert_eq!(Arc::strong_count(&desk), 1);
    }
}
