//! The open loop: a thread that hands each job over when it is due, whoever is late with the jobs before it.
//!
//! ```text
//!  pacer (OS thread, raised priority) ── job is due ──▶ I/O task ──▶ contender ──▶ I/O task ── answer ──▶ Ledger
//! ```
//! Latency counts from the intended arrival, so the pacer's own lateness is part of it; it is measured, and a run where
//! it was too late does not count. The pacer runs in real time where it may, since on a machine whose cores are all busy
//! with the contender's work a thread of ordinary priority wakes milliseconds late.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Relaxed},
        },
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use millstream::simulation::Job;

use crate::{clock::thread_cpu, priority, stats::quantile, switches::thread_switches};

/// How long a run may go on after its last arrival: contenders that cannot keep up have a backlog.
const DRAIN: Duration = Duration::from_secs(5);

/// No answer yet. A sojourn of this many nanoseconds would be 584 years.
const UNANSWERED: u64 = u64::MAX;

/// Who was answered when.
pub(crate) struct Ledger {
    trace: Vec<Job>,
    start: OnceLock<Instant>,
    sojourns_ns: Box<[AtomicU64]>,
    burned_ns: AtomicU64,
    unanswered: AtomicUsize,
    done: SyncSender<()>,
}

impl Ledger {
    fn new(trace: &[Job]) -> (Arc<Self>, Receiver<()>) {
        let (done, all_answered) = sync_channel(1);
        let ledger = Self {
            trace: trace.to_vec(),
            start: OnceLock::new(),
            sojourns_ns: trace.iter().map(|_| AtomicU64::new(UNANSWERED)).collect(),
            burned_ns: AtomicU64::new(0),
            unanswered: AtomicUsize::new(trace.len()),
            done,
        };
        (Arc::new(ledger), all_answered)
    }

    /// The answer to this job of the trace is in hand; it took so much CPU time.
    pub(crate) fn enter(&self, job: usize, burned: Duration) {
        let start = *self.start.get().expect("the start was set before the first job was handed over");
        let sojourn = start.elapsed().saturating_sub(self.trace[job].arrival);
        // Relaxed: published by the count below.
        self.sojourns_ns[job].store(sojourn.as_nanos() as u64, Relaxed);
        self.burned_ns.fetch_add(burned.as_nanos() as u64, Relaxed);
        // AcqRel: the last one to count down has seen, and publishes, all entries.
        if self.unanswered.fetch_sub(1, AcqRel) == 1 {
            // Nobody listens when the run was given up.
            self.done.try_send(()).ok();
        }
    }
}

/// What one run gave.
pub(crate) struct Paced {
    /// In the order of the trace; `None` for what was not answered in time.
    pub(crate) sojourns: Vec<Option<Duration>>,
    /// CPU time that the jobs took.
    pub(crate) burned: Duration,
    /// CPU time of the pacer.
    pub(crate) pacer_cpu: Duration,
    /// Context switches of the pacer.
    pub(crate) pacer_switches: u64,
    /// How late the pacer was with each job.
    pub(crate) late: Vec<Duration>,
    /// What the arrivals of the trace count from.
    pub(crate) start: Instant,
    /// From the start to the last answer.
    pub(crate) time: Duration,
}

impl Paced {
    /// How late the pacer was, at the 99th percentile of those jobs of the trace.
    pub(crate) fn late_p99(&self, counts: impl Fn(usize) -> bool) -> Duration {
        let late = self.late.iter().enumerate().filter(|&(job, _)| counts(job));
        let mut late: Vec<Duration> = late.map(|(_, late)| *late).collect();
        late.sort_unstable();
        quantile(&late, 0.99).unwrap_or_default()
    }
}

/// Offers the trace through the way in that `open` makes for its ledger.
pub(crate) fn offer(trace: &[Job], open: impl FnOnce(Arc<Ledger>) -> Box<dyn FnMut(usize) + Send>) -> Paced {
    let (ledger, all_answered) = Ledger::new(trace);
    let mut hand_over = open(Arc::clone(&ledger));
    let for_pacer = Arc::clone(&ledger);
    let pacer = thread::Builder::new().name("pacer".into()).spawn(move || {
        priority::raise();
        let (cpu, switches) = (thread_cpu(), thread_switches());
        let start = *for_pacer.start.get_or_init(Instant::now);
        let mut late = Vec::with_capacity(for_pacer.trace.len());
        for (number, job) in for_pacer.trace.iter().enumerate() {
            let due = start + job.arrival;
            wait_until(due);
            late.push(due.elapsed());
            hand_over(number);
        }
        (late, thread_cpu() - cpu, thread_switches() - switches)
    });
    let (late, pacer_cpu, pacer_switches) =
        pacer.expect("the system gives a thread for the pacer").join().expect("the pacer does not panic");
    if !trace.is_empty() {
        // An error is a time-out: what is missing then counts as lost.
        all_answered.recv_timeout(DRAIN).ok();
    }
    let start = *ledger.start.get().expect("the pacer has started");
    let answer = |sojourn: &AtomicU64| match sojourn.load(Relaxed) {
        UNANSWERED => None,
        nanoseconds => Some(Duration::from_nanos(nanoseconds)),
    };
    let time = start.elapsed();
    Paced {
        sojourns: ledger.sojourns_ns.iter().map(answer).collect(),
        burned: Duration::from_nanos(ledger.burned_ns.load(Relaxed)),
        pacer_cpu,
        pacer_switches,
        late,
        start,
        time,
    }
}

/// Returns at the instant, or at once when it has passed.
#[allow(
    clippy::disallowed_methods,
    reason = "pacing is about time itself; nothing is waited for but the clock"
)]
pub(crate) fn wait_until(instant: Instant) {
    let left = instant.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}
