//! What becomes of streams beside one that sends far more than they do.
//!
//! Under [`Sharing::Fair`] the server's own accounts say in which line a job stands, and its own order which line is
//! served next, with the time of the simulation handed in.

use std::{cmp::Reverse, collections::BinaryHeap, collections::VecDeque, num::NonZeroUsize, time::Duration};

use super::Job;
use crate::grpc::performance::{
    Class, Priority,
    overload::{Account, Company, Owner, PeerUsage},
    worker_pool::{Forecast, Line, order_of_service},
};

/// Whose job is served next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// That of whoever has come first.
    FirstCome,
    /// One of a stream that has used no more than most, where there is one: `enable_stream_fairness`.
    Fair,
}

/// Serves a trace of jobs, each with the number of its stream; the sojourn time of each, in the order of the trace.
///
/// ```
/// use std::{num::NonZeroUsize, time::Duration};
/// use millstream::simulation::{Job, Sharing, simulate_streams};
///
/// let ms = Duration::from_millis;
/// // Stream 1 sends a job now and then, and another just after stream 0 has sent a hundred at once.
/// let job = |stream, arrival| (stream, Job { arrival, service: ms(1) });
/// let mut trace = vec![job(1, ms(0)), job(1, ms(4)), job(1, ms(8))];
/// trace.extend([job(0, ms(10)); 100]);
/// trace.push(job(1, ms(10)));
/// let last = |sharing| *simulate_streams(sharing, NonZeroUsize::MIN, &trace).last().unwrap();
/// assert_eq!(last(Sharing::FirstCome), ms(101));
/// assert!(last(Sharing::Fair) < ms(20));
/// ```
///
/// # Panics
/// When an arrival is earlier than the one before it.
#[must_use]
pub fn simulate_streams(sharing: Sharing, servers: NonZeroUsize, trace: &[(usize, Job)]) -> Vec<Duration> {
    assert!(trace.is_sorted_by_key(|(_, job)| job.arrival), "sort the trace by arrival");
    let mut plant = Plant::new(sharing, servers, trace);
    for (number, (_, job)) in trace.iter().enumerate() {
        plant.run_until(job.arrival);
        plant.arrive(number);
        plant.run_until(job.arrival);
    }
    plant.run_until(Duration::MAX);
    plant.sojourns
}

/// A server by when it is free, what it has done until then, and how often it has picked.
type Server = Reverse<(Duration, Option<usize>, usize)>;

struct Plant<'a> {
    trace: &'a [(usize, Job)],
    /// `None`: nobody keeps accounts.
    accounts: Option<Vec<Account>>,
    peer: PeerUsage,
    forecast: Forecast,
    servers: BinaryHeap<Server>,
    lines: [VecDeque<usize>; Line::COUNT],
    /// What each job was charged.
    charged: Vec<Duration>,
    sojourns: Vec<Duration>,
}

impl<'a> Plant<'a> {
    fn new(sharing: Sharing, servers: NonZeroUsize, trace: &'a [(usize, Job)]) -> Self {
        let streams = trace.iter().map(|(stream, _)| stream + 1).max().unwrap_or_default();
        let accounts = || (0..streams as u64).map(|stream| Account::new(Some(Owner::new(stream)))).collect();
        Self {
            trace,
            accounts: (sharing == Sharing::Fair).then(accounts),
            peer: PeerUsage::default(),
            forecast: Forecast::new(servers.get()),
            servers: (0..servers.get()).map(|_| Reverse((Duration::ZERO, None, 0))).collect(),
            lines: [(); Line::COUNT].map(|()| VecDeque::new()),
            charged: vec![Duration::ZERO; trace.len()],
            sojourns: vec![Duration::ZERO; trace.len()],
        }
    }

    fn arrive(&mut self, number: usize) {
        let (stream, job) = self.trace[number];
        let mut line = Line::from(Priority::Normal);
        if let Some(accounts) = &mut self.accounts {
            self.charged[number] = self.forecast.service(Class::DEFAULT);
            accounts[stream].charge(self.charged[number]);
            line.appetite = accounts[stream].look(Company { peer: &self.peer, peers: None }, job.arrival);
        }
        self.lines[line.rank()].push_back(number);
    }

    /// Servers that are free by then take what is queued.
    fn run_until(&mut self, now: Duration) {
        while self.lines.iter().any(|line| !line.is_empty()) {
            let Some(Reverse((free, done, picks))) = self.servers.peek().copied() else { return };
            if free > now {
                return;
            }
            self.servers.pop();
            if let Some(done) = done {
                self.learn(done);
            }
            let next = order_of_service(picks).find_map(|rank| self.lines[rank].pop_front());
            let next = next.expect("something is queued");
            let (_, job) = self.trace[next];
            let end = free.max(job.arrival) + job.service;
            self.sojourns[next] = end - job.arrival;
            self.servers.push(Reverse((end, Some(next), picks + 1)));
        }
    }

    fn learn(&mut self, done: usize) {
        let (stream, job) = self.trace[done];
        self.forecast.learn(Class::DEFAULT, job.service);
        if let Some(accounts) = &mut self.accounts {
            accounts[stream].correct(self.charged[done], job.service);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{ServiceTimes, poisson_trace};

    const MS: Duration = Duration::from_millis(1);
    const LIGHT: usize = 8;

    /// Light streams and a heavy one that sends so many times as much as each of them; together they offer so much of
    /// what two servers can do, for a minute.
    fn streams(heavy: usize, load: f64, service: ServiceTimes) -> Vec<(usize, Job)> {
        let rate_per_s = load * 2.0 / service.mean().as_secs_f64() / (LIGHT + 10) as f64;
        let of = |stream: usize, rate_per_s| {
            let jobs = poisson_trace(rate_per_s, service, Duration::from_secs(60), stream as u64);
            jobs.into_iter().map(move |job| (stream, job))
        };
        let mut trace: Vec<_> = (0..LIGHT).flat_map(|stream| of(stream, rate_per_s)).collect();
        if heavy > 0 {
            trace.extend(of(LIGHT, heavy as f64 * rate_per_s));
        }
        trace.sort_by_key(|(_, job)| job.arrival);
        trace
    }

    /// The p99 of the light streams, and of the heavy one.
    fn p99(sharing: Sharing, trace: &[(usize, Job)]) -> (Duration, Duration) {
        let sojourns = simulate_streams(sharing, NonZeroUsize::new(2).unwrap(), trace);
        let of = |wanted: &dyn Fn(usize) -> bool| {
            let found = trace.iter().zip(&sojourns).filter(|((stream, _), _)| wanted(*stream));
            let mut found: Vec<_> = found.map(|(_, sojourn)| *sojourn).collect();
            found.sort_unstable();
            found.get(found.len() * 99 / 100).copied().unwrap_or_default()
        };
        (of(&|stream| stream < LIGHT), of(&|stream| stream == LIGHT))
    }

    #[test]
    fn beside_a_stream_at_ten_times_their_rate_the_others_keep_within_twice_their_solo_p99() {
        for service in [ServiceTimes::Fixed(MS), ServiceTimes::Exponential(MS)] {
            for load in [0.5, 0.85, 0.95] {
                let (solo, _) = p99(Sharing::Fair, &streams(0, load, service));
                let trace = streams(10, load, service);
                let (beside, heavy) = p99(Sharing::Fair, &trace);
                assert!(beside < 2 * solo, "{service:?} at {load}: {solo:?} alone, {beside:?} beside it");
                let (unfair, _) = p99(Sharing::FirstCome, &trace);
                assert!(beside <= unfair, "{service:?} at {load}: {unfair:?} first come, first served");
                assert!(heavy < 200 * MS, "{service:?} at {load}: the heavy one waits for {heavy:?}");
            }
        }
    }

    #[test]
    fn a_stream_that_wants_more_than_there_is_costs_the_others_little_and_gets_the_rest() {
        let service = ServiceTimes::Fixed(MS);
        let (solo, _) = p99(Sharing::Fair, &streams(0, 1.0, service));
        let trace = streams(100, 1.0, service);
        let (beside, _) = p99(Sharing::Fair, &trace);
        assert!(beside < 2 * solo, "{solo:?} alone, {beside:?} beside it");
        let (unfair, _) = p99(Sharing::FirstCome, &trace);
        assert!(unfair > 1000 * solo, "{unfair:?} first come, first served");
        // The servers never rest.
        let two = NonZeroUsize::new(2).unwrap();
        let ends = |sharing| {
            let sojourns = simulate_streams(sharing, two, &trace);
            trace.iter().zip(sojourns).map(|((_, job), sojourn)| job.arrival + sojourn).max()
        };
        assert_eq!(ends(Sharing::Fair), ends(Sharing::FirstCome));
    }

    #[test]
    fn equal_streams_are_served_as_they_come() {
        let trace = streams(1, 1.5, ServiceTimes::Fixed(MS));
        let two = NonZeroUsize::new(2).unwrap();
        let [fair, plain] =
            [Sharing::Fair, Sharing::FirstCome].map(|sharing| simulate_streams(sharing, two, &trace));
        let same = fair.iter().zip(&plain).filter(|(fair, plain)| fair == plain).count();
        assert!(same * 100 > trace.len() * 95, "{same} of {}", trace.len());
    }
}
