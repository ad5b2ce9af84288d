//! Who sleeps, who searches, and whom to wake.
//!
//! A worker is in one of three conditions:
//! - **busy**: it runs a task;
//! - **searching**: it looks for a task, or was told to; counted in `searching`;
//! - **asleep**, or about to be: its bit in `asleep` is set.
//!
//! ```text
//!          nothing found                 still nothing               woken: bit taken,
//!  busy ─────────────────▶ searching ───────────────────▶ asleep ───── counted by the waker ──▶ searching
//!    ▲                        │  ▲        set bit, then uncount              │
//!    └──── found: uncount ────┘  └────── looked again, found: take own bit ──┘
//! ```
//!
//! **Submitters** call [`Sleepers::notify`] after they pushed. When as many workers search as tasks wait, nothing is to
//! be done: a searcher will find the task. Otherwise one sleeper is woken; taking its bit makes the wake exactly one, and
//! it counts as searching from that moment, so that the next submitter need not wake a second one for the same task.
//!
//! **No wake is lost.**
//! - A worker sets its bit, uncounts itself, and only then looks at the lanes a last time. A submitter pushes, and only
//!   then reads `searching` and `asleep`. Each has a fence in between, and one of the two fences comes first: either the
//!   worker's last look finds the push, or the submitter's reading finds the bit. What the lanes use inside does not
//!   matter to that.
//! - A submitter that leaves the task to a searcher is right even when that searcher finds another task first: the
//!   searcher uncounts itself, and then, if anything still waits, notifies in its turn. One wake leads to the next.
//!   These two steps are SeqCst, the count of what waits included.
//!
//! **Errors are on the side of waking.** A waker takes the bit first and counts afterwards. In between, the one whom it
//! wakes may find a task and uncount itself, so `searching` may be lower than what is true, below zero even, and a
//! submitter then wakes one more than it had to. It is never higher: that would leave a task to nobody.
//!
//! **Which sleeper.** The waker says on which [`Side`]: on another core while it goes on using its own, be it for the work
//! that it keeps or to look out for the outcome of what it gave away; on its own core when it is about to sleep itself,
//! which spares both the interrupt of a core that has fallen asleep. Where nobody sleeps on that side, any other will do.
//!
//! **Cost.** Without sleepers `notify` is a fence and two loads.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crossbeam::utils::CachePadded;

use crate::platform::{
    affinity::{Core, current_core},
    atomic::{AtomicIsize, AtomicU64, fence},
    park::ParkingSpot,
    stage::{self, reached},
};

/// Where the worker is to be that is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// On the waker's core.
    Here,
    /// On another core.
    Elsewhere,
    /// On whichever.
    Any,
}

const BITS: usize = u64::BITS as usize;

pub(super) struct Sleepers {
    searching: CachePadded<AtomicIsize>,
    /// One bit for each seat.
    asleep: Box<[CachePadded<AtomicU64>]>,
    spots: Box<[CachePadded<ParkingSpot>]>,
    /// The core of each seat, if it has one for itself.
    homes: Box<[Option<Core>]>,
}

impl Sleepers {
    /// Seats on `cores` in turn; none: wherever the platform puts them.
    pub(super) fn new(seats: usize, cores: &[Core]) -> Self {
        let home = |seat: usize| cores.get(seat % cores.len().max(1)).copied();
        Self {
            searching: CachePadded::new(AtomicIsize::new(0)),
            asleep: (0..seats.div_ceil(BITS)).map(|_| CachePadded::new(AtomicU64::new(0))).collect(),
            spots: (0..seats).map(|_| CachePadded::new(ParkingSpot::new())).collect(),
            homes: (0..seats).map(home).collect(),
        }
    }

    /// Something was pushed; `waiting` tells how many tasks nobody has taken, and need not count further than it is told.
    /// True when that woke somebody.
    pub(super) fn notify(&self, side: Side, waiting: impl FnOnce(usize) -> usize) -> bool {
        stage::point();
        // Pairs with the fence in `announce_sleep`.
        fence(SeqCst);
        // Relaxed, here and in `wake_one`: the fence above orders them.
        let searching = self.searching.load(Relaxed);
        stage::point();
        if searching > 0 && searching as usize >= waiting(searching as usize + 1) {
            reached!("sleepers: a task is left to a searcher");
            return false;
        }
        self.wake_one(side)
    }

    /// Wakes a sleeper, if there is one: on that side, if there is one there.
    pub(super) fn wake_one(&self, side: Side) -> bool {
        // Relaxed: as below.
        if self.asleep.iter().all(|bits| bits.load(Relaxed) == 0) {
            return false;
        }
        let suited = match side {
            Side::Any => false,
            Side::Here => self.wake_where(|home| home.is_some() && home == current_core()),
            Side::Elsewhere => self.wake_where(|home| home.is_none() || home != current_core()),
        };
        suited || self.wake_where(|_| true)
    }

    fn wake_where(&self, suits: impl Fn(Option<Core>) -> bool) -> bool {
        for (word, bits) in self.asleep.iter().enumerate() {
            let mut sleeping = bits.load(Relaxed);
            while sleeping != 0 {
                let bit = sleeping & sleeping.wrapping_neg();
                sleeping &= !bit;
                let seat = word * BITS + bit.trailing_zeros() as usize;
                if suits(self.homes[seat]) && self.take_bit(seat) {
                    stage::point();
                    self.searching.fetch_add(1, SeqCst);
                    self.spots[seat].unpark();
                    return true;
                }
            }
        }
        false
    }

    /// Wakes everybody: the pool is closing, or has something to tell.
    pub(super) fn wake_all(&self) {
        for seat in 0..self.spots.len() {
            if self.take_bit(seat) {
                self.searching.fetch_add(1, SeqCst);
                self.spots[seat].unpark();
            }
        }
    }

    /// Whether somebody would come for a task at once: asleep, or searching.
    pub(super) fn anyone_free(&self) -> bool {
        self.searching.load(SeqCst) > 0 || self.anyone_asleep()
    }

    /// Whether somebody sleeps, and could take something at once if it were woken.
    pub(super) fn anyone_asleep(&self) -> bool {
        self.asleep.iter().any(|bits| bits.load(SeqCst) != 0)
    }

    /// A worker that has run out of work begins to search; says how many search now.
    pub(super) fn begin_search(&self) -> isize {
        self.searching.fetch_add(1, SeqCst) + 1
    }

    /// A searcher found a task, and is about to run it; if anything still waits, somebody is to be woken for that. Says
    /// whether anything did.
    pub(super) fn end_search(
        &self,
        anything_waits: impl FnOnce() -> bool,
        waiting: impl FnOnce(usize) -> usize,
    ) -> bool {
        self.searching.fetch_sub(1, SeqCst);
        stage::point();
        let more_waits = anything_waits();
        if more_waits {
            self.notify(Side::Elsewhere, waiting);
        }
        more_waits
    }

    /// A searcher that found nothing sleeps and looks in turns, until it finds something or it is over. It counts as
    /// searching before and after.
    pub(super) fn sleep_until_found<T>(
        &self,
        seat: usize,
        mut look: impl FnMut() -> Option<T>,
        is_over: impl Fn() -> bool,
    ) -> Option<T> {
        loop {
            self.announce_sleep(seat);
            stage::point();
            let found = look();
            if found.is_some() || is_over() {
                self.recall_sleep(seat);
                return found;
            }
            self.sleep(seat);
            if let Some(found) = look() {
                return Some(found);
            }
        }
    }

    /// A searcher found nothing, and is about to sleep. It looks at the lanes once more after this.
    fn announce_sleep(&self, seat: usize) {
        self.asleep[seat / BITS].fetch_or(1 << (seat % BITS), SeqCst);
        stage::point();
        self.searching.fetch_sub(1, SeqCst);
        // Pairs with the fence in `notify`.
        fence(SeqCst);
    }

    /// The last look found something: no sleep. Afterwards the worker counts as searching either way: by its own hand,
    /// or by that of somebody who wanted to wake it (whose wake is kept, and ends the next sleep early).
    fn recall_sleep(&self, seat: usize) {
        if self.take_bit(seat) {
            self.searching.fetch_add(1, SeqCst);
        } else {
            reached!("sleepers: a wake crosses the last look");
        }
    }

    /// Sleeps until somebody took the bit; the worker counts as searching then.
    fn sleep(&self, seat: usize) {
        let asleep = &self.asleep[seat / BITS];
        while asleep.load(SeqCst) & (1 << (seat % BITS)) != 0 {
            self.spots[seat].park();
        }
    }

    fn take_bit(&self, seat: usize) -> bool {
        let bit = 1 << (seat % BITS);
        self.asleep[seat / BITS].fetch_and(!bit, SeqCst) & bit != 0
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
