//! What becomes of work that nobody can do: more arrives than the servers can serve, and each job has a deadline.
//!
//! Under [`Rule::PredictedWait`] and [`Rule::QueueDelay`] the very code decides that decides in the server: its policy,
//! and its forecast of the wait, with the time of the simulation handed in. The other rules are what servers do without
//! it.

use std::{cmp::Reverse, collections::BinaryHeap, collections::VecDeque, num::NonZeroUsize, time::Duration};

use super::{Job, ServiceTimes, poisson_trace};
use crate::grpc::performance::{
    Class, OptimizationConfig, Priority, WhenFull,
    overload::{Newcomer, Policy, Shares},
    worker_pool::{Forecast, Level, Share},
};

/// What is done about jobs that are, or will be, too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing: first come, first served.
    None,
    /// A job is refused while the queue has so many already.
    Fill(usize),
    /// A job whose deadline has passed is not begun.
    Expiry,
    /// The same, and the newest is served first.
    NewestFirst,
    /// A job is refused when the wait predicted for it takes too much of its time: `deadline_admission`.
    PredictedWait,
    /// A job that has waited for too long in a queue that stands is not begun: `queue_control`.
    QueueDelay,
}

/// What became of the jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overloaded {
    /// Jobs that arrived.
    pub offered: usize,
    /// Jobs that were served, in time or not: their sojourn times, in the order in which they began.
    pub sojourns: Vec<Duration>,
    /// Jobs that were served within their deadline.
    pub in_time: usize,
}

impl Overloaded {
    /// The share of all jobs that were served in time, from 0 to 1.
    #[must_use]
    pub fn share_in_time(&self) -> f64 {
        if self.offered == 0 { 1.0 } else { self.in_time as f64 / self.offered as f64 }
    }

    /// The sojourn time within which the share `quantile` of the served jobs were.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        let mut sojourns = self.sojourns.clone();
        sojourns.sort_unstable();
        let rank = (sojourns.len() as f64 * quantile).ceil() as usize;
        sojourns.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// Serves a trace, each job of which is of use for `deadline` after its arrival.
///
/// ```
/// use std::{num::NonZeroUsize, time::Duration};
/// use millstream::simulation::{Rule, ServiceTimes, poisson_trace, simulate_overload};
///
/// let ms = Duration::from_millis;
/// // One server could serve 1000 a second; 2000 come.
/// let trace = poisson_trace(2000.0, ServiceTimes::Exponential(ms(1)), Duration::from_secs(10), 1);
/// let served = |rule| simulate_overload(rule, NonZeroUsize::MIN, ms(50), &trace).share_in_time();
/// assert!(served(Rule::None) < 0.02);
/// assert!(served(Rule::PredictedWait) > 0.48);
/// ```
///
/// # Panics
/// When an arrival is earlier than the one before it.
#[must_use]
pub fn simulate_overload(rule: Rule, servers: NonZeroUsize, deadline: Duration, trace: &[Job]) -> Overloaded {
    assert!(trace.is_sorted_by_key(|job| job.arrival), "sort the trace by arrival");
    let mut plant = Plant::new(rule, servers, deadline);
    for job in trace {
        plant.run_until(job.arrival);
        plant.arrive(*job);
    }
    plant.run_until(Duration::MAX);
    Overloaded { offered: trace.len(), sojourns: plant.sojourns, in_time: plant.in_time }
}

/// How many servers a load needs, so that the share `in_time` of it is served within its deadline, by the server's own
/// rules; `None` when `most` are not enough.
///
/// ```
/// use std::{num::NonZeroUsize, time::Duration};
/// use millstream::simulation::{ServiceTimes, servers_needed};
///
/// let ms = Duration::from_millis;
/// let most = NonZeroUsize::new(64).unwrap();
/// // 3500 jobs of a millisecond a second, each of use for 20 ms.
/// let needed = servers_needed(3500.0, ServiceTimes::Exponential(ms(1)), ms(20), 0.999, most);
/// assert!((4..=6).contains(&needed.unwrap().get()), "{needed:?}");
/// ```
///
/// # Panics
/// When the rate is not a number above zero.
#[must_use]
pub fn servers_needed(
    rate_per_s: f64,
    service: ServiceTimes,
    deadline: Duration,
    in_time: f64,
    most: NonZeroUsize,
) -> Option<NonZeroUsize> {
    /// Enough for a share of 0.999 to be told from 0.998.
    const JOBS: f64 = 100_000.0;
    const SEED: u64 = 1;
    let trace = poisson_trace(rate_per_s, service, Duration::from_secs_f64(JOBS / rate_per_s), SEED);
    let enough = |servers: usize| {
        let servers = NonZeroUsize::new(servers)?;
        let served = simulate_overload(Rule::PredictedWait, servers, deadline, &trace);
        (served.share_in_time() >= in_time).then_some(servers)
    };
    // More servers never serve less in time, so the first that are enough are found by halving.
    let (mut too_few, mut found) = (0, enough(most.get())?);
    while found.get() - too_few > 1 {
        let middle = too_few + (found.get() - too_few) / 2;
        match enough(middle) {
            Some(servers) => found = servers,
            None => too_few = middle,
        }
    }
    Some(found)
}

struct Plant {
    rule: Rule,
    deadline: Duration,
    policy: Policy,
    forecast: Forecast,
    /// When each server is free, and what it has learnt by then.
    servers: BinaryHeap<Reverse<(Duration, Duration)>>,
    queue: VecDeque<(Job, Share)>,
    sojourns: Vec<Duration>,
    in_time: usize,
}

impl Plant {
    fn new(rule: Rule, servers: NonZeroUsize, deadline: Duration) -> Self {
        let config = OptimizationConfig { when_full: WhenFull::Shed, ..OptimizationConfig::default() };
        Self {
            rule,
            deadline,
            policy: Policy::new(&config),
            forecast: Forecast::new(servers.get()),
            servers: (0..servers.get()).map(|_| Reverse((Duration::ZERO, Duration::ZERO))).collect(),
            queue: VecDeque::new(),
            sojourns: Vec::new(),
            in_time: 0,
        }
    }

    /// Servers that are free by then take what is queued.
    fn run_until(&mut self, now: Duration) {
        while !self.queue.is_empty() {
            let mut first = self.servers.peek_mut().expect("there is one server at least");
            let Reverse((free, service)) = *first;
            if free > now {
                return;
            }
            if !service.is_zero() {
                self.forecast.learn(Class::DEFAULT, service);
                *first = Reverse((free, Duration::ZERO));
            }
            drop(first);
            let next =
                if self.rule == Rule::NewestFirst { self.queue.pop_back() } else { self.queue.pop_front() };
            let (job, share) = next.expect("the queue is not empty");
            self.forecast.unqueued(&share);
            let start = free.max(job.arrival);
            if self.is_begun(job, start) {
                let mut first = self.servers.peek_mut().expect("there is one server at least");
                *first = Reverse((start + job.service, job.service));
                let sojourn = start + job.service - job.arrival;
                self.sojourns.push(sojourn);
                self.in_time += usize::from(sojourn <= self.deadline);
            }
        }
    }

    fn is_begun(&self, job: Job, start: Duration) -> bool {
        let wait = start - job.arrival;
        let expired = wait >= self.deadline;
        match self.rule {
            Rule::None | Rule::Fill(_) => true,
            Rule::Expiry | Rule::NewestFirst | Rule::PredictedWait => !expired,
            Rule::QueueDelay => {
                let rank = Priority::Normal.rank();
                self.policy.dequeued(rank, start, wait, self.forecast.mean()).is_none()
            }
        }
    }

    fn arrive(&mut self, job: Job) {
        let refused = match self.rule {
            Rule::Fill(most) => self.queue.len() >= most,
            Rule::PredictedWait => self.is_refused(job.arrival),
            Rule::None | Rule::Expiry | Rule::NewestFirst | Rule::QueueDelay => false,
        };
        self.policy.decided(refused);
        if refused {
            return;
        }
        let share = Share::default();
        self.forecast.queued(&share, Class::DEFAULT, Priority::Normal);
        self.queue.push_back((job, share));
        self.run_until(job.arrival);
    }

    fn is_refused(&self, now: Duration) -> bool {
        let all_busy = self.servers.iter().all(|Reverse((free, _))| *free > now);
        let wait = self.forecast.wait(Level::Short, Priority::Normal, all_busy);
        let budget = (self.rule == Rule::PredictedWait).then_some(self.deadline);
        is_refused(&self.policy, &self.forecast, wait, budget)
    }
}

/// Whether the server's policy refuses a message for which this wait is predicted, of the one stream that there is.
pub(super) fn is_refused(
    policy: &Policy,
    forecast: &Forecast,
    wait: Duration,
    budget: Option<Duration>,
) -> bool {
    let newcomer = Newcomer {
        rank: Priority::Normal.rank(),
        wait,
        service: forecast.service(Class::DEFAULT),
        budget,
        mean_service: forecast.mean(),
    };
    // It has the whole server to itself.
    let alone = || Shares { queued: 0, peers: 1, of_peer: 0, streams_of_peer: 1, of_stream: 0 };
    policy.object(&newcomer, alone).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const DEADLINE: Duration = Duration::from_millis(50);

    /// Two servers of a millisecond each, offered `load` times what they can do for a minute: the share of the capacity
    /// that was served in time, and the p99 of what was served.
    fn overload(rule: Rule, load: f64, service: ServiceTimes) -> (f64, Duration) {
        const LENGTH: Duration = Duration::from_secs(60);
        let servers = NonZeroUsize::new(2).unwrap();
        let capacity = 2.0 / service.mean().as_secs_f64();
        let trace = poisson_trace(load * capacity, service, LENGTH, 6);
        let served = simulate_overload(rule, servers, DEADLINE, &trace);
        (served.in_time as f64 / (capacity * LENGTH.as_secs_f64()), served.quantile(0.99))
    }

    #[test]
    fn at_twice_the_capacity_only_who_judges_by_the_wait_goes_on_serving() {
        let exponential = |rule| overload(rule, 2.0, ServiceTimes::Exponential(MS));
        assert!(exponential(Rule::None).0 < 0.01);
        assert!(exponential(Rule::Fill(800)).0 < 0.01, "80% of a queue of 1000 is a wait of 400 ms");
        // What is begun has an exponential time left whose rate is the excess of what comes over what is served, two in
        // a millisecond, and is in time if its service, at one in a millisecond, is shorter.
        let (expiry, _) = exponential(Rule::Expiry);
        assert!((expiry - 1.0 / 3.0).abs() < 0.02, "{expiry}");
        for rule in [Rule::PredictedWait, Rule::QueueDelay] {
            let (goodput, p99) = exponential(rule);
            assert!(goodput > 0.99, "{rule:?}: {goodput}");
            assert!((10 * MS..31 * MS).contains(&p99), "{rule:?}: {p99:?}");
        }
    }

    #[test]
    fn four_times_the_capacity_and_mixed_work_change_nothing() {
        let mixed = ServiceTimes::Mixed { short: MS / 2, long: 10 * MS, long_share: 0.05 };
        for (load, service) in [(4.0, ServiceTimes::Exponential(MS)), (2.0, mixed), (4.0, mixed)] {
            for rule in [Rule::PredictedWait, Rule::QueueDelay] {
                let (goodput, p99) = overload(rule, load, service);
                assert!(goodput > 0.97, "{rule:?} at {load}: {goodput}");
                // Who waits without a deadline may see an interval in which the queue control had let go.
                let bound = if rule == Rule::PredictedWait { DEADLINE } else { 2 * DEADLINE };
                assert!(p99 < bound, "{rule:?} at {load}: {p99:?}");
            }
        }
    }

    #[test]
    fn below_the_capacity_nearly_nothing_is_refused() {
        for rule in [Rule::PredictedWait, Rule::QueueDelay] {
            let (goodput, _) = overload(rule, 0.8, ServiceTimes::Exponential(MS));
            assert!(goodput > 0.79, "{rule:?}: {goodput}");
        }
    }

    #[test]
    fn serving_the_newest_first_wins_nothing_over_a_queue_that_is_never_late() {
        let exponential = |rule| overload(rule, 2.0, ServiceTimes::Exponential(MS)).0;
        let (newest, predicted) = (exponential(Rule::NewestFirst), exponential(Rule::PredictedWait));
        assert!((newest - predicted).abs() < 0.01, "{newest} {predicted}");
    }

    #[test]
    #[should_panic(expected = "sort the trace by arrival")]
    fn a_trace_that_goes_back_in_time_is_refused() {
        let trace = [Job { arrival: MS, service: MS }, Job { arrival: Duration::ZERO, service: MS }];
        let _ = simulate_overload(Rule::None, NonZeroUsize::MIN, DEADLINE, &trace);
    }

    #[test]
    fn more_work_needs_more_servers_and_too_much_needs_too_many() {
        let most = NonZeroUsize::new(16).unwrap();
        let needed = |rate| servers_needed(rate, ServiceTimes::Exponential(MS), DEADLINE, 0.99, most);
        let (few, many) = (needed(1500.0).unwrap(), needed(7500.0).unwrap());
        assert!(few.get() == 2 && (8..=9).contains(&many.get()), "{few} {many}");
        assert_eq!(needed(50_000.0), None);
    }
}
