//! Threads that notice when a core stands still: one for each core, pinned to it, in real time.
//!
//! ```text
//!  core 0 ── watcher: sleep until the next tick ── on time? ── sleep until the next tick ── late: it stood still ── ...
//!  core 1 ── watcher: the same
//! ```
//! A watcher's priority is above the pacer's, the only other thread in real time, so that nothing of this process can
//! keep it waiting: what does is the hypervisor, an interrupt, or the kernel while it cannot be preempted. Late by more
//! than [`LATE`], it notes a standstill, from when it last ran to when it runs again.
//!
//! Measured here with ticks of 1 ms, on two cores: a watcher is late by 20 µs at p50, by 45 to 90 at p99 and by 0.1 to
//! 1.4 ms at p99.9, on idle cores as beside contenders. Beyond 0.3 ms are 0 to 2.7 ticks a second and core, and most of
//! these are beyond 0.5, some half beyond 1 ms: few lie just above 0.3, so that nothing ordinary is taken for a standstill,
//! and a lower bound sees more of those that were under way at the tick. A wake costs 11 to 14 µs of CPU time, which at
//! 1,000 a second is 1.2% of each core, at 500 still 0.55%, at 250 0.2%; with [`TICK`] it is less than half a percent. The
//! price is that a standstill that is not much longer than a tick may lie between two of them: one of `t` is seen with a
//! chance of `(t - LATE) / TICK`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use core_affinity::CoreId;

use crate::{
    arrivals::wait_until,
    clock::thread_cpu,
    priority,
    standstills::{Standstill, Standstills},
    switches::thread_switches,
};

/// From one look to the next.
const TICK: Duration = Duration::from_micros(2500);
/// A wake that is no later than this is an ordinary one.
const LATE: Duration = Duration::from_micros(300);
/// Above the pacer's, so that it cannot be what delays them.
const PRIORITY: libc::c_int = priority::REAL_TIME + 1;

/// Watchers at work.
pub(crate) struct Watchers {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

/// What one watcher has to tell.
struct Seen {
    standstills: Vec<Standstill>,
    cpu: Duration,
    switches: u64,
}

/// What they have seen, and what they took.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) standstills: Standstills,
    /// CPU time of their threads, from their start to their end.
    pub(crate) cpu: Duration,
    /// Context switches of the same.
    pub(crate) switches: u64,
}

impl Watchers {
    /// One for each core that this process may use; `None` where that, or real time, is not to be had.
    pub(crate) fn start() -> Option<Self> {
        let cores = core_affinity::get_core_ids().filter(|cores| !cores.is_empty())?;
        let over = Arc::new(AtomicBool::new(false));
        let (ready, places) = channel();
        let watcher = |core| {
            let (over, ready) = (Arc::clone(&over), ready.clone());
            let watcher = thread::Builder::new().name("watcher".into());
            watcher
                .spawn(move || watch(core, &over, ready))
                .expect("the system gives threads for the watchers")
        };
        let watchers =
            Self { threads: cores.iter().map(|&core| watcher(core)).collect(), over: Arc::clone(&over) };
        drop(ready);
        if places.iter().all(|has_its_place| has_its_place) {
            return Some(watchers);
        }
        watchers.stop();
        None
    }

    /// Returns within a tick or so.
    pub(crate) fn stop(self) -> Watched {
        // Relaxed: nothing is handed over by it; that is for the joins.
        self.over.store(true, Relaxed);
        let join = |watcher: JoinHandle<Seen>| watcher.join().expect("no watcher panics");
        let seen: Vec<Seen> = self.threads.into_iter().map(join).collect();
        Watched {
            cpu: seen.iter().map(|seen| seen.cpu).sum(),
            switches: seen.iter().map(|seen| seen.switches).sum(),
            standstills: Standstills::new(seen.into_iter().flat_map(|seen| seen.standstills).collect()),
        }
    }
}

/// Says whether it is where it should be, and as what, then looks at the clock until it is over.
fn watch(core: CoreId, over: &AtomicBool, ready: Sender<bool>) -> Seen {
    let has_its_place = core_affinity::set_for_current(core) && priority::real_time(PRIORITY).is_ok();
    // Whoever hears of one that has not does not listen to the others.
    ready.send(has_its_place).ok();
    // What is listened to ends with the last sender.
    drop(ready);
    let mut standstills = Vec::new();
    let mut ran = Instant::now();
    let mut due = ran;
    // Relaxed: a tick more does not matter.
    while has_its_place && !over.load(Relaxed) {
        due += TICK;
        wait_until(due);
        let (before, now) = (ran, Instant::now());
        ran = now;
        if now - due > LATE {
            standstills.push(Standstill { from: before, to: now });
            // The ticks that it missed are part of it.
            due = now;
        }
    }
    Seen { standstills, cpu: thread_cpu(), switches: thread_switches() }
}
