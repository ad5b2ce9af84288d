//! Whether a run had the machine to itself: time stolen by the hypervisor, and CPU time of other processes.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde::Serialize;

/// One tick of `/proc/stat`: 100 a second on every architecture, since programs rely on it.
const TICK: Duration = Duration::from_millis(10);

/// What others may take of the cores, as a share of them, before a run does not count: daemons and kernel threads.
const FOREIGN: f64 = 0.05;
/// What the hypervisor may.
const STOLEN: f64 = 0.01;
/// How far off the counters are at either end of a run.
const COARSE: Duration = Duration::from_millis(30);

/// The counters at the start of a run.
pub(crate) struct Watch {
    since: Instant,
    own_cpu: fn() -> Duration,
    own: Duration,
    counters: Option<Counters>,
}

#[derive(Clone, Copy)]
struct Counters {
    busy: Duration,
    stolen: Duration,
}

/// What others took during a run, as shares of all cores. 0 where the platform does not tell.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Noise {
    pub(crate) foreign: f64,
    pub(crate) stolen: f64,
    #[serde(skip)]
    disturbing: bool,
}

impl Noise {
    pub(crate) fn is_disturbing(self) -> bool {
        self.disturbing
    }
}

impl Watch {
    /// `own_cpu` is the CPU time that is our own so far.
    pub(crate) fn start(own_cpu: fn() -> Duration) -> Self {
        Self { since: Instant::now(), own_cpu, own: own_cpu(), counters: read() }
    }

    pub(crate) fn stop(self) -> Noise {
        let (Some(before), Some(after)) = (self.counters, read()) else { return Noise::default() };
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
        let available = self.since.elapsed() * cores as u32;
        let own = (self.own_cpu)() - self.own;
        let foreign = (after.busy.saturating_sub(before.busy)).saturating_sub(own);
        let stolen = after.stolen.saturating_sub(before.stolen);
        let share = |time: Duration| time.as_secs_f64() / available.as_secs_f64();
        let beyond = |time: Duration, bound: f64| time > available.mul_f64(bound) + COARSE;
        Noise {
            foreign: share(foreign),
            stolen: share(stolen),
            disturbing: beyond(foreign, FOREIGN) || beyond(stolen, STOLEN),
        }
    }
}

fn read() -> Option<Counters> {
    parse(&fs::read_to_string("/proc/stat").ok()?)
}

/// The first line: `cpu user nice system idle iowait irq softirq steal ...`, in ticks of all cores.
fn parse(stat: &str) -> Option<Counters> {
    let ticks: Vec<u64> = stat
        .strip_prefix("cpu ")?
        .lines()
        .next()?
        .split_ascii_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let &[user, nice, system, _idle, _iowait, irq, softirq, stolen, ..] = &ticks[..] else { return None };
    let time = |ticks: u64| TICK * ticks as u32;
    Some(Counters { busy: time(user + nice + system + irq + softirq), stolen: time(stolen) })
}
