//! What every contender is given to do: CPU time to burn.
//!
//! The same code for all. It is measured on the thread's own CPU clock, so that a job which is preempted takes longer
//! but does not work less, and computes between two readings, so that most of it is not system calls.

use std::{hint::black_box, time::Duration};

use crate::clock::thread_cpu;

/// Steps of a dependent computation between two readings of the clock: some 300 ns.
const STEPS: u64 = 256;

/// CPU time between two checkpoints: within the 10 µs that millstream asks of long handlers.
const SLICE: Duration = Duration::from_micros(8);

/// One job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) service: Duration,
    /// Whether the handler is one that calls `checkpoint()`. Means something to millstream only.
    pub(crate) checkpoints: bool,
}

impl Work {
    /// A job that is all hand-off.
    pub(crate) const NOTHING: Self = Self::of(Duration::ZERO);

    pub(crate) const fn of(service: Duration) -> Self {
        Self { service, checkpoints: false }
    }

    /// Does the work; returns the CPU time that it took.
    pub(crate) fn burn(self) -> Duration {
        if self.service.is_zero() { Duration::ZERO } else { burn_from(thread_cpu(), self.service) }
    }

    /// The same in slices, with a call before each, which says whether other work was done in it: that is not counted as
    /// this one's. The call itself is, for to read the clock before and after it would take longer than it does: so the
    /// work is as much as that of who calls nothing.
    pub(crate) fn burn_in_slices(self, mut between: impl FnMut() -> bool) -> Duration {
        let mut burned = Duration::ZERO;
        let mut start = thread_cpu();
        while burned < self.service {
            if between() {
                start = thread_cpu();
            }
            let slice = burn_from(start, SLICE.min(self.service - burned));
            burned += slice;
            start += slice;
        }
        burned
    }
}

/// Works until the thread has used so much CPU time since `start`; returns how much it was.
fn burn_from(start: Duration, time: Duration) -> Duration {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    loop {
        for _ in 0..STEPS {
            state = black_box(state.rotate_left(5).wrapping_mul(0xD134_2543_DE82_EF95));
        }
        let burned = thread_cpu() - start;
        if burned >= time {
            return burned;
        }
    }
}
