//! Nobody waits for a thread that is stopped at an arbitrary instruction: the freeze bench, cut short. The bench itself
//! says how close it really is.
//!
//! What is judged is how many pauses stalled somebody beside how many pauses of the control did, which are taken in turn
//! with them and hold nothing: whatever else the machine has to do raises both. That they differ by chance is allowed for,
//! and who seems to stall others is looked at again before it is said.
#![allow(missing_docs)]

#[path = "../../benches/freeze/flights.rs"]
mod flights;
#[path = "../../benches/freeze/histograms.rs"]
mod histograms;
#[path = "../../benches/freeze/pause.rs"]
mod pause;
#[path = "../../benches/freeze/pools.rs"]
mod pools;
#[path = "../../benches/freeze/queues.rs"]
mod queues;
#[path = "../../benches/freeze/rig.rs"]
mod rig;
#[path = "../../benches/freeze/run_delay.rs"]
mod run_delay;

use std::{collections::BTreeMap, hint::black_box};

use parking_lot::Mutex;
use pause::Aim;
use rig::{Kind, Progress, Rig, Row};

/// Pauses of each sort for a structure, in one round.
const INJECTIONS: usize = 30;
/// Rounds until it is said that a structure stalls others, or that a lock does not.
const ROUNDS: usize = 4;
/// What two counts may differ by if they are of the same thing, in standard deviations of their difference: once in a thousand
/// times it is more, and then one looks again.
const CHANCE: f64 = 3.0;
/// The same where it is not looked again: it is more once in a billion times.
const NO_CHANCE: f64 = 6.0;

/// The pauses of one structure that stalled somebody, in all rounds.
#[derive(Debug, Default)]
struct Tally {
    stalls: usize,
    control: usize,
    operations: u64,
}

impl Tally {
    fn add(&mut self, row: &Row) {
        self.stalls += row.stalls;
        self.control += row.control_stalls;
        self.operations += row.operations;
    }

    /// Whether more pauses seem to have stalled somebody than the machine's doing explains.
    fn stalls_others(&self) -> bool {
        self.deviations() > CHANCE
    }

    /// By how much more pauses stalled somebody than those of the control. Counts of rare events vary as their root.
    fn deviations(&self) -> f64 {
        let (stalls, control) = (self.stalls as f64, self.control as f64);
        (stalls - control) / (stalls + control).max(1.0).sqrt()
    }
}

type Tallies = BTreeMap<(&'static str, &'static str), Tally>;

/// Runs a part again and again, until what is wanted is so of all its rows that count, or there were rounds enough.
fn measure(part: fn(usize) -> Vec<Row>, counts: fn(&Row) -> bool, wanted: fn(&Tally) -> bool) -> Tallies {
    let mut tallies = Tallies::new();
    for _ in 0..ROUNDS {
        for row in part(INJECTIONS) {
            println!("{}", row.sentence());
            if counts(&row) {
                tallies.entry((row.kind.name(), row.name)).or_default().add(&row);
            }
        }
        if tallies.values().all(wanted) {
            break;
        }
    }
    tallies
}

#[test]
fn no_part_of_ours_stalls_others_when_a_thread_is_stopped_and_a_lock_would() {
    let mut judged = 0;
    for part in [flights::run, queues::run, pools::run, histograms::run] {
        let ours = measure(part, |row| row.name.starts_with("millstream"), |tally| !tally.stalls_others());
        judged += ours.len();
        for (structure, tally) in ours {
            assert!(tally.operations > 0 && tally.deviations() <= NO_CHANCE, "{structure:?}: {tally:?}");
        }
    }
    assert_eq!(judged, 7, "single flight, two queues at both ends, a pool, a histogram");
    // The rig sees what it is to see.
    for (structure, tally) in measure(locked, |_| true, Tally::stalls_others) {
        assert!(tally.stalls_others(), "{structure:?}: {tally:?}");
    }
}

/// A table behind a lock, which the thread that is stopped holds nearly all the time.
fn locked(injections: usize) -> Vec<Row> {
    let aim = &Aim::default();
    let (hits, inserts) = (&Progress::new(Kind::CacheHit), &Progress::new(Kind::CacheInsert));
    let table = &Mutex::new(BTreeMap::from([(0, 0_u64)]));
    Rig {
        name: "a lock",
        aims: vec![aim],
        loops: vec![
            Box::new(move || {
                let mut table = table.lock();
                for key in 0..1_000 {
                    table.insert(key % 10, key);
                }
                drop(table);
                aim.rest();
            }),
            Box::new(move || {
                black_box(table.lock().get(&0));
                hits.made();
            }),
            Box::new(move || {
                table.lock().insert(0, 1);
                inserts.made();
            }),
        ],
        progress: vec![hits, inserts],
    }
    .run(injections)
}
