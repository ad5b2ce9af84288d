//! What a thread that is stopped for 5 ms, at an instruction nobody chose, costs the others: for every structure on the
//! hot path, and for the crates that one would have taken instead.
//!
//! `cargo bench --bench freeze -- [--quick] [--json FILE]`. A structure that is really lock-free stalls nobody: its
//! stalls are those of the control (see [`rig`]), which are the machine's.

#[path = "../common/mod.rs"]
mod common;

mod caches;
mod flights;
mod histograms;
mod pause;
mod pools;
mod queues;
mod rig;
mod run_delay;

use common::arguments::Arguments;
use rig::Row;
use serde_json::{Value, json};

/// Pauses of each sort for a structure, and in the quick form.
const INJECTIONS: usize = 400;
const INJECTIONS_QUICK: usize = 60;

fn main() {
    let arguments = Arguments::of_this_process();
    let injections = if arguments.quick { INJECTIONS_QUICK } else { INJECTIONS };
    println!(
        "One thread is stopped for {} ms, {injections} times at an arbitrary instruction and as often between two \
         operations (the control). A stall is a gap of 1 ms or more, within the pause, in what another thread does.\n",
        pause::PAUSE_MS
    );
    let mut rows = Vec::new();
    for part in [caches::run, flights::run, queues::run, pools::run, histograms::run] {
        let measured = part(injections);
        measured.iter().for_each(|row| println!("{}", row.sentence()));
        println!();
        rows.extend(measured);
    }
    let structures: Vec<Value> = rows.iter().map(figures).collect();
    let goals = caches::judge(&rows);
    goals.iter().for_each(|goal| println!("{goal}"));
    arguments.write(&json!({ "freeze_ms": pause::PAUSE_MS, "structures": structures, "goals": goals }));
}

fn figures(row: &Row) -> Value {
    json!({
        "name": row.name,
        "kind": row.kind.name(),
        "injections": row.injections,
        "stalls": row.stalls,
        "longest_ms": row.longest_ms,
        "operations": row.operations,
        "control_stalls": row.control_stalls,
    })
}
