//! The report as JSON: what the design document fixes, and more beside it.

use serde::Serialize;

use super::tricks::{Trick, tricks};
use crate::{
    contenders::{entries, workers},
    experiments::{
        fairness::Setting,
        open_loop::{Group, LeftOut, Outcome, QUANTILES, Times},
    },
    goal::Goal,
    goals::{ELSEWHERE, Elsewhere, duels},
    options::CHECKPOINT,
    referee::Validity,
    results::{CellResults, Results, Series, over},
    stats::{Ratio, median},
};

/// The share of disturbed runs from which on the figures are not to be trusted.
const DOUBTFUL: f64 = 0.05;

#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rounds: usize,
    /// Whether few enough runs were disturbed.
    trustworthy: bool,
    validity: Validity,
    /// The share of the messages of all open loops that came around a standstill of a core, and are not in the figures.
    left_out: Option<f64>,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) goals: Vec<Goal>,
    pub(crate) judged_elsewhere: &'static [Elsewhere],
    pub(crate) round_trips: Vec<RoundTripRow>,
    pub(crate) tiny_jobs: Vec<TinyJobsRow>,
    pub(crate) probes: Vec<ProbeRow>,
    pub(crate) spawning: Vec<SpawningRow>,
    pub(crate) fairness: Vec<FairnessRow>,
    /// CPU of an idle pool and an idle processor, as a share of one core.
    idle_cpu: Option<f64>,
    p99_ratios: Vec<RatioRow>,
    pub(crate) tricks: Vec<Trick>,
    pub(crate) contenders: Vec<About>,
}

#[derive(Serialize)]
struct Machine {
    cores: usize,
    kernel: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) what: &'static str,
    pub(crate) checkpoints: bool,
    /// Whether long messages are among short ones.
    pub(crate) is_mixed: bool,
    pub(crate) load: f64,
    pub(crate) offered_per_s: f64,
    pub(crate) ideal: Figures,
    pub(crate) ideal_shortest_remaining: Figures,
    pub(crate) contenders: Vec<Contender>,
    /// `millstream_again` to `millstream`: what differs from 1 here is noise.
    control: Option<Ratio>,
}

/// Medians over rounds, in microseconds.
#[derive(Serialize)]
pub(crate) struct Figures {
    pub(crate) p50_us: f64,
    pub(crate) p95_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    max_us: f64,
    short_p99_us: f64,
    short_p999_us: f64,
    long_p99_us: Option<f64>,
    pub(crate) slowdown_p99_short: f64,
    slowdown_p999_short: f64,
    slowdown_p99_long: Option<f64>,
    pub(crate) curve_us: Vec<f64>,
}

#[derive(Serialize)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    completed: usize,
    lost: usize,
    throughput_per_s: f64,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    pub(crate) p99_us_min: f64,
    pub(crate) p99_us_max: f64,
    pub(crate) p99_of_ideal: f64,
    pub(crate) cpu_beyond_us: f64,
    pub(crate) switches: f64,
    pacer_late_p99_us: f64,
    /// Messages that came around a standstill of a core, and are not in the figures; `null` where nobody watched.
    left_out: Option<usize>,
    pub(crate) left_out_share: Option<f64>,
    /// The figures of all messages, with those.
    of_all: Figures,
}

#[derive(Serialize)]
pub(crate) struct RoundTripRow {
    pub(crate) name: &'static str,
    pub(crate) service_us: u64,
    pub(crate) gap_ms: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

#[derive(Serialize)]
pub(crate) struct TinyJobsRow {
    pub(crate) name: &'static str,
    pub(crate) in_flight: usize,
    pub(crate) jobs_per_s: f64,
}

#[derive(Serialize)]
pub(crate) struct ProbeRow {
    pub(crate) name: &'static str,
    pub(crate) late_p50_us: f64,
    pub(crate) late_p99_us: f64,
    pub(crate) disturbed: f64,
    pub(crate) jobs_per_s: f64,
}

#[derive(Serialize)]
pub(crate) struct FairnessRow {
    pub(crate) setting: Setting,
    pub(crate) light_p50_us: f64,
    pub(crate) light_p99_us: f64,
    pub(crate) heavy_p99_us: Option<f64>,
}

#[derive(Serialize)]
pub(crate) struct SpawningRow {
    pub(crate) name: &'static str,
    pub(crate) producers: usize,
    pub(crate) ns_per_job: f64,
}

#[derive(Serialize)]
struct RatioRow {
    scenario: String,
    load: f64,
    ours: &'static str,
    theirs: &'static str,
    ratio: Ratio,
}

impl Report {
    pub(crate) fn new(results: &Results, goals: Vec<Goal>) -> Self {
        let ratios = ["millstream", "millstream_stream"].into_iter().flat_map(|ours| duels(results, ours));
        let of = |value: Option<f64>| value.unwrap_or(0.0);
        let mut report = Self {
            trustworthy: true,
            machine: Machine { cores: workers().get(), kernel: kernel() },
            rounds: results.rounds,
            validity: results.validity,
            left_out: left_out_share(results.cells.iter().flat_map(|cell| &cell.series)),
            scenarios: results.cells.iter().flat_map(scenarios).collect(),
            goals,
            judged_elsewhere: ELSEWHERE,
            round_trips: results
                .round_trips
                .iter()
                .map(|(&(rhythm, name), rounds)| RoundTripRow {
                    name,
                    service_us: rhythm.service_us,
                    gap_ms: rhythm.gap_ms,
                    p50_us: of(over(rounds, |time| time.p50_us)),
                    p99_us: of(over(rounds, |time| time.p99_us)),
                })
                .collect(),
            tiny_jobs: results
                .tiny_jobs
                .iter()
                .map(|(&(in_flight, name), rounds)| TinyJobsRow {
                    name,
                    in_flight,
                    jobs_per_s: of(over(rounds, |rate| *rate)),
                })
                .collect(),
            probes: results
                .probes
                .iter()
                .map(|(&name, rounds)| ProbeRow {
                    name,
                    late_p50_us: of(over(rounds, |probed| probed.late_p50_us)),
                    late_p99_us: of(over(rounds, |probed| probed.late_p99_us)),
                    disturbed: of(over(rounds, |probed| probed.disturbed)),
                    jobs_per_s: of(over(rounds, |probed| probed.jobs_per_s)),
                })
                .collect(),
            spawning: results
                .spawning
                .iter()
                .map(|(&(producers, name), rounds)| SpawningRow {
                    name,
                    producers,
                    ns_per_job: of(over(rounds, |cost| *cost)),
                })
                .collect(),
            fairness: results
                .fairness
                .iter()
                .map(|(&setting, rounds)| FairnessRow {
                    setting,
                    light_p50_us: of(over(rounds, |shared| shared.light_p50_us)),
                    light_p99_us: of(over(rounds, |shared| shared.light_p99_us)),
                    heavy_p99_us: median(rounds.iter().filter_map(|shared| shared.heavy_p99_us)),
                })
                .collect(),
            idle_cpu: results.idle,
            tricks: tricks(results),
            p99_ratios: ratios
                .map(|duel| RatioRow {
                    scenario: scenario_name(duel.kind, duel.checkpoints),
                    load: duel.load,
                    ours: duel.ours,
                    theirs: duel.theirs,
                    ratio: duel.ratio,
                })
                .collect(),
            contenders: entries().map(|entry| About { name: entry.name, what: entry.what }).collect(),
        };
        report.trustworthy = report.warning().is_none();
        report
    }

    /// Under which circumstances it was measured, as a sentence.
    pub(crate) fn circumstances(&self) -> String {
        let Validity { runs, discarded_noise, discarded_late, .. } = self.validity;
        format!(
            "{} cores, {} rounds, {runs} runs that count; thrown away and run again: {discarded_noise} for CPU time \
             that others took, {discarded_late} for a late pacer or for how little was left of them. Figures are \
             medians over rounds. {}",
            self.machine.cores,
            self.rounds,
            self.standstills()
        )
    }

    /// What of the open loops is left out.
    fn standstills(&self) -> String {
        match self.left_out {
            _ if self.scenarios.is_empty() => String::new(),
            Some(share) => format!(
                "Of the messages of the open loops, {:.1}% came around a standstill of a core, and are left out, \
                 whatever became of them.",
                100.0 * share
            ),
            None => "Nothing is left out of the open loops: nobody watched the cores, which takes real time."
                .to_owned(),
        }
    }

    /// What speaks against believing the figures.
    pub(crate) fn warning(&self) -> Option<String> {
        let Validity { runs, kept_in_spite, .. } = self.validity;
        (kept_in_spite as f64 > DOUBTFUL * runs as f64).then(|| {
            format!(
                "Not to be trusted: {kept_in_spite} of {runs} runs were disturbed each time that they were tried, and \
                 are in the figures. Others use this machine."
            )
        })
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("figures and names are JSON")
    }
}

fn kernel() -> Option<String> {
    Some(std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.trim().to_owned())
}

fn scenario_name(kind: &str, checkpoints: bool) -> String {
    format!("{kind}{}", if checkpoints { CHECKPOINT } else { "" })
}

/// One, or two where the handlers come in two sorts.
fn scenarios(results: &CellResults) -> impl Iterator<Item = Scenario> {
    let cell = results.cell;
    let sorts: &[bool] = if cell.kind.is_mixed() { &[false, true] } else { &[false] };
    sorts.iter().map(move |&checkpoints| Scenario {
        name: scenario_name(cell.kind.name, checkpoints),
        what: cell.kind.what,
        checkpoints,
        is_mixed: cell.kind.is_mixed(),
        load: cell.load,
        offered_per_s: cell.load * results.capacity_per_s,
        ideal: figures(results.ideal.iter()),
        ideal_shortest_remaining: figures(results.floor.iter()),
        contenders: results.table(checkpoints).map(contender).collect(),
        control: control(results),
    })
}

fn control(results: &CellResults) -> Option<Ratio> {
    let (one, again) = (results.series("millstream", false)?, results.series("millstream_again", false)?);
    let pairs = again.rounds.iter().zip(&one.rounds);
    Ratio::of(&pairs.map(|(again, one)| (again.at(0.99), one.at(0.99))).collect::<Vec<_>>())
}

fn left_out_share<'a>(series: impl Iterator<Item = &'a Series>) -> Option<f64> {
    let left_out: Option<Vec<LeftOut>> =
        series.flat_map(|series| &series.rounds).map(|run| run.left_out).collect();
    let left_out = left_out?;
    let sum = |what: fn(&LeftOut) -> usize| left_out.iter().map(what).sum::<usize>();
    Some(sum(|run| run.messages) as f64 / sum(|run| run.of).max(1) as f64)
}

fn figures<'a>(rounds: impl Iterator<Item = &'a Times> + Clone) -> Figures {
    let of = |what: &dyn Fn(&Times) -> f64| median(rounds.clone().map(what)).unwrap_or(0.0);
    let of_long =
        |what: fn(&Group) -> f64| median(rounds.clone().filter_map(|times| times.long.as_ref().map(what)));
    Figures {
        p50_us: of(&|times| times.at(0.5)),
        p95_us: of(&|times| times.at(0.95)),
        p99_us: of(&|times| times.at(0.99)),
        p999_us: of(&|times| times.at(0.999)),
        max_us: of(&|times| times.at(1.0)),
        short_p99_us: of(&|times| times.short.p99_us),
        short_p999_us: of(&|times| times.short.p999_us),
        long_p99_us: of_long(|long| long.p99_us),
        slowdown_p99_short: of(&|times| times.short.slowdown_p99),
        slowdown_p999_short: of(&|times| times.short.slowdown_p999),
        slowdown_p99_long: of_long(|long| long.slowdown_p99),
        curve_us: QUANTILES.iter().map(|&quantile| of(&|times| times.at(quantile))).collect(),
    }
}

fn contender(series: &Series) -> Contender {
    let rounds = &series.rounds;
    let p99s = || rounds.iter().map(|outcome| outcome.at(0.99));
    Contender {
        name: series.participant.entry.name,
        completed: rounds.iter().map(|outcome| outcome.completed).sum(),
        lost: rounds.iter().map(|outcome| outcome.lost).sum(),
        throughput_per_s: over(rounds, |outcome| outcome.throughput_per_s).unwrap_or(0.0),
        figures: figures(rounds.iter().map(|outcome| &outcome.times)),
        p99_us_min: p99s().min_by(f64::total_cmp).unwrap_or(0.0),
        p99_us_max: p99s().max_by(f64::total_cmp).unwrap_or(0.0),
        p99_of_ideal: over(rounds, Outcome::p99_of_ideal).unwrap_or(0.0),
        cpu_beyond_us: over(rounds, |outcome| outcome.cpu_beyond_us).unwrap_or(0.0),
        switches: over(rounds, |outcome| outcome.switches).unwrap_or(0.0),
        pacer_late_p99_us: over(rounds, |outcome| outcome.pacer_late_p99_us).unwrap_or(0.0),
        left_out: rounds.iter().map(|outcome| Some(outcome.left_out?.messages)).sum(),
        left_out_share: left_out_share(std::iter::once(series)),
        of_all: figures(rounds.iter().map(|outcome| &outcome.of_all)),
    }
}
