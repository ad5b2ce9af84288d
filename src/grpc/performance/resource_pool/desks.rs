//! The idle instances of a pool: one at the desk of each thread, the others on a shelf that all share.
//!
//! ```text
//!  take: own desk ─▶ shelf ─▶ the desks of others        put: own desk ─▶ shelf ─▶ the desks of others
//! ```
//! A thread that works with one instance at a time pays for a few plain loads and stores each way, and for no lock, no
//! locked instruction, and no cache line that others write. What is idle is in reach of every thread, wherever it lies (see
//! [`desk`](super::desk)); to have it from another's desk takes a system call, so it is looked for there last.
//!
//! **Bounded.** An instance at a desk stands for a slot of the [`Slots`] behind that was taken out of use for good when
//! the desk was set up; so there is room for as many as there are slots, in all. Half of the slots stay on the shelf;
//! threads that come when the other half is given away have a desk without a berth. So have all where the platform has no
//! barriers in pairs (see [`barrier`]).
//!
//! **No stall spreads.** A thread that is stopped in here holds one instance, and one slot, at most. A desk belongs to
//! one thread, but any other may empty or fill its berth.
//!
//! **Nothing is kept by a pool that is closed.** Every instance holds its pool, idle or not, since that is cheaper than to
//! count references with each checkout; so one that stayed idle for ever would keep the pool for ever. Who closes sets
//! `closed`, closes each desk, and takes everything out. What its thread leaves at a desk that is closed it takes back.
//! Who puts elsewhere, or sets up a desk, looks at `closed` afterwards, and does likewise. Between the write and the look
//! of each lies a SeqCst fence, so of two that come together one sees the other.
//!
//! **Figures.** What a thread does it counts at its desk, where it alone writes (see [`stats`](super::stats)). The desk
//! goes to a thread that starts later, with its figures. A thread that is about to end may have lost its desk already: it
//! works at the shelf, and counts with the other strays.

use std::{
    iter,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use once_cell::race::OnceBox;

use super::{
    desk::{Desk, Tenant},
    seats::{PoolNumber, take_a_seat, tenant},
    slots::Slots,
    stats::{Counters, Event, PoolStats, Writers},
};
use crate::platform::{
    atomic::{AtomicBool, AtomicUsize, fence},
    barrier,
    contain::drop_logged,
};

/// What lies at the desks, and knows the way back to them.
pub(super) trait Homing: Send + Sized + 'static {
    /// Who owns the desks.
    type Home;

    fn home(&self) -> &Arc<Self::Home>;
    fn desks(home: &Self::Home) -> &Desks<Self>;
}

/// A desk in the list, which only grows, up to as many as there were threads at a time.
struct Listed<T> {
    /// Its thread has it, too.
    desk: Arc<Desk<T>>,
    next: OnceBox<Listed<T>>,
}

/// See the module for the protocol.
pub(super) struct Desks<T> {
    pool: PoolNumber<T>,
    desks: OnceBox<Listed<T>>,
    shelf: Slots<T>,
    /// Slots that desks may still take for their berths.
    berths: AtomicUsize,
    strays: Counters,
    closed: AtomicBool,
}

impl<T: Homing> Desks<T> {
    /// Room for `capacity` instances, below 2^24 - 1.
    pub(super) fn new(capacity: usize) -> Self {
        let berths = if barrier::is_paired() { capacity / 2 } else { 0 };
        Self {
            pool: PoolNumber::next(),
            desks: OnceBox::new(),
            shelf: Slots::new(capacity),
            berths: AtomicUsize::new(berths),
            strays: Counters::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn pool(&self) -> PoolNumber<T> {
        self.pool
    }

    /// An instance that is made ahead. False: there is no room.
    pub(super) fn stock(&self, instance: Box<T>) -> bool {
        self.shelf.put(instance).is_ok()
    }

    /// An idle instance, the one that this thread put down last if it can be had, and counts the hit. For checkouts only.
    #[inline]
    pub(super) fn take(&self) -> Option<Box<T>> {
        if let Some(own) = tenant(self.pool)
            && let Some(instance) = own.take()
        {
            own.count(Event::Hit);
            return Some(instance);
        }
        self.take_slowly()
    }

    #[cold]
    #[inline(never)]
    fn take_slowly(&self) -> Option<Box<T>> {
        let own = self.own();
        // Once more: a desk that was occupied just now may have one.
        let mut instance = own.as_ref().and_then(Tenant::take);
        instance = instance.or_else(|| self.shelf.take());
        instance = instance.or_else(|| self.desks().find_map(|desk| desk.steal()));
        instance.inspect(|_| self.count_at(own.as_ref(), Event::Hit))
    }

    fn put_elsewhere(&self, instance: Box<T>) -> Result<(), Box<T>> {
        let kept = self.shelf.put(instance).or_else(|instance| {
            self.desks()
                .try_fold(instance, |instance, desk| match desk.lodge(instance) {
                    Ok(()) => Err(()),
                    Err(back) => Ok(back),
                })
                .map_or(Ok(()), Err)
        });
        // Pairs with the one of `close`, see the module.
        fence(SeqCst);
        self.clear_if_closed();
        kept
    }

    /// Counts what happened to an instance.
    pub(super) fn count(&self, event: Event) {
        self.count_at(self.own().as_ref(), event);
    }

    fn count_at(&self, own: Option<&Tenant<T>>, event: Event) {
        match own {
            Some(own) => own.count(event),
            None => self.strays.count(event, Writers::Many),
        }
    }

    /// This thread's desk.
    fn own(&self) -> Option<Tenant<T>> {
        tenant(self.pool).or_else(|| self.set_up())
    }

    #[cold]
    fn set_up(&self) -> Option<Tenant<T>> {
        let own = take_a_seat(self.pool, || {
            let vacant = self.desks().find(|desk| desk.occupy());
            vacant.map_or_else(|| self.one_more(), Arc::clone)
        });
        // Pairs with the one of `close`, see the module.
        fence(SeqCst);
        self.clear_if_closed();
        own
    }

    fn one_more(&self) -> Arc<Desk<T>> {
        let desk = Arc::new(Desk::new(self.slot_for_a_berth()));
        let mut listed = Box::new(Listed { desk: Arc::clone(&desk), next: OnceBox::new() });
        let mut place = &self.desks;
        while let Err(back) = place.set(listed) {
            listed = back;
            place = &place.get().expect("somebody has set it").next;
        }
        desk
    }

    fn slot_for_a_berth(&self) -> Option<Option<Box<T>>> {
        let mut left = self.berths.load(SeqCst);
        while left > 0 {
            match self.berths.compare_exchange(left, left - 1, SeqCst, SeqCst) {
                Ok(_) => return self.shelf.retire(),
                Err(now) => left = now,
            }
        }
        None
    }

    fn desks(&self) -> impl Iterator<Item = &Arc<Desk<T>>> {
        iter::successors(self.desks.get(), |listed| listed.next.get()).map(|listed| &listed.desk)
    }

    /// Nobody checks out any more: what is idle goes now, and what comes back goes then.
    pub(super) fn close(&self) {
        self.closed.swap(true, SeqCst);
        fence(SeqCst);
        self.clear_if_closed();
    }

    fn clear_if_closed(&self) {
        if self.closed.load(SeqCst) {
            self.desks().for_each(|desk| desk.close());
            if self.desks.get().is_some() {
                // For all of them: pairs with the light ones of their tenants, see `desk`.
                barrier::heavy();
            }
            self.desks().filter_map(|desk| desk.clear()).for_each(drop_logged);
            while let Some(instance) = self.shelf.take() {
                drop_logged(instance);
            }
        }
    }

    /// What has been done so far, by all; see [`PoolStats`].
    pub(super) fn stats(&self, made_ahead: usize, capacity: usize) -> PoolStats {
        let all = || self.desks().map(|desk| desk.counters()).chain([&self.strays]);
        Counters::read(all, made_ahead, capacity)
    }
}

/// Keeps an instance for the next checkout, if there is room and its pool is not closed; counts what becomes of it.
///
/// The pool's number is the instance's to know as well; but who asks the instance for it waits for one load after the other
/// before the next checkout can begin.
#[inline]
pub(super) fn put_back<T: Homing>(instance: Box<T>, pool: PoolNumber<T>) {
    let Some(own) = tenant(pool) else {
        return put_back_slowly(instance);
    };
    match own.put(instance) {
        Ok(()) => {
            // Whatever this is the last to drop, nothing looks at the desk afterwards.
            own.count(Event::Returned);
            own.drop_what_is_late();
        }
        Err(instance) => put_back_slowly(instance),
    }
}

/// With a hold of its own on the pool, which so is there to the end.
#[cold]
#[inline(never)]
fn put_back_slowly<T: Homing>(instance: Box<T>) {
    let home = Arc::clone(instance.home());
    let desks = T::desks(&home);
    let own = desks.own();
    let kept = match &own {
        None => desks.put_elsewhere(instance),
        Some(own) => put_back_first(instance, own, desks),
    };
    desks.count_at(own.as_ref(), if kept.is_ok() { Event::Returned } else { Event::Discarded });
    if let Err(surplus) = kept {
        drop_logged(surplus);
    }
}

/// The latest is to be at hand, and if one has to go it is the latest, too.
fn put_back_first<T: Homing>(instance: Box<T>, own: &Tenant<T>, desks: &Desks<T>) -> Result<(), Box<T>> {
    let displaced = own.displace(instance);
    let kept = match displaced {
        Ok(None) => Ok(()),
        Ok(Some(older)) => {
            desks.put_elsewhere(older).or_else(|older| own.displace(older)?.map_or(Ok(()), Err))
        }
        Err(instance) => desks.put_elsewhere(instance),
    };
    own.drop_what_is_late();
    kept
}

#[cfg(all(test, millstream_loom))]
mod loom_tests {
    use loom::thread;

    use super::*;

    struct Idle;

    impl Homing for Idle {
        type Home = Desks<Self>;

        fn home(&self) -> &Arc<Desks<Self>> {
            unreachable!("the models put on the shelf")
        }
        fn desks(home: &Desks<Self>) -> &Desks<Self> {
            home
        }
    }

    #[test]
    fn what_comes_back_while_the_pool_is_closed_does_not_stay() {
        loom::model(|| {
            let desks = Arc::new(Desks::new(2));
            let user = {
                let desks = Arc::clone(&desks);
                thread::spawn(move || assert!(desks.put_elsewhere(Box::new(Idle)).is_ok()))
            };
            desks.close();
            user.join().unwrap();
            assert!(desks.shelf.take().is_none());
        });
    }
}
