//! Rounds: everything once, then everything again.
//!
//! A round goes through all scenarios; in each, the contenders take turns in an order of chance, on the same trace. So
//! whatever changes slowly, such as the machine's temper, strikes all alike, and when time runs out there is as much of
//! one as of the other. What was disturbed is done again ([`referee`](crate::referee)), and so is what little is left of once
//! the standstills of the cores are out of it ([`standstills`](crate::standstills)). No round begins that would not end in
//! time, and one that turns out too long is cut short between two scenarios, so that the bench ends on any machine.

use std::time::{Duration, Instant};

use millstream::simulation::Discipline;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};

use crate::{
    clock::process_cpu,
    contenders::{Entry, entries, entry},
    experiments::{
        fairness::{self, Setting, Shared},
        idle,
        open_loop::{self, Outcome},
        probe::{self, Probed},
        round_trip::{self, Rhythm},
        spawning, tiny_jobs,
    },
    options::{FAIRNESS, IDLE, Options, PROBE, ROUND_TRIP, SPAWNING, TINY_JOBS},
    referee::Referee,
    results::{CellResults, Results, Series},
    scenarios::KINDS,
};

/// The share of the time limit that may go into runs that are thrown away.
const WASTE: f64 = 0.2;
/// The pacer may be so late, at its 99th percentile.
const LATE_US: f64 = 200.0;
/// The traces of the first round.
const SEED: u64 = 20_260_101;

struct Bench<'a> {
    options: &'a Options,
    deadline: Instant,
    results: Results,
    referee: Referee,
    chance: Xoshiro256PlusPlus,
}

/// Runs it all.
pub(crate) fn run(options: &Options) -> Results {
    let waste_left = options.limit().mul_f64(WASTE);
    let deadline = Instant::now() + options.limit();
    let mut bench = Bench {
        options,
        deadline,
        results: Results::default(),
        referee: Referee::new(process_cpu, waste_left),
        chance: Xoshiro256PlusPlus::seed_from_u64(SEED),
    };
    if options.wants(IDLE) {
        eprintln!("idle for 10 s");
        bench.results.idle = Some(bench.referee.judge(never_late, idle::run));
    }
    bench.measure_capacities();
    let mut longest = Duration::ZERO;
    while bench.results.rounds < options.rounds()
        && (bench.results.rounds == 0 || Instant::now() + longest < deadline)
    {
        let round = Instant::now();
        bench.round();
        bench.results.rounds += 1;
        longest = longest.max(round.elapsed());
        eprintln!(
            "round {} of {} in {:.0?}, {:?}",
            bench.results.rounds,
            options.rounds(),
            round.elapsed(),
            bench.referee.validity
        );
    }
    let Results { mut cells, .. } = bench.results;
    // What was never reached has nothing to say.
    cells.retain(|cell| !cell.ideal.is_empty());
    Results { cells, validity: bench.referee.validity, ..bench.results }
}

impl Bench<'_> {
    /// What 100% means: messages a second with the work inline.
    fn measure_capacities(&mut self) {
        for kind in KINDS.iter().filter(|kind| self.options.wants(kind.name)) {
            let inline = (entry("inline").start)();
            let capacity_per_s = self.referee.judge(never_late, || open_loop::capacity(&*inline, kind));
            for cell in kind.cells(self.options.quick) {
                let series = |participant| Series { participant, rounds: Vec::new() };
                self.results.cells.push(CellResults {
                    cell,
                    capacity_per_s,
                    ideal: Vec::new(),
                    floor: Vec::new(),
                    series: cell.participants(self.options.quick).into_iter().map(series).collect(),
                });
            }
        }
    }

    fn round(&mut self) {
        if self.options.wants(ROUND_TRIP) {
            self.round_trips();
        }
        if self.options.wants(TINY_JOBS) {
            self.tiny_jobs();
        }
        if self.options.wants(SPAWNING) {
            self.spawning();
        }
        if self.options.wants(PROBE) {
            self.probes();
        }
        if self.options.wants(FAIRNESS) {
            self.fairness();
        }
        self.open_loops();
    }

    /// Everybody who takes part in the scenario, in an order of chance.
    fn entries(&mut self, scenario: &str) -> Vec<&'static Entry> {
        let quick = self.options.quick;
        let mut entries: Vec<_> = entries().filter(|entry| entry.takes_part(scenario, quick)).collect();
        entries.shuffle(&mut self.chance);
        entries
    }

    fn round_trips(&mut self) {
        for rhythm in Rhythm::ALL {
            if self.is_late() {
                return;
            }
            for entry in self.entries(ROUND_TRIP) {
                let outcome = self.referee.judge(never_late, || round_trip::run(entry, rhythm));
                self.results.round_trips.entry((rhythm, entry.name)).or_default().push(outcome);
            }
        }
    }

    fn tiny_jobs(&mut self) {
        for in_flight in tiny_jobs::IN_FLIGHT {
            if self.is_late() {
                return;
            }
            for entry in self.entries(TINY_JOBS) {
                let per_s = self.referee.judge(never_late, || tiny_jobs::run(entry, in_flight));
                self.results.tiny_jobs.entry((in_flight, entry.name)).or_default().push(per_s);
            }
        }
    }

    fn spawning(&mut self) {
        for producers in spawning::PRODUCERS {
            if self.is_late() {
                return;
            }
            for entry in self.entries(SPAWNING) {
                let Some(cost) = self.referee.judge(never_late, || spawning::run(entry, producers)) else {
                    continue;
                };
                self.results.spawning.entry((producers, entry.name)).or_default().push(cost);
            }
        }
    }

    fn probes(&mut self) {
        if self.is_late() {
            return;
        }
        let seed = self.seed();
        for entry in self.entries(PROBE) {
            let probed = self.referee.judge(Probed::is_mostly_disturbed, || probe::run(entry, seed));
            self.results.probes.entry(entry.name).or_default().push(probed);
        }
    }

    fn fairness(&mut self) {
        if self.is_late() {
            return;
        }
        let seed = self.seed();
        let mut settings = Setting::ALL;
        settings.shuffle(&mut self.chance);
        for setting in settings {
            let late = |shared: &Shared| shared.pacer_late_p99_us > LATE_US;
            let shared = self.referee.judge(late, || fairness::run(setting, seed));
            self.results.fairness.entry(setting).or_default().push(shared);
        }
    }

    fn open_loops(&mut self) {
        let seed = self.seed();
        for results in &mut self.results.cells {
            if Instant::now() >= self.deadline {
                return;
            }
            let cell = results.cell;
            let trace = open_loop::trace(cell, results.capacity_per_s, seed);
            let ideal = open_loop::ideal(&trace, Discipline::FirstCome);
            let floor = open_loop::ideal(&trace, Discipline::ShortestRemaining);
            results.ideal.push(open_loop::times(cell, &trace, &ideal, |_| true));
            results.floor.push(open_loop::times(cell, &trace, &floor, |_| true));
            let mut order: Vec<_> = (0..results.series.len()).collect();
            order.shuffle(&mut self.chance);
            for index in order {
                let participant = results.series[index].participant;
                let does_not_count =
                    |outcome: &Outcome| outcome.pacer_late_p99_us > LATE_US || outcome.is_void();
                let run = || open_loop::run(cell, participant, &trace, &ideal);
                let outcome = self.referee.judge(does_not_count, run);
                results.series[index].rounds.push(outcome);
            }
        }
    }

    /// Whether the time is over: what has not begun is left out of this round, for everybody.
    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Another trace each round.
    fn seed(&self) -> u64 {
        SEED + self.results.rounds as u64
    }
}

/// Of what has no pacer.
fn never_late<T>(_: &T) -> bool {
    false
}
