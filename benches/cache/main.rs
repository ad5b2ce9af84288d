//! How good and how fast is the cache, beside those that one would have taken instead?
//!
//! `cargo bench --bench cache -- [--quick] [--json FILE]` answers three questions: how much memory a budget takes
//! ([`memory`]); what share of look-ups is answered ([`ratio`]); and how many of them there are per second, and how long the
//! slowest take ([`speed`]). The goals that this decides are told at the end.

#[path = "../common/mod.rs"]
mod common;

mod goals;
mod memory;
mod ratio;
mod speed;
mod traces;

use common::arguments::Arguments;
use serde_json::json;

fn main() {
    if memory::was_the_task() {
        return;
    }
    let arguments = Arguments::of_this_process();
    let memory = memory::run(arguments.quick);
    let hit_ratio = ratio::run(arguments.quick);
    let speed = speed::run(arguments.quick);
    let goals = goals::judge(&memory, &hit_ratio, &speed);
    goals.iter().for_each(|goal| println!("{goal}"));
    arguments.write(&json!({ "memory": memory, "hit_ratio": hit_ratio, "speed": speed, "goals": goals }));
}
