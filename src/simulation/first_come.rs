//! First come, first served, on any number of servers.

use std::{cmp::Reverse, collections::BinaryHeap, num::NonZeroUsize, time::Duration};

use super::Job;

/// Each job goes to the server that is free first: with one queue and no interruption that is all there is to simulate.
pub(super) fn sojourns(servers: NonZeroUsize, trace: &[Job]) -> Vec<Duration> {
    let mut free_at: BinaryHeap<_> = (0..servers.get()).map(|_| Reverse(Duration::ZERO)).collect();
    let serve = |job: &Job| {
        let mut first = free_at.peek_mut().expect("there is one server at least");
        let finish = job.arrival.max(first.0) + job.service;
        *first = Reverse(finish);
        finish - job.arrival
    };
    trace.iter().map(serve).collect()
}
