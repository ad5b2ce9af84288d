//! What of a paced run does not count: the messages that came around a standstill of a core.
//!
//! On a virtual machine the hypervisor takes a core away for some milliseconds, now and then once, now and then several
//! times a second. A run has some 1,900 short messages, so that the p99.9 of these is the second-worst of them: one or two
//! such pauses decide it, whoever takes part. A run for which that happens all the time would never end, so what the
//! pauses may have touched is left out of it, by a rule that knows nothing of what became of a message:
//!
//! - [`watchers`](crate::watchers) say when a core stood still. They are in real time, and no contender is, so that no
//!   contender can make one late.
//! - A message is left out when it *arrived* from [`BEFORE`] the start of a standstill until [`AFTER`] its end. Its sojourn
//!   is never looked at; to leave out what was slow would make a fast contender of any.
//! - It is left out of sojourns, slowdowns and curves. It was handed over and answered like any other, and counts as
//!   completed or lost. The ideal servers are held against a contender by the messages that count for that contender.
//! - Where too much would be left out the run [is void](is_void), and done again.
//!
//! `BEFORE` is for what was at work or waiting when the core stopped: short messages that are scheduled well live for
//! less. `AFTER` is for the backlog to clear: a core that is away for `t` leaves up to `t` of work, which the 20% of two
//! cores that are free at a load of 80% do in `2.5 t`, and pauses of more than 8 ms are rare.
//!
//! What this does not do: a long message lives for 10 to 100 ms, and is not left out for a standstill in the midst of
//! its life; and where a contender has a backlog anyway (a queue in order of arrival, at a high load) what came longer
//! before suffers too. Both are the same for everybody. A core that another *process* has does not stand
//! still: a watcher takes it from that as it does from a contender. Here some daemon has one for 2 to 5 ms about once a
//! second; [`noise`](crate::noise) judges that, by the run.

use std::time::{Duration, Instant};

/// What arrived so long before a standstill may have been at work, or waiting, when that began.
pub(crate) const BEFORE: Duration = Duration::from_millis(5);
/// What arrived so long after one may have found a backlog.
pub(crate) const AFTER: Duration = Duration::from_millis(20);

/// A run of which a larger share is left out is void.
const VOID: f64 = 0.4;

/// From when to when a core stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standstill {
    /// The last instant at which it is known to have run.
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// Those of all cores.
#[derive(Debug, Default)]
pub(crate) struct Standstills {
    /// With what stands around each of them: in order, and apart from each other.
    around: Vec<(Instant, Instant)>,
}

impl Standstills {
    /// In any order, of any core.
    pub(crate) fn new(mut standstills: Vec<Standstill>) -> Self {
        standstills.sort_unstable_by_key(|standstill| standstill.from);
        let mut around: Vec<(Instant, Instant)> = Vec::with_capacity(standstills.len());
        for Standstill { from, to } in standstills {
            // Nothing is before the first instant that the clock knows.
            let (from, to) = (from.checked_sub(BEFORE).unwrap_or(from), to + AFTER);
            match around.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => around.push((from, to)),
            }
        }
        Self { around }
    }

    /// Whether a message that arrived then is left out.
    pub(crate) fn touch(&self, arrival: Instant) -> bool {
        let first = self.around.partition_point(|&(_, end)| end < arrival);
        self.around.get(first).is_some_and(|&(start, _)| start <= arrival)
    }
}

/// Whether a run with so many messages left out, of so many, says too little to count.
pub(crate) fn is_void(left_out: usize, of: usize) -> bool {
    left_out as f64 > VOID * of as f64
}
