//! When somebody else had a core, while every core was ours to be busy on.
//!
//! While the workers always have something to do all cores are busy, so what the threads of this process have not had of
//! them went to other processes, to the kernel's own threads, to interrupts or to the hypervisor. CPU time is counted to the
//! nanosecond, and of a thread that reads its own clock while it works it is never older than that reading. So the
//! moments between two readings can be told apart one by one, where the ticks of `/proc/stat` ([`noise`](crate::noise))
//! tell seconds apart.

use std::{
    num::NonZero,
    time::{Duration, Instant},
};

use crate::clock::process_cpu;

/// What others may have of the cores between two readings, as a share and on top of that: interrupts, a timer tick,
/// a hand over of a core. A thread that somebody starts, such as a command of a shell, takes ten times as much.
const SHARE: f64 = 0.02;
const BESIDE: Duration = Duration::from_micros(50);

#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    own: Duration,
}

/// Where others disturbed more than this share of what was measured, what is left says little.
pub(crate) const MOSTLY: f64 = 0.5;

/// Readings of the clocks, one after the other.
#[derive(Default)]
pub(crate) struct Readings(Vec<Reading>);

impl Readings {
    pub(crate) fn take(&mut self) {
        self.0.push(Reading { at: Instant::now(), own: process_cpu() });
    }

    /// The moments in which others had more than they may of so many cores, from the first reading to the last.
    pub(crate) fn foreign(&self, cores: NonZero<usize>) -> Foreign {
        let had_a_core = |moment: &&[Reading]| {
            let [before, after] = moment else { return false };
            let available = (after.at - before.at) * cores.get() as u32;
            let foreign = available.saturating_sub(after.own - before.own);
            foreign > BESIDE + available.mul_f64(SHARE)
        };
        let moments = self.0.windows(2).filter(had_a_core);
        Foreign(moments.map(|moment| (moment[0].at, moment[1].at)).collect())
    }
}

/// Moments that were not ours alone, in their order.
pub(crate) struct Foreign(Vec<(Instant, Instant)>);

impl Foreign {
    /// Whether any of them touches what lasted from the one instant to the other.
    pub(crate) fn touches(&self, from: Instant, to: Instant) -> bool {
        let first = self.0.partition_point(|&(_, end)| end <= from);
        self.0.get(first).is_some_and(|&(start, _)| start <= to)
    }
}
