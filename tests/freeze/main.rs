//! Nobody waits for a thread that is stopped at an arbitrary instruction: the freeze bench, cut short, held to a bound that
//! is wide enough for a machine that others use, too. The bench itself says how close it really is.
#![allow(missing_docs)]

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

/// Pauses of each sort for a structure.
const INJECTIONS: usize = 30;
/// Stalls beyond those of the control that are taken for the machine's. A structure behind a lock that is held most of
/// the time stalls others in nearly every pause, see below.
const NOISE: usize = INJECTIONS / 2;

fn is_ours(row: &Row) -> bool {
    row.name.starts_with("millstream")
}

#[test]
fn no_part_of_ours_stalls_others_when_a_thread_is_stopped_and_a_lock_would() {
    let rows: Vec<Row> =
        [queues::run, pools::run, histograms::run].into_iter().flat_map(|part| part(INJECTIONS)).collect();
    rows.iter().for_each(|row| println!("{}", row.sentence()));
    let ours: Vec<&Row> = rows.iter().filter(|row| is_ours(row)).collect();
    assert_eq!(ours.len(), 6, "two queues at both ends, a pool, a histogram");
    for row in ours {
        assert!(row.operations > 0, "{}", row.sentence());
        assert!(row.stalls <= row.control_stalls + NOISE, "{}", row.sentence());
    }
    // The rig sees what it is to see.
    for row in locked() {
        assert!(row.stalls > NOISE, "{}", row.sentence());
    }
}

/// A table behind a lock, which the thread that is stopped holds nearly all the time.
fn locked() -> Vec<Row> {
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
    .run(INJECTIONS)
}
