//! What I/O suffers while the workers are saturated: how late a tokio task is that something wakes now and then.
//!
//! A run has some 340 wakes, so that its p99 is the fourth longest: a process that others start, and that has a core for a
//! millisecond, makes as much of it as the contender does, and a run that counts may have dozens of those. So the wakes
//! during which somebody else had a core are left out ([`foreign`](crate::foreign)), by the same rule for everybody.
//!
//! tokio's timers tick in milliseconds, so the task is woken as by a socket: a thread in real time sends to it the
//! instant at which it did.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use millstream::simulation::{Arrivals, Schedule};
use serde::Serialize;
use tokio::sync::mpsc::unbounded_channel;

use super::open_loop::us;
use crate::{
    arrivals::wait_until,
    contenders::{Entry, workers},
    foreign::{MOSTLY, Readings},
    priority,
    stats::quantile,
    work::Work,
};

/// The work that saturates the workers.
const WORK: Work = Work::of(Duration::from_millis(1));
/// Jobs in flight for each worker: the queues never run empty.
const DEPTH: usize = 8;
const LENGTH: Duration = Duration::from_millis(700);
/// Wakes a second of the probe: rare enough to disturb nobody, at random to be in step with nobody.
const PROBES_PER_S: f64 = 500.0;

/// What one run gave.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Probed {
    pub(crate) late_p50_us: f64,
    pub(crate) late_p99_us: f64,
    /// The share of the wakes during which somebody else had a core: they are not in the figures.
    pub(crate) disturbed: f64,
    pub(crate) jobs_per_s: f64,
}

impl Probed {
    /// Whether too few wakes are left of it.
    pub(crate) fn is_mostly_disturbed(&self) -> bool {
        self.disturbed > MOSTLY
    }
}

pub(crate) fn run(entry: &Entry, seed: u64) -> Probed {
    let contender = (entry.start)();
    let (sender, mut wakes) = unbounded_channel::<Instant>();
    let probe = contender.io().spawn(async move {
        let mut woken = Vec::new();
        while let Some(sent) = wakes.recv().await {
            woken.push((sent, Instant::now()));
        }
        woken
    });
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let waker = thread::Builder::new().name("probe".into()).spawn(move || {
        priority::raise();
        let start = Instant::now();
        let mut readings = Readings::default();
        for due in Schedule::new(Arrivals::Poisson, PROBES_PER_S, LENGTH, seed) {
            wait_until(start + due);
            readings.take();
            // Relaxed: whether one wake more is sent does not matter.
            if stop.load(Relaxed) || sender.send(Instant::now()).is_err() {
                break;
            }
        }
        readings.foreign(workers())
    });
    let waker = waker.expect("the system gives a thread for the probe");
    let flood = contender.flood(WORK, DEPTH * workers().get(), LENGTH);
    over.store(true, Relaxed);
    let foreign = waker.join().expect("the probe's thread does not panic");
    let woken = contender.io().block_on(probe).expect("the probe does not panic");
    let sent = woken.len();
    let ours = woken.into_iter().filter(|&(sent, seen)| !foreign.touches(sent, seen));
    let mut late: Vec<_> = ours.map(|(sent, seen)| seen - sent).collect();
    late.sort_unstable();
    let at = |q| us(quantile(&late, q).unwrap_or(LENGTH));
    let disturbed = 1.0 - late.len() as f64 / sent.max(1) as f64;
    Probed { late_p50_us: at(0.5), late_p99_us: at(0.99), disturbed, jobs_per_s: flood.per_second() }
}
