//! The idle instances of a pool: one at the desk of each thread, the others on a shelf that all share.
//!
//! ```text
//!  take: own desk ─▶ shelf ─▶ the desks of others        put: own desk ─▶ shelf ─▶ the desks of others
//! ```
//! A thread that works with one instance at a time pays for one exchange on a cache line of its own each way, and for no
//! lock and no line that others write. What is idle is in reach of every thread, wherever it lies.
//!
//! **Bounded.** An instance at a desk stands for a slot of the [`Slots`] behind that was taken out of use for good when
//! the desk was set up; so there is room for as many as there are slots, in all. Half of the slots stay on the shelf;
//! threads that come when the other half is given away have a desk without a berth.
//!
//! **No stall spreads.** A thread that is stopped in here holds one instance, and one slot, at most. A desk belongs to
//! one thread, but any other may empty or fill its berth, in one exchange.
//!
//! **Nothing is kept by a pool that is closed.** Every instance holds its pool, idle or not, since that is cheaper than to
//! count references with each checkout; so one that stayed idle for ever would keep the pool for ever. Who closes sets
//! `closed`, closes each berth, and takes everything out. A berth that is closed lets nothing in. Who puts on the shelf, or
//! sets up a desk, looks at `closed` afterwards, and does likewise. Between the write and the look of each lies a SeqCst
//! fence, so of two that come together one sees the other.
//!
//! **Figures.** What a thread does it counts at its desk, where it alone writes (see [`stats`](super::stats)). The desk
//! goes to a thread that starts later, with its figures. A thread that is about to end may have lost its desk already: it
//! works at the shelf, and counts with the other strays.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use crossbeam::utils::CachePadded;
use thread_local::ThreadLocal;

use super::{
    berth::Berth,
    slots::Slots,
    stats::{Counters, Event, PoolStats, Writers},
};
use crate::platform::{
    atomic::{AtomicBool, AtomicUsize, fence},
    contain::{contain, drop_logged},
};

/// What lies at the desks, and knows the way back to them.
pub(super) trait Homing: Send + Sized {
    /// Who owns the desks.
    type Home;

    fn home(&self) -> &Arc<Self::Home>;
    fn desks(home: &Self::Home) -> &Desks<Self>;
}

struct Desk<T: Send> {
    /// `None`: the slots for berths were given away.
    berth: Option<Berth<T>>,
    counters: Counters,
}

/// See the module for the protocol.
pub(super) struct Desks<T: Send> {
    /// Boxed, for `thread_local` makes room for many at a time; padded, for two threads write two neighbours.
    desks: ThreadLocal<Box<CachePadded<Desk<T>>>>,
    shelf: Slots<T>,
    /// Slots that desks may still take for their berths.
    berths: AtomicUsize,
    strays: Counters,
    closed: AtomicBool,
}

impl<T: Homing> Desks<T> {
    /// Room for `capacity` instances, below 2^24 - 1.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            desks: ThreadLocal::new(),
            shelf: Slots::new(capacity),
            berths: AtomicUsize::new(capacity / 2),
            strays: Counters::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// An instance that is made ahead. False: there is no room.
    pub(super) fn stock(&self, instance: Box<T>) -> bool {
        self.shelf.put(instance).is_ok()
    }

    /// An idle instance, the one that this thread put down last if it can be had, and counts the hit.
    #[inline]
    pub(super) fn take(&self) -> Option<Box<T>> {
        if let Some(desk) = self.desks.get()
            && let Some(instance) = desk.berth.as_ref().and_then(Berth::take)
        {
            desk.counters.count(Event::Hit, Writers::One);
            return Some(instance);
        }
        self.take_slowly()
    }

    #[cold]
    #[inline(never)]
    fn take_slowly(&self) -> Option<Box<T>> {
        let desk = self.desk();
        // Once more: a desk that was set up just now may have got one.
        let mut own = desk.and_then(|desk| desk.berth.as_ref()?.take());
        own = own.or_else(|| self.shelf.take());
        let instance = own.or_else(|| self.desks.iter().find_map(|desk| desk.berth.as_ref()?.take()))?;
        self.count_at(desk, Event::Hit);
        Some(instance)
    }

    fn put_elsewhere(&self, instance: Box<T>) -> Result<(), Box<T>> {
        let kept = self.shelf.put(instance).or_else(|instance| self.put_at_another(instance));
        // Pairs with the one of `close`, see the module.
        fence(SeqCst);
        self.clear_if_closed();
        kept
    }

    fn put_at_another(&self, instance: Box<T>) -> Result<(), Box<T>> {
        let mut instance = instance;
        let berths = self.desks.iter().filter_map(|desk| desk.berth.as_ref());
        for berth in berths.filter(|berth| berth.is_free()) {
            match berth.put(instance) {
                Ok(()) => return Ok(()),
                Err(back) => instance = back,
            }
        }
        Err(instance)
    }

    /// Counts what happened to an instance.
    pub(super) fn count(&self, event: Event) {
        self.count_at(self.desk(), event);
    }

    fn count_at(&self, desk: Option<&Desk<T>>, event: Event) {
        match desk {
            Some(desk) => desk.counters.count(event, Writers::One),
            None => self.strays.count(event, Writers::Many),
        }
    }

    fn desk(&self) -> Option<&Desk<T>> {
        match self.desks.get() {
            Some(desk) => Some(desk),
            None => self.set_up(),
        }
    }

    #[cold]
    fn set_up(&self) -> Option<&Desk<T>> {
        // A thread that is about to end may be past the point where it can be told from others; the crate panics then.
        let desk = contain(|| self.desks.get_or(|| Box::new(CachePadded::new(self.new_desk())))).ok()?;
        // Pairs with the one of `close`, see the module.
        fence(SeqCst);
        self.clear_if_closed();
        Some(desk)
    }

    fn new_desk(&self) -> Desk<T> {
        let counters = Counters::default();
        let mut left = self.berths.load(SeqCst);
        while left > 0 {
            match self.berths.compare_exchange(left, left - 1, SeqCst, SeqCst) {
                Ok(_) => return Desk { berth: self.shelf.retire().map(Berth::new), counters },
                Err(now) => left = now,
            }
        }
        Desk { berth: None, counters }
    }

    /// Nobody checks out any more: what is idle goes now, and what comes back goes then.
    pub(super) fn close(&self) {
        self.closed.swap(true, SeqCst);
        fence(SeqCst);
        self.clear_if_closed();
    }

    fn clear_if_closed(&self) {
        if self.closed.load(SeqCst) {
            self.desks.iter().filter_map(|desk| desk.berth.as_ref()?.close()).for_each(drop_logged);
            while let Some(instance) = self.shelf.take() {
                drop_logged(instance);
            }
        }
    }

    /// What has been done so far, by all; see [`PoolStats`].
    pub(super) fn stats(&self, made_ahead: usize, capacity: usize) -> PoolStats {
        let all = || self.desks.iter().map(|desk| &desk.counters).chain([&self.strays]);
        Counters::read(all, made_ahead, capacity)
    }
}

/// Keeps an instance for the next checkout, and counts what becomes of it.
///
/// # Errors
/// The instance, if enough are idle, or the pool is closed.
#[inline]
pub(super) fn put_back<T: Homing>(instance: Box<T>) -> Result<(), Box<T>> {
    let mut counted = false;
    let put = Berth::leave(instance, |instance| {
        // A thread without a desk gets one below.
        let desk = T::desks(instance.home()).desks.get()?;
        let berth = desk.berth.as_ref().filter(|berth| berth.is_free())?;
        // Now, since once it lies there the pool may be gone.
        desk.counters.count(Event::Returned, Writers::One);
        counted = true;
        Some(berth)
    });
    put.or_else(|instance| put_back_slowly(instance, counted))
}

/// With a hold of its own on the pool, which so is there to the end.
#[cold]
#[inline(never)]
fn put_back_slowly<T: Homing>(instance: Box<T>, counted: bool) -> Result<(), Box<T>> {
    let home = Arc::clone(instance.home());
    let desks = T::desks(&home);
    let desk = desks.desk();
    let kept = match desk.and_then(|desk| desk.berth.as_ref()) {
        None => desks.put_elsewhere(instance),
        Some(own) => own.displace(instance).and_then(|older| {
            // The latest is to be at hand, and if one has to go it is the latest, too.
            let moved = older.map_or(Ok(()), |older| desks.put_elsewhere(older));
            moved.or_else(|older| own.displace(older)?.map_or(Ok(()), Err))
        }),
    };
    match (&kept, counted) {
        (Ok(()), true) => {}
        (Ok(()), false) => desks.count_at(desk, Event::Returned),
        (Err(_), counted) => {
            // It was to go to an empty berth that somebody else filled meanwhile. Only a desk counts ahead.
            if let Some(desk) = desk.filter(|_| counted) {
                desk.counters.recount_a_return();
            }
            desks.count_at(desk, Event::Discarded);
        }
    }
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

    #[test]
    fn what_comes_to_a_berth_while_it_is_closed_does_not_stay() {
        loom::model(|| {
            let berth = Arc::new(Berth::new(None));
            let user = {
                let berth = Arc::clone(&berth);
                thread::spawn(move || berth.put(Box::new(1)).is_err())
            };
            let found = berth.close();
            let refused = user.join().unwrap();
            assert!(found.is_some() != refused, "in one place");
            assert!(berth.take().is_none());
        });
    }

    #[test]
    fn a_value_at_a_berth_is_taken_by_one_only() {
        loom::model(|| {
            let berth = Arc::new(Berth::new(Some(Box::new(1))));
            let thief = {
                let berth = Arc::clone(&berth);
                thread::spawn(move || berth.take().is_some())
            };
            let taken = berth.take();
            let stolen = thief.join().unwrap();
            assert!(taken.is_some() != stolen);
        });
    }
}
