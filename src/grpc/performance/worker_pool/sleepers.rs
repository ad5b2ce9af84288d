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
//! **No wake is lost.** All of this is SeqCst, so there is one order of events.
//! - A worker sets its bit, uncounts itself, and only then looks at the lanes a last time. A submitter pushes, and only
//!   then reads `searching` and `asleep`. Either the worker's last look comes after the push and finds it, or the
//!   submitter's reading comes after the bit was set and finds that.
//! - A submitter that leaves the task to a searcher is right even when that searcher finds another task first: the
//!   searcher uncounts itself, and then, if anything still waits, notifies in its turn. One wake leads to the next.
//!
//! **Cost.** Without sleepers `notify` is a fence and two loads.

use std::sync::atomic::Ordering::SeqCst;

use crossbeam::utils::CachePadded;

use crate::platform::{
    atomic::{AtomicU64, AtomicUsize, fence},
    park::ParkingSpot,
};

const BITS: usize = u64::BITS as usize;

pub(super) struct Sleepers {
    searching: CachePadded<AtomicUsize>,
    /// One bit for each seat.
    asleep: Box<[CachePadded<AtomicU64>]>,
    spots: Box<[CachePadded<ParkingSpot>]>,
}

impl Sleepers {
    pub(super) fn new(seats: usize) -> Self {
        Self {
            searching: CachePadded::new(AtomicUsize::new(0)),
            asleep: (0..seats.div_ceil(BITS)).map(|_| CachePadded::new(AtomicU64::new(0))).collect(),
            spots: (0..seats).map(|_| CachePadded::new(ParkingSpot::new())).collect(),
        }
    }

    /// Something was pushed; `waiting` tells how many tasks nobody has taken.
    pub(super) fn notify(&self, waiting: impl FnOnce() -> usize) {
        fence(SeqCst);
        let searching = self.searching.load(SeqCst);
        if searching > 0 && searching >= waiting() {
            return;
        }
        self.wake_one();
    }

    /// Wakes a sleeper, if there is one.
    fn wake_one(&self) {
        for (word, bits) in self.asleep.iter().enumerate() {
            let mut sleeping = bits.load(SeqCst);
            while sleeping != 0 {
                let bit = sleeping & sleeping.wrapping_neg();
                sleeping = bits.fetch_and(!bit, SeqCst);
                if sleeping & bit != 0 {
                    self.searching.fetch_add(1, SeqCst);
                    self.spots[word * BITS + bit.trailing_zeros() as usize].unpark();
                    return;
                }
            }
        }
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
    pub(super) fn begin_search(&self) -> usize {
        self.searching.fetch_add(1, SeqCst) + 1
    }

    /// A searcher found a task, and is about to run it; if anything still waits, somebody is to be woken for that.
    pub(super) fn end_search(&self, waiting: impl Fn() -> usize) {
        self.searching.fetch_sub(1, SeqCst);
        if waiting() > 0 {
            self.notify(waiting);
        }
    }

    /// A searcher found nothing, and is about to sleep. It looks at the lanes once more after this.
    pub(super) fn announce_sleep(&self, seat: usize) {
        self.asleep[seat / BITS].fetch_or(1 << (seat % BITS), SeqCst);
        self.searching.fetch_sub(1, SeqCst);
    }

    /// The last look found something: no sleep. Afterwards the worker counts as searching either way: by its own hand,
    /// or by that of somebody who wanted to wake it (whose wake is kept, and ends the next sleep early).
    pub(super) fn recall_sleep(&self, seat: usize) {
        if self.take_bit(seat) {
            self.searching.fetch_add(1, SeqCst);
        }
    }

    /// Sleeps until somebody took the bit; the worker counts as searching then.
    pub(super) fn sleep(&self, seat: usize) {
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
