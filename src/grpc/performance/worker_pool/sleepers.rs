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
//! **Who cannot tell** whether it is about to sleep says so, too ([`Side::Unsure`]). The worker on its own core is woken
//! then as long as that has proved right lately (`credit`): who is woken there, and does not run within [`SOON`], was kept
//! from the core for longer than another core takes to wake up. Of several messages in a row only the first is such a case.
//!
//! **Cost.** Without sleepers `notify` is a fence and two loads.

use std::{
    sync::atomic::Ordering::{Relaxed, SeqCst},
    time::{Duration, Instant},
};

use crossbeam::utils::CachePadded;

use super::credit::Credit;
use crate::platform::{
    affinity::{Core, current_core},
    atomic::{AtomicIsize, AtomicU64, fence},
    clock,
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
    /// On the waker's core, if it mostly sleeps after such wakes; else on another one.
    Unsure,
    /// On whichever.
    Any,
}

const BITS: usize = u64::BITS as usize;

/// A worker that is woken on the core of a thread which then sleeps runs within some 10 µs; one on a core that is asleep
/// within some 50.
const SOON: Duration = Duration::from_micros(40);

/// Where one worker sleeps.
struct Bed {
    spot: ParkingSpot,
    /// When it was woken by somebody on its core who was unsure, in nanoseconds from the beginning; 0: it was not. Only
    /// the [`Credit`] hangs on it, so a race makes no more than a wrong guess.
    unsurely_woken: AtomicU64,
}

pub(super) struct Sleepers {
    searching: CachePadded<AtomicIsize>,
    /// One bit for each seat.
    asleep: Box<[CachePadded<AtomicU64>]>,
    beds: Box<[CachePadded<Bed>]>,
    /// The core of each seat, if it has one for itself.
    homes: Box<[Option<Core>]>,
    /// What it has won to wake somebody on the core of a waker who was unsure.
    own_core: CachePadded<Credit>,
    beginning: Instant,
}

impl Sleepers {
    /// Seats on `cores` in turn; none: wherever the platform puts them.
    pub(super) fn new(seats: usize, cores: &[Core]) -> Self {
        let home = |seat: usize| cores.get(seat % cores.len().max(1)).copied();
        Self {
            searching: CachePadded::new(AtomicIsize::new(0)),
            asleep: (0..seats.div_ceil(BITS)).map(|_| CachePadded::new(AtomicU64::new(0))).collect(),
            beds: (0..seats).map(|_| CachePadded::new(Bed::new())).collect(),
            homes: (0..seats).map(home).collect(),
            own_core: CachePadded::new(Credit::full()),
            beginning: clock::now(),
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
        // Somebody is on the way already, maybe on this core.
        let side = if side == Side::Unsure && searching > 0 { Side::Elsewhere } else { side };
        self.wake_one(side)
    }

    /// Wakes a sleeper, if there is one: on that side, if there is one there.
    pub(super) fn wake_one(&self, side: Side) -> bool {
        // Relaxed: as below.
        if self.asleep.iter().all(|bits| bits.load(Relaxed) == 0) {
            return false;
        }
        let here = |home: Option<Core>| home.is_some() && home == current_core();
        let suited = match side {
            Side::Any => false,
            Side::Here => self.wake_where(0, here),
            Side::Unsure if self.own_core.allows() => self.wake_where(self.now(), here),
            Side::Unsure | Side::Elsewhere => self.wake_where(0, |home| !here(home)),
        };
        suited || self.wake_where(0, |_| true)
    }

    /// Nanoseconds from the beginning, and never 0.
    fn now(&self) -> u64 {
        (clock::now() - self.beginning).as_nanos() as u64 | 1
    }

    /// Wakes somebody whose core suits, and leaves word of when, if it was by somebody unsure.
    fn wake_where(&self, unsurely: u64, suits: impl Fn(Option<Core>) -> bool) -> bool {
        for (word, bits) in self.asleep.iter().enumerate() {
            let mut sleeping = bits.load(Relaxed);
            while sleeping != 0 {
                let bit = sleeping & sleeping.wrapping_neg();
                sleeping &= !bit;
                let seat = word * BITS + bit.trailing_zeros() as usize;
                if suits(self.homes[seat]) && self.take_bit(seat) {
                    stage::point();
                    self.searching.fetch_add(1, SeqCst);
                    let bed = &self.beds[seat];
                    // Relaxed: see `Bed`; the wake publishes it to who sleeps by then.
                    bed.unsurely_woken.store(unsurely, Relaxed);
                    bed.spot.unpark();
                    return true;
                }
            }
        }
        false
    }

    /// Wakes everybody: the pool is closing, or has something to tell.
    pub(super) fn wake_all(&self) {
        for seat in 0..self.beds.len() {
            if self.take_bit(seat) {
                self.searching.fetch_add(1, SeqCst);
                self.beds[seat].spot.unpark();
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
        let bed = &self.beds[seat];
        while asleep.load(SeqCst) & (1 << (seat % BITS)) != 0 {
            bed.spot.park();
        }
        let woken = bed.unsurely_woken.swap(0, Relaxed);
        if woken > 0 {
            self.own_core.settle(self.now().saturating_sub(woken) <= SOON.as_nanos() as u64);
        }
    }

    fn take_bit(&self, seat: usize) -> bool {
        let bit = 1 << (seat % BITS);
        self.asleep[seat / BITS].fetch_and(!bit, SeqCst) & bit != 0
    }
}

impl Bed {
    fn new() -> Self {
        Self { spot: ParkingSpot::new(), unsurely_woken: AtomicU64::new(0) }
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;
    use crate::platform::affinity::{allowed_cores, pin_current_thread};

    /// Both workers sleep, one of them on this core; somebody unsure wakes one, who runs after a while. Whether it was the
    /// one on this core.
    async fn wakes_its_own_core(sleepers: &Sleepers, after: Duration) -> bool {
        for seat in 0..2 {
            sleepers.begin_search();
            sleepers.announce_sleep(seat);
        }
        assert!(sleepers.notify(Side::Unsure, |_| 1));
        let sleeps = |seat: usize| sleepers.asleep[0].load(SeqCst) & (1 << seat) != 0;
        let woken = usize::from(sleeps(0));
        assert_ne!(sleeps(0), sleeps(1), "one of them was woken");
        tokio::time::advance(after).await;
        sleepers.sleep(woken);
        sleepers.recall_sleep(1 - woken);
        for _ in 0..2 {
            sleepers.end_search(|| false, |_| 0);
        }
        woken == 0
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_unsure_wakes_its_own_core_as_long_as_that_is_soon_free() {
        // With a single core there is no other side.
        let [here, elsewhere, ..] = allowed_cores()[..] else { return };
        assert!(pin_current_thread(here), "the platform has told of this core");
        let sleepers = Sleepers::new(2, &[here, elsewhere]);
        for _ in 0..100 {
            assert!(wakes_its_own_core(&sleepers, SOON / 2).await);
        }
        let mut tries = 0;
        while wakes_its_own_core(&sleepers, 2 * SOON).await {
            tries += 1;
            assert!(tries < 10, "nobody comes soon on this core");
        }
        let again = async || {
            let mut times = 0;
            for _ in 0..10 * -Credit::LET_PASS {
                times += u32::from(wakes_its_own_core(&sleepers, 2 * SOON).await);
            }
            times
        };
        let times = again().await;
        assert!((5..=20).contains(&times), "tried {times} times again");
    }
}
