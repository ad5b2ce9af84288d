//! What millstream costs while nothing comes.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::{
    clock::process_cpu,
    contenders::{Contender, Role, entries},
    work::Work,
};

const LENGTH: Duration = Duration::from_secs(10);
/// Until whoever spins has stopped.
const SETTLE: Duration = Duration::from_millis(300);

/// CPU time of the process, as a share of one core, while a pool and a processor, which have worked before, wait side
/// by side for something to do.
pub(crate) fn run() -> f64 {
    let ours = entries().filter(|entry| entry.role == Role::Millstream);
    let waiting: Vec<Box<dyn Contender>> = ours.map(|entry| (entry.start)()).collect();
    for contender in &waiting {
        contender.flood(Work::of(Duration::from_micros(20)), 16, Duration::from_millis(50));
    }
    wait(SETTLE);
    let (cpu, start) = (process_cpu(), Instant::now());
    wait(LENGTH);
    (process_cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64()
}

fn wait(time: Duration) {
    let (_keep, nothing) = mpsc::channel::<()>();
    nothing.recv_timeout(time).expect_err("nobody sends");
}
