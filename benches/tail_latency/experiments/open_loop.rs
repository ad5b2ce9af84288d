//! How long messages take that come when they come.

use std::{sync::Arc, time::Duration};

use millstream::simulation::{Discipline, Job, poisson_trace, simulate};
use serde::Serialize;

use crate::{
    arrivals::offer,
    clock::process_cpu,
    contenders::{Contender, workers},
    scenarios::{Cell, Participant},
    stats::quantile,
    switches::process_switches,
    work::Work,
};

/// The share of a run that does not count: queues fill, caches warm.
const WARM_UP: f64 = 0.1;

/// Jobs that a contender does before the trace begins, so that its threads have started.
const REHEARSALS: usize = 32;

/// Where the distribution is looked at; the last is the maximum.
pub(crate) const QUANTILES: &[f64] =
    &[0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 1.0];

/// What one run of one contender gave, or of the ideal. Times are in microseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    pub(crate) completed: usize,
    pub(crate) lost: usize,
    pub(crate) throughput_per_s: f64,
    /// The sojourn times at [`QUANTILES`].
    pub(crate) curve_us: Vec<f64>,
    /// Of the short messages where there are long ones, else of all.
    pub(crate) short: Group,
    pub(crate) long: Option<Group>,
    /// CPU time per message beyond its work, of the whole process but for the pacer.
    pub(crate) cpu_beyond_us: f64,
    /// Context switches per message, of the same.
    pub(crate) switches: f64,
    pub(crate) pacer_late_p99_us: f64,
}

/// Messages of one kind.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Group {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) slowdown_p99: f64,
    pub(crate) slowdown_p999: f64,
}

impl Outcome {
    /// The sojourn time at one of [`QUANTILES`].
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        let index = QUANTILES.iter().position(|&known| known == quantile).expect("one of QUANTILES");
        self.curve_us[index]
    }
}

/// Runs the trace through one contender.
pub(crate) fn run(cell: Cell, participant: Participant, trace: &[Job]) -> Outcome {
    let contender = (participant.entry.start)();
    contender.round_trips(Work::of(Duration::from_micros(20)), REHEARSALS, Duration::ZERO);
    let checkpoints = participant.checkpoints;
    let works: Arc<[Work]> = trace.iter().map(|job| Work { service: job.service, checkpoints }).collect();
    let (cpu, switches) = (process_cpu(), process_switches());
    let paced = offer(trace, |ledger| contender.open(works, ledger));
    let (cpu, switches) = (process_cpu() - cpu, process_switches() - switches);
    let beyond = cpu.saturating_sub(paced.pacer_cpu).saturating_sub(paced.burned);
    // What was not answered took as long as was waited for it, at least.
    let sojourns = paced.sojourns.iter().map(|sojourn| sojourn.unwrap_or(paced.time));
    let completed = paced.sojourns.iter().flatten().count();
    Outcome {
        completed,
        lost: trace.len() - completed,
        throughput_per_s: completed as f64 / paced.time.as_secs_f64(),
        cpu_beyond_us: us(beyond) / completed.max(1) as f64,
        switches: switches.saturating_sub(paced.pacer_switches) as f64 / completed.max(1) as f64,
        pacer_late_p99_us: us(paced.pacer_late_p99),
        ..times(cell, trace, sojourns)
    }
}

/// Runs the trace through ideal servers.
pub(crate) fn ideal(cell: Cell, trace: &[Job], discipline: Discipline) -> Outcome {
    times(cell, trace, simulate(discipline, workers(), trace).into_iter())
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

fn times(cell: Cell, trace: &[Job], sojourns: impl Iterator<Item = Duration>) -> Outcome {
    let warm_up = cell.kind.length().mul_f64(WARM_UP);
    let (mut all, mut short, mut long) = (Vec::new(), Vec::new(), Vec::new());
    for (job, sojourn) in trace.iter().zip(sojourns).filter(|(job, _)| job.arrival >= warm_up) {
        all.push(sojourn);
        let is_long = cell.kind.long() == Some(job.service);
        if is_long { &mut long } else { &mut short }.push((sojourn, job.service));
    }
    all.sort_unstable();
    Outcome {
        completed: trace.len(),
        lost: 0,
        throughput_per_s: 0.0,
        curve_us: QUANTILES.iter().map(|&q| quantile(&all, q).map_or(0.0, us)).collect(),
        short: group(&short),
        long: cell.kind.is_mixed().then(|| group(&long)),
        cpu_beyond_us: 0.0,
        switches: 0.0,
        pacer_late_p99_us: 0.0,
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
        p50_us: at(&sojourns, 0.5),
        p99_us: at(&sojourns, 0.99),
        p999_us: at(&sojourns, 0.999),
        slowdown_p99: at(&slowdowns, 0.99),
        slowdown_p999: at(&slowdowns, 0.999),
    }
}

pub(crate) fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
