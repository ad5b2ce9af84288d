//! What I/O suffers while the workers are saturated: how late a tokio task is that something wakes now and then.
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
    pub(crate) jobs_per_s: f64,
}

pub(crate) fn run(entry: &Entry, seed: u64) -> Probed {
    let contender = (entry.start)();
    let (sender, mut wakes) = unbounded_channel::<Instant>();
    let probe = contender.io().spawn(async move {
        let mut late = Vec::new();
        while let Some(sent) = wakes.recv().await {
            late.push(sent.elapsed());
        }
        late
    });
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let waker = thread::Builder::new().name("probe".into()).spawn(move || {
        priority::raise();
        let start = Instant::now();
        for due in Schedule::new(Arrivals::Poisson, PROBES_PER_S, LENGTH, seed) {
            wait_until(start + due);
            // Relaxed: whether one wake more is sent does not matter.
            if stop.load(Relaxed) || sender.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    let waker = waker.expect("the system gives a thread for the probe");
    let flood = contender.flood(WORK, DEPTH * workers().get(), LENGTH);
    over.store(true, Relaxed);
    waker.join().expect("the probe's thread does not panic");
    let mut late = contender.io().block_on(probe).expect("the probe does not panic");
    late.sort_unstable();
    let at = |q| us(quantile(&late, q).unwrap_or(LENGTH));
    Probed { late_p50_us: at(0.5), late_p99_us: at(0.99), jobs_per_s: flood.per_second() }
}
