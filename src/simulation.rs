//! What ideal servers would do with the same work: the limit that a measured tail is held against.
//!
//! A trace is a list of [`Job`]s: when each arrives, and how long it is to be served. [`simulate`] runs it, as a
//! discrete-event simulation, through servers that cost nothing: no hand-off, no wake, no preemption that anybody pays
//! for. Where a real pool comes close to that, there is nothing left to win; where it does not, the ratio says how much.
//! The same call answers "how many servers would this load need".
//!
//! ```text
//!  Schedule (when) ─┐
//!                   ├─▶ trace ─┬─▶ simulate ─▶ sojourn times of ideal servers
//!  ServiceTimes ────┘          └─▶ a bench, or the load generator ─▶ those of real ones
//! ```
//! [`simulate_overload`] runs the rules of the real server against more work than it can do, and [`servers_needed`] plans
//! with them; [`simulate_streams`] shares the servers among streams as the real one does; [`simulate_deadlines`]
//! begins what waits in one order or another.
//!
//! Everything here is a pure function of its arguments and a seed: no clock, no thread, no global. The random numbers
//! come from a named algorithm, so that a seed means the same trace in the next release too.

mod deadlines;
mod first_come;
mod overload;
mod random;
mod schedule;
mod service;
mod sharing;
mod shortest_remaining;

use std::{num::NonZeroUsize, time::Duration};

pub use deadlines::{Late, Order, simulate_deadlines};
pub use overload::{Overloaded, Rule, servers_needed, simulate_overload};
pub use schedule::{Arrivals, Schedule};
pub use service::ServiceTimes;
pub use sharing::{Sharing, simulate_streams};

#[cfg(feature = "cli")]
pub(crate) use random::{Purpose, rng};

/// One arrival of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// When it arrives, as an offset from the start of the trace.
    pub arrival: Duration,
    /// How long one server is busy with it.
    pub service: Duration,
}

/// In which order ideal servers take what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discipline {
    /// First come, first served; nobody is interrupted. What any pool with one queue does at best.
    FirstCome,
    /// At each instant the servers work on the jobs that have the least left to do. It knows every service time in
    /// advance and interrupts at no cost: nobody can, and so it is the floor for short jobs, not a promise.
    ShortestRemaining,
}

/// The sojourn time, from arrival to finish, of each job of the trace, in the order of the trace.
///
/// ```
/// use std::{num::NonZeroUsize, time::Duration};
/// use millstream::simulation::{Discipline, Job, simulate};
///
/// let ms = Duration::from_millis;
/// // A short job that arrives while the only server has 9 ms of a long one left.
/// let trace = [Job { arrival: ms(0), service: ms(10) }, Job { arrival: ms(1), service: ms(2) }];
/// assert_eq!(simulate(Discipline::FirstCome, NonZeroUsize::MIN, &trace), [ms(10), ms(11)]);
/// assert_eq!(simulate(Discipline::ShortestRemaining, NonZeroUsize::MIN, &trace), [ms(12), ms(2)]);
/// ```
///
/// # Panics
/// When an arrival is earlier than the one before it.
#[must_use]
pub fn simulate(discipline: Discipline, servers: NonZeroUsize, trace: &[Job]) -> Vec<Duration> {
    let disorder = trace.windows(2).position(|pair| pair[1].arrival < pair[0].arrival);
    if let Some(before) = disorder {
        panic!("arrival {} of the trace is earlier than the one before it: sort it by arrival", before + 1);
    }
    match discipline {
        Discipline::FirstCome => first_come::sojourns(servers, trace),
        Discipline::ShortestRemaining => shortest_remaining::sojourns(servers, trace),
    }
}

/// A trace of Poisson arrivals: `rate_per_s` a second for `length`, with these service times.
///
/// # Panics
/// When the rate is not a number above zero.
#[must_use]
pub fn poisson_trace(rate_per_s: f64, service: ServiceTimes, length: Duration, seed: u64) -> Vec<Job> {
    let services = service.sequence(seed);
    let arrivals = Schedule::new(Arrivals::Poisson, rate_per_s, length, seed);
    arrivals.zip(services).map(|(arrival, service)| Job { arrival, service }).collect()
}

#[cfg(test)]
mod tests;
