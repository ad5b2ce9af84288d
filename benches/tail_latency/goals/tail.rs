//! Goals of the tail under load. Where a goal speaks of handlers it is judged on the stream processor, which is what
//! has handlers and their classes; else on `WorkerPool::spawn`. The other one's figures are beside it.

use super::{Goal, Part};
use crate::{
    experiments::open_loop::{Outcome, Times},
    results::{CellResults, Results, Series, over},
    scenarios::{EXPONENTIAL, MIXED},
    stats::Ratio,
};

const POOL: &str = "millstream";
const STREAM: &str = "millstream_stream";
/// The peer that is nothing but a queue in order of arrival.
const FIFO: &str = "channel";

/// Tail ratios count up to this load.
const UP_TO: f64 = 0.8;
/// What "stays within" means for the highest mixed load: times the message's own service time.
const WITHIN: f64 = 10.0;

/// Which messages a figure is of.
type Of = fn(&Outcome) -> &Times;
/// Those that count.
const COUNTED: Of = |outcome| &outcome.times;
const OF_ALL: Of = |outcome| &outcome.of_all;
const WITH_STANDSTILLS: &str = ", of all messages, with the machine's standstills";

pub(super) fn near_the_ideal(results: &Results) -> Goal {
    let of_ideal = |name: &str| {
        let cell = results.cell(EXPONENTIAL, 0.7)?;
        over(&cell.series(name, false)?.rounds, Outcome::p99_of_ideal)
    };
    Goal::new(
        6,
        "exponential 1 ms at 70%: p99 at most 1.25 times ideal FCFS on the same trace",
        vec![
            Part::at_most("p99, of the ideal's", of_ideal(POOL), 1.25),
            Part::at_most("p99 on streams", of_ideal(STREAM), 1.25).informative(),
        ],
    )
}

pub(super) fn short_beside_long(results: &Results) -> Goal {
    let cell = results.cell(MIXED, 0.8);
    let short = |name: &str, checkpoints, of: Of| {
        over(&cell?.series(name, checkpoints)?.rounds, |outcome| of(outcome).short.p99_us)
    };
    let long = |name: &str, checkpoints, of: Of| {
        over(&cell?.series(name, checkpoints)?.rounds, |outcome| {
            of(outcome).long.map_or(f64::NAN, |long| long.p99_us)
        })
    };
    let long_of_fifo = |name: &str, checks, of: Of| Some(long(name, checks, of)? / long(FIFO, false, of)?);
    let parts_of = |name: &str, of: Of, which: &str| {
        let part = |what: &str, figure, bound| Part::at_most(format!("{name}: {what}{which}"), figure, bound);
        [
            part("short p99 in µs, with checkpoints", short(name, true, of), 1000.0),
            part("short p99 in µs, without", short(name, false, of), 1500.0),
            part("long p99, of FIFO's, with", long_of_fifo(name, true, of), 1.4),
            part("long p99, of FIFO's, without", long_of_fifo(name, false, of), 1.4),
        ]
    };
    let parts = |name: &str| parts_of(name, COUNTED, "");
    let with_standstills = parts_of(STREAM, OF_ALL, WITH_STANDSTILLS).map(Part::informative);
    Goal::new(
        7,
        "mixed 0.2/10 ms at 80%: p99 of short messages at most 1 ms with handlers that call checkpoint(), at most \
         1.5 ms with handlers that never do, long ones' p99 at most 1.4 times FIFO's",
        parts(STREAM).into_iter().chain(with_standstills).chain(parts(POOL).map(Part::informative)).collect(),
    )
}

pub(super) fn highest_mixed_load(results: &Results) -> Goal {
    let part_of = |name: &'static str, checkpoints, of: Of, which: &str| {
        let how = if checkpoints { "with" } else { "without" };
        Part::at_least(
            format!("{name}: highest load tested, {how} checkpoints{which}"),
            highest_load(results, name, checkpoints, of),
            0.75,
        )
    };
    let part = |name, checkpoints| part_of(name, checkpoints, COUNTED, "");
    Goal::new(
        8,
        "the highest mixed load at which short p99.9 stays within 10 times and long p99 within 10 times its own \
         service time: at least 0.75",
        vec![
            part(STREAM, true),
            part(STREAM, false).informative(),
            part_of(STREAM, true, OF_ALL, WITH_STANDSTILLS).informative(),
            part_of(STREAM, false, OF_ALL, WITH_STANDSTILLS).informative(),
            part(POOL, true).informative(),
            part(FIFO, false).informative(),
        ],
    )
}

/// The highest load tested at which the slowdowns stay within their bound, as they do at all lower ones; 0 where they do
/// at none.
fn highest_load(results: &Results, name: &str, checkpoints: bool, of: Of) -> Option<f64> {
    let mut cells: Vec<_> = results.cells.iter().filter(|cell| cell.cell.kind.name == MIXED).collect();
    cells.sort_by(|one, other| one.cell.load.total_cmp(&other.cell.load));
    let stays_within = |cell: &&&CellResults| {
        let rounds = |series: &Series| {
            let short = over(&series.rounds, |outcome| of(outcome).short.slowdown_p999)?;
            let long =
                over(&series.rounds, |outcome| of(outcome).long.map_or(f64::NAN, |long| long.slowdown_p99))?;
            Some(short <= WITHIN && long <= WITHIN)
        };
        cell.series(name, checkpoints).and_then(rounds).unwrap_or(false)
    };
    cells.first()?;
    Some(cells.iter().take_while(stays_within).last().map_or(0.0, |cell| cell.cell.load))
}

/// One comparison with a peer.
pub(crate) struct Duel {
    pub(crate) kind: &'static str,
    pub(crate) load: f64,
    pub(crate) ours: &'static str,
    pub(crate) checkpoints: bool,
    pub(crate) theirs: &'static str,
    pub(crate) ratio: Ratio,
}

/// The ratio of p99 to each peer in each cell up to 80% load.
pub(crate) fn duels(results: &Results, ours: &'static str) -> Vec<Duel> {
    let cells = results.cells.iter().filter(|cell| cell.cell.load <= UP_TO);
    let mut duels = Vec::new();
    for cell in cells {
        for checkpoints in [false, true] {
            let Some(series) = cell.series(ours, checkpoints) else { continue };
            for peer in cell.peers() {
                let p99s = series.rounds.iter().zip(&peer.rounds);
                let pairs: Vec<_> = p99s.map(|(ours, theirs)| (ours.at(0.99), theirs.at(0.99))).collect();
                let Some(ratio) = Ratio::of(&pairs) else { continue };
                let (kind, load) = (cell.cell.kind.name, cell.cell.load);
                duels.push(Duel {
                    kind,
                    load,
                    ours,
                    checkpoints,
                    theirs: peer.participant.entry.name,
                    ratio,
                });
            }
        }
    }
    duels
}

pub(super) fn ahead_of_every_peer(results: &Results) -> Goal {
    let part = |ours| {
        let duels = duels(results, ours);
        let lost = duels.iter().filter(|duel| duel.ratio.high >= 1.0).count();
        let worst = duels.iter().max_by(|one, other| one.ratio.high.total_cmp(&other.ratio.high));
        let what = match worst {
            Some(Duel { kind, load, theirs, .. }) => {
                format!(
                    "{ours}: upper bound of the worst ratio, to {theirs} in {kind} at {load}; {lost} of {} not below",
                    duels.len()
                )
            }
            None => format!("{ours}: upper bound of the worst ratio"),
        };
        Part::below(what, worst.map(|duel| duel.ratio.high), 1.0)
    };
    Goal::new(
        9,
        "every scenario up to 80% load: upper 95% bound of the p99 ratio to each peer below 1",
        vec![part(POOL), part(STREAM).informative()],
    )
}
