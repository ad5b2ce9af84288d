//! How long messages take that come when they come.
//!
//! What came around a standstill of a core is left out ([`standstills`](crate::standstills)); the figures of all messages
//! are beside those of what is left.

use std::{sync::Arc, time::Duration};

use millstream::simulation::{Discipline, Job, poisson_trace, simulate};

use crate::{
    arrivals::offer,
    clock::process_cpu,
    contenders::{Contender, workers},
    scenarios::{Cell, Participant},
    standstills::is_void,
    stats::quantile,
    switches::process_switches,
    watchers::Watchers,
    work::Work,
};

/// The share of a run that does not count: queues fill, caches warm.
const WARM_UP: f64 = 0.1;

/// Jobs that a contender does before the trace begins, so that its threads have started.
const REHEARSALS: usize = 32;

/// Where the distribution is looked at; the last is the maximum.
pub(crate) const QUANTILES: &[f64] =
    &[0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 1.0];

/// What one run of one contender gave. Times are in microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) completed: usize,
    pub(crate) lost: usize,
    pub(crate) throughput_per_s: f64,
    /// Of the messages that count.
    pub(crate) times: Times,
    /// Of those that were left out, too.
    pub(crate) of_all: Times,
    /// The p99 of ideal servers, first come first served, of the messages that count.
    pub(crate) ideal_p99_us: f64,
    /// Messages after the warm-up that came around a standstill, and those after the warm-up in all. `None` where nobody
    /// watched.
    pub(crate) left_out: Option<LeftOut>,
    /// CPU time per message beyond its work, of the whole process but for the pacer and the watchers.
    pub(crate) cpu_beyond_us: f64,
    /// Context switches per message, of the same.
    pub(crate) switches: f64,
    /// Of the messages that count.
    pub(crate) pacer_late_p99_us: f64,
}

/// How many messages of a run do not count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeftOut {
    pub(crate) messages: usize,
    pub(crate) of: usize,
}

/// Sojourn times of one run, or of the ideal, in microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    /// At [`QUANTILES`].
    pub(crate) curve_us: Vec<f64>,
    /// Of the short messages where there are long ones, else of all.
    pub(crate) short: Group,
    pub(crate) long: Option<Group>,
}

/// Messages of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Group {
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) slowdown_p99: f64,
    pub(crate) slowdown_p999: f64,
}

impl Outcome {
    /// The sojourn time at one of [`QUANTILES`], of the messages that count.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        self.times.at(quantile)
    }

    /// The p99, in times of that of ideal servers with the same messages.
    pub(crate) fn p99_of_ideal(&self) -> f64 {
        self.at(0.99) / self.ideal_p99_us
    }

    /// Whether too little is left of it.
    pub(crate) fn is_void(&self) -> bool {
        self.left_out.is_some_and(|LeftOut { messages, of }| is_void(messages, of))
    }
}

impl Times {
    /// The sojourn time at one of [`QUANTILES`].
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        let index = QUANTILES.iter().position(|&known| known == quantile).expect("one of QUANTILES");
        self.curve_us[index]
    }
}

/// Runs the trace through one contender. `ideal` are the sojourns of ideal servers with it.
pub(crate) fn run(cell: Cell, participant: Participant, trace: &[Job], ideal: &[Duration]) -> Outcome {
    let contender = (participant.entry.start)();
    contender.round_trips(Work::of(Duration::from_micros(20)), REHEARSALS, Duration::ZERO);
    let checkpoints = participant.checkpoints;
    let works: Arc<[Work]> = trace.iter().map(|job| Work { service: job.service, checkpoints }).collect();
    let (cpu, switches) = (process_cpu(), process_switches());
    // Both readings are around all of the watchers' lives, so that what they took can be taken off.
    let watchers = Watchers::start();
    let paced = offer(trace, |ledger| contender.open(works, ledger));
    let watched = watchers.map(Watchers::stop);
    let (cpu, switches) = (process_cpu() - cpu, process_switches() - switches);
    let is_watched = watched.is_some();
    let watched = watched.unwrap_or_default();
    let beyond = [paced.pacer_cpu, watched.cpu, paced.burned].into_iter().fold(cpu, Duration::saturating_sub);
    let switches = switches.saturating_sub(paced.pacer_switches + watched.switches);
    // What was not answered took as long as was waited for it, at least.
    let sojourns: Vec<_> = paced.sojourns.iter().map(|sojourn| sojourn.unwrap_or(paced.time)).collect();
    let completed = paced.sojourns.iter().flatten().count();
    let is_left_out: Vec<bool> =
        trace.iter().map(|job| watched.standstills.touch(paced.start + job.arrival)).collect();
    let counts = |job: usize| !is_left_out[job];
    let is_warm = |job: &&Job| job.arrival >= warm_up(cell);
    let left_out = LeftOut {
        messages: trace.iter().zip(&is_left_out).filter(|(job, left_out)| is_warm(job) && **left_out).count(),
        of: trace.iter().filter(is_warm).count(),
    };
    Outcome {
        completed,
        lost: trace.len() - completed,
        throughput_per_s: completed as f64 / paced.time.as_secs_f64(),
        cpu_beyond_us: us(beyond) / completed.max(1) as f64,
        switches: switches as f64 / completed.max(1) as f64,
        pacer_late_p99_us: us(paced.late_p99(counts)),
        times: times(cell, trace, &sojourns, counts),
        of_all: times(cell, trace, &sojourns, |_| true),
        ideal_p99_us: times(cell, trace, ideal, counts).at(0.99),
        left_out: is_watched.then_some(left_out),
    }
}

/// The sojourns of the trace in ideal servers.
pub(crate) fn ideal(trace: &[Job], discipline: Discipline) -> Vec<Duration> {
    simulate(discipline, workers(), trace)
}

/// The trace of one round: the same for everybody.
pub(crate) fn trace(cell: Cell, capacity_per_s: f64, seed: u64) -> Vec<Job> {
    poisson_trace(cell.load * capacity_per_s, cell.kind.service, cell.kind.length(), seed)
}

/// What 100% load means: messages a second of this kind if all cores did nothing but work on them inline. It is reckoned
/// from the CPU time that they took, which is the same on a machine that others use.
pub(crate) fn capacity(inline: &dyn Contender, kind: &crate::scenarios::Kind) -> f64 {
    let clients = 2 * workers().get();
    let cpu = process_cpu();
    let flood = inline.flood(Work::of(kind.service.mean()), clients, Duration::from_millis(300));
    let cpu = process_cpu() - cpu;
    workers().get() as f64 * flood.jobs as f64 / cpu.as_secs_f64()
}

fn warm_up(cell: Cell) -> Duration {
    cell.kind.length().mul_f64(WARM_UP)
}

/// Of the jobs of the trace that count.
pub(crate) fn times(
    cell: Cell,
    trace: &[Job],
    sojourns: &[Duration],
    counts: impl Fn(usize) -> bool,
) -> Times {
    let warm_up = warm_up(cell);
    let (mut all, mut short, mut long) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (job, &sojourn)) in trace.iter().zip(sojourns).enumerate() {
        if job.arrival < warm_up || !counts(number) {
            continue;
        }
        all.push(sojourn);
        let is_long = cell.kind.long() == Some(job.service);
        if is_long { &mut long } else { &mut short }.push((sojourn, job.service));
    }
    all.sort_unstable();
    Times {
        curve_us: QUANTILES.iter().map(|&q| quantile(&all, q).map_or(0.0, us)).collect(),
        short: group(&short),
        long: cell.kind.is_mixed().then(|| group(&long)),
    }
}

fn group(messages: &[(Duration, Duration)]) -> Group {
    let mut sojourns: Vec<f64> = messages.iter().map(|(sojourn, _)| us(*sojourn)).collect();
    // An exponential time may be next to nothing, and what a microsecond of hand-off is to that says nothing.
    let counted = |service: &Duration| service.max(&Duration::from_micros(1)).as_secs_f64();
    let mut slowdowns: Vec<f64> =
        messages.iter().map(|(sojourn, service)| sojourn.as_secs_f64() / counted(service)).collect();
    sojourns.sort_unstable_by(f64::total_cmp);
    slowdowns.sort_unstable_by(f64::total_cmp);
    let at = |sorted: &[f64], q| quantile(sorted, q).unwrap_or(0.0);
    Group {
        p99_us: at(&sojourns, 0.99),
        p999_us: at(&sojourns, 0.999),
        slowdown_p99: at(&slowdowns, 0.99),
        slowdown_p999: at(&slowdowns, 0.999),
    }
}

pub(crate) fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
