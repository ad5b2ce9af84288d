//! Preemptive shortest remaining processing time, on any number of servers.

use std::{cmp::Reverse, collections::BinaryHeap, num::NonZeroUsize, time::Duration};

use super::Job;

/// A job that has a server, and when it will be finished if it keeps it.
struct Running {
    finish: Duration,
    job: usize,
}

/// The servers at one instant. Whoever runs has no more left to do than anybody who waits.
struct Servers<'a> {
    trace: &'a [Job],
    count: usize,
    /// At most `count`, in no order: servers are few.
    running: Vec<Running>,
    /// What is left of each, and its number in the trace, which settles ties in order of arrival.
    waiting: BinaryHeap<Reverse<(Duration, usize)>>,
    sojourns: Vec<Duration>,
}

pub(super) fn sojourns(servers: NonZeroUsize, trace: &[Job]) -> Vec<Duration> {
    let mut servers = Servers {
        trace,
        count: servers.get(),
        running: Vec::with_capacity(servers.get()),
        waiting: BinaryHeap::new(),
        sojourns: vec![Duration::ZERO; trace.len()],
    };
    for (number, job) in trace.iter().enumerate() {
        servers.run_until(job.arrival);
        servers.admit(number);
    }
    servers.run_until(Duration::MAX);
    servers.sojourns
}

impl Servers<'_> {
    /// Finishes everything that is due by `now`, each time handing the server on.
    fn run_until(&mut self, now: Duration) {
        while let Some((index, _)) = self.running.iter().enumerate().min_by_key(|(_, running)| running.finish)
            && self.running[index].finish <= now
        {
            let Running { finish, job } = self.running.swap_remove(index);
            self.sojourns[job] = finish - self.trace[job].arrival;
            if let Some(Reverse((left, next))) = self.waiting.pop() {
                self.running.push(Running { finish: finish + left, job: next });
            }
        }
    }

    /// A job arrives; it takes a free server, or that of the job with the most left to do, or it waits.
    fn admit(&mut self, job: usize) {
        let Job { arrival: now, service } = self.trace[job];
        let finish = now + service;
        if self.running.len() < self.count {
            self.running.push(Running { finish, job });
            return;
        }
        let longest =
            self.running.iter_mut().max_by_key(|running| running.finish).expect("all servers are busy");
        if finish < longest.finish {
            let interrupted = std::mem::replace(longest, Running { finish, job });
            self.waiting.push(Reverse((interrupted.finish - now, interrupted.job)));
        } else {
            self.waiting.push(Reverse((service, job)));
        }
    }
}
