//! In which order to begin what waits when messages of one class have deadlines of their own.
//!
//! Within a lane first come is first served. Whether the earliest deadline had better be first was decided by this: two
//! servers, exponential service times of 1 ms, half of the jobs of use for 20 ms after their arrival and half for 200 ms.
//! The shares of either half that are served in time, in percent:
//!
//! | load | what would be late | first come | earliest deadline | two bands |
//! |---|---|---|---|---|
//! | 80% | is not begun | 100, 100 | 100, 100 | 100, 100 |
//! | 80% | is refused | 99, 100 | 100, 100 | 100, 100 |
//! | 120% | is not begun | 50, 100 | 57, 57 | 100, 55 |
//! | 120% | is refused | 66, 100 | 95, 73 | 100, 66 |
//!
//! `cargo test --lib simulation::deadlines` holds the table against what is simulated.
//!
//! **What it says.** Where all can be served nobody needs another order. Where not, the earliest deadline first is the
//! worst of the three by itself: it begins whatever is just about to be late, and has served 57 in a hundred where first
//! come, first served serves 75. With admission by the predicted wait, which is the default, all three serve the same 83
//! or 84 in a hundred, and choose only which half is served. Two bands choose the tight one more clearly than the earliest
//! deadline does; and bands are what [`Priority`](crate::Priority) has already, by the word of the client. So the lanes stay
//! as they are: a queue in order of deadlines would cost each push and pop a search, and the exactness of the predicted
//! wait, for nothing.

use std::{cmp::Reverse, collections::BinaryHeap, num::NonZeroUsize, time::Duration};

use super::{Job, overload::is_refused};
use crate::grpc::performance::{
    Class, OptimizationConfig, WhenFull, overload::Policy, worker_pool::Forecast,
};

/// In which order jobs that wait are begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they came.
    FirstCome,
    /// The one whose deadline is next.
    EarliestDeadline,
    /// Those that had no more time than this when they came, then the others; each as they came. What two priorities do.
    Bands(Duration),
}

/// What becomes of jobs that would be late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// They are not begun once their deadline has passed.
    Expire,
    /// The same; and a job is refused when the wait that is predicted for it, in that order, takes too much of its time:
    /// `deadline_admission`.
    AreRefused,
}

/// Serves a trace of jobs, each with the time after its arrival for which it is of use; says whether each was served in that
/// time, in the order of the trace.
///
/// ```
/// use std::{num::NonZeroUsize, time::Duration};
/// use millstream::simulation::{Job, Late, Order, simulate_deadlines};
///
/// let ms = Duration::from_millis;
/// // While the server is busy, first one comes that has time, then one that has not.
/// let job = |arrival, within| (Job { arrival: ms(arrival), service: ms(10) }, ms(within));
/// let trace = [job(0, 100), job(1, 100), job(2, 20)];
/// let served = |order| simulate_deadlines(order, Late::Expire, NonZeroUsize::MIN, &trace);
/// assert_eq!(served(Order::FirstCome), [true, true, false]);
/// assert_eq!(served(Order::EarliestDeadline), [true, true, true]);
/// ```
///
/// # Panics
/// When an arrival is earlier than the one before it.
#[must_use]
pub fn simulate_deadlines(
    order: Order,
    late: Late,
    servers: NonZeroUsize,
    trace: &[(Job, Duration)],
) -> Vec<bool> {
    assert!(trace.is_sorted_by_key(|(job, _)| job.arrival), "sort the trace by arrival");
    let mut plant = Plant::new(order, late, servers, trace);
    for (number, (job, _)) in trace.iter().enumerate() {
        plant.run_until(job.arrival);
        plant.arrive(number);
        plant.run_until(job.arrival);
    }
    plant.run_until(Duration::MAX);
    plant.in_time
}

struct Plant<'a> {
    order: Order,
    late: Late,
    trace: &'a [(Job, Duration)],
    policy: Policy,
    forecast: Forecast,
    /// When each server is free, and what it has learnt by then.
    servers: BinaryHeap<Reverse<(Duration, Duration)>>,
    /// By what comes first in this order, then by arrival.
    queue: BinaryHeap<Reverse<(Duration, usize)>>,
    in_time: Vec<bool>,
}

impl<'a> Plant<'a> {
    fn new(order: Order, late: Late, servers: NonZeroUsize, trace: &'a [(Job, Duration)]) -> Self {
        let config = OptimizationConfig { when_full: WhenFull::Shed, ..OptimizationConfig::default() };
        Self {
            order,
            late,
            trace,
            policy: Policy::new(&config),
            forecast: Forecast::new(servers.get()),
            servers: (0..servers.get()).map(|_| Reverse((Duration::ZERO, Duration::ZERO))).collect(),
            queue: BinaryHeap::new(),
            in_time: vec![false; trace.len()],
        }
    }

    /// What comes first has the least of it; of equals, who came first.
    fn rank(&self, number: usize) -> Duration {
        let (job, within) = self.trace[number];
        match self.order {
            Order::FirstCome => Duration::ZERO,
            Order::EarliestDeadline => job.arrival + within,
            Order::Bands(most) => Duration::from_nanos(u64::from(within > most)),
        }
    }

    /// Servers that are free by then take what is queued.
    fn run_until(&mut self, now: Duration) {
        while let Some(Reverse((_, next))) = self.queue.peek().copied() {
            let Some(Reverse((free, served))) = self.servers.peek().copied() else { return };
            if free > now {
                return;
            }
            self.queue.pop();
            self.servers.pop();
            if !served.is_zero() {
                self.forecast.learn(Class::DEFAULT, served);
            }
            let (job, within) = self.trace[next];
            let (start, due) = (free.max(job.arrival), job.arrival + within);
            let service = if start < due { job.service } else { Duration::ZERO };
            self.in_time[next] = start < due && start + service <= due;
            self.servers.push(Reverse((free.max(start) + service, service)));
        }
    }

    fn arrive(&mut self, number: usize) {
        let refused = self.late == Late::AreRefused && self.is_refused(number);
        self.policy.decided(refused);
        if !refused {
            self.queue.push(Reverse((self.rank(number), number)));
        }
    }

    fn is_refused(&self, number: usize) -> bool {
        let (job, within) = self.trace[number];
        let all_busy = self.servers.iter().all(|Reverse((free, _))| *free > job.arrival);
        let own = (self.rank(number), number);
        let ahead = self.queue.iter().filter(|Reverse(other)| *other < own).count() + usize::from(all_busy);
        let service = self.forecast.service(Class::DEFAULT);
        let wait = service.mul_f64(ahead as f64 / self.servers.len() as f64);
        is_refused(&self.policy, &self.forecast, wait, Some(within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{ServiceTimes, poisson_trace};

    const MS: Duration = Duration::from_millis(1);
    const TIGHT: Duration = Duration::from_millis(20);
    const LOOSE: Duration = Duration::from_millis(200);

    /// The shares of the tight and of the loose half that are in time, in percent; jobs arrive for a minute.
    fn in_time(order: Order, late: Late, load: f64) -> [f64; 2] {
        let jobs = poisson_trace(load * 2000.0, ServiceTimes::Exponential(MS), Duration::from_secs(60), 8);
        let trace: Vec<_> = jobs.into_iter().zip([TIGHT, LOOSE].into_iter().cycle()).collect();
        let served = simulate_deadlines(order, late, NonZeroUsize::new(2).unwrap(), &trace);
        [TIGHT, LOOSE].map(|half| {
            let of = trace.iter().zip(&served).filter(|((_, within), _)| *within == half);
            let (count, good) = of.fold((0, 0), |(n, good), (_, ok)| (n + 1, good + usize::from(*ok)));
            100.0 * good as f64 / f64::from(count)
        })
    }

    const FIRST_COME: Order = Order::FirstCome;
    const EARLIEST: Order = Order::EarliestDeadline;
    const BANDS: Order = Order::Bands(TIGHT);

    #[test]
    fn the_table_of_the_module_is_what_is_simulated() {
        use Late::{AreRefused, Expire};
        for (load, late, order, percent) in [
            (0.8, Expire, FIRST_COME, [100.0, 100.0]),
            (0.8, Expire, EARLIEST, [100.0, 100.0]),
            (0.8, Expire, BANDS, [100.0, 100.0]),
            (0.8, AreRefused, FIRST_COME, [99.0, 100.0]),
            (0.8, AreRefused, EARLIEST, [100.0, 100.0]),
            (0.8, AreRefused, BANDS, [100.0, 100.0]),
            (1.2, Expire, FIRST_COME, [50.0, 100.0]),
            (1.2, Expire, EARLIEST, [57.0, 57.0]),
            (1.2, Expire, BANDS, [100.0, 55.0]),
            (1.2, AreRefused, FIRST_COME, [66.0, 100.0]),
            (1.2, AreRefused, EARLIEST, [95.0, 73.0]),
            (1.2, AreRefused, BANDS, [100.0, 66.0]),
        ] {
            let found = in_time(order, late, load);
            let near = found.iter().zip(percent).all(|(found, percent)| (found - percent).abs() < 1.0);
            assert!(near, "{order:?} at {load}, late ones {late:?}: {found:?}, {percent:?} in the table");
        }
    }

    #[test]
    fn with_admission_no_order_serves_more_than_another() {
        let all = |order| in_time(order, Late::AreRefused, 1.2).iter().sum::<f64>() / 2.0;
        let [first_come, earliest, bands] = [FIRST_COME, EARLIEST, BANDS].map(all);
        assert!((first_come - earliest).abs() < 1.5, "{first_come} {earliest}");
        assert!((first_come - bands).abs() < 1.5, "{first_come} {bands}");
        // Two servers at 120% can serve five of six.
        assert!(first_come > 82.0 && first_come < 84.0, "{first_come}");
    }
}
