//! Which runs count: one that was disturbed, whose pacer was late, or of which too little is left, is thrown away, counted,
//! and done again, a few times at most and within a share of the time; what stays disturbed is counted too.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::noise::Watch;

/// Times that a disturbed run is done again at most.
const RETRIES: usize = 2;

/// Runs that do not count, and runs that should not have to.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Validity {
    pub(crate) runs: usize,
    /// Thrown away by what they say of themselves, and run again: the pacer was late, or little is left of them.
    pub(crate) discarded_late: usize,
    /// Thrown away because others took CPU time, and run again.
    pub(crate) discarded_noise: usize,
    /// Late or disturbed each time that they were tried; they are in the figures.
    pub(crate) kept_in_spite: usize,
}

/// Throws disturbed runs away.
pub(crate) struct Referee {
    pub(crate) validity: Validity,
    /// CPU time that is our own.
    own_cpu: fn() -> Duration,
    waste_left: Duration,
}

impl Referee {
    /// Runs that are thrown away may take so much time in all.
    pub(crate) fn new(own_cpu: fn() -> Duration, waste_left: Duration) -> Self {
        Self { validity: Validity::default(), own_cpu, waste_left }
    }

    /// Runs it until nobody disturbed it and it says itself that it counts, a few times at most.
    pub(crate) fn judge<T>(&mut self, is_late: impl Fn(&T) -> bool, mut run: impl FnMut() -> T) -> T {
        let mut tries = 0..=RETRIES;
        loop {
            let (start, watch) = (Instant::now(), Watch::start(self.own_cpu));
            let outcome = run();
            let (noisy, late) = (watch.stop().is_disturbing(), is_late(&outcome));
            if !noisy && !late {
                self.validity.runs += 1;
                return outcome;
            }
            tries.next();
            let time = start.elapsed();
            if tries.is_empty() || time > self.waste_left {
                self.validity.runs += 1;
                self.validity.kept_in_spite += 1;
                return outcome;
            }
            self.waste_left -= time;
            if noisy {
                self.validity.discarded_noise += 1;
            } else {
                self.validity.discarded_late += 1;
            }
        }
    }
}
