//! What the parts of a hand-off cost, each beside what one would have taken instead.
//!
//! `cargo bench --bench primitives -- [--quick] [--json FILE]`. A [`room`] asks a question and measures it; what it says
//! is printed as sentences, and so is what was to be reached. The whole hand-off, made of these parts, is measured by `tail_latency`.

mod checkpoint;
mod completion;
mod goals;
mod histogram;
mod parking;
mod pool;
mod queue;
mod room;
mod speed;

// Not all of what the benches share: the rest is about caches.
#[path = "../common/arguments.rs"]
mod arguments;
#[allow(dead_code, reason = "everything here is to be at most so much")]
#[path = "../common/goal.rs"]
mod goal;
#[path = "../common/words.rs"]
#[allow(dead_code, reason = "figures are said, and no times")]
mod words;

use arguments::Arguments;
use room::{Effort, Room};
use serde_json::json;

/// In the order of a message's way.
const ROOMS: &[Room] =
    &[queue::ROOM, parking::ROOM, checkpoint::ROOM, pool::ROOM, histogram::ROOM, completion::ROOM];

fn main() {
    let arguments = Arguments::of_this_process();
    let effort = Effort::new(arguments.quick);
    let (mut parts, mut measured) = (Vec::new(), Vec::new());
    for room in ROOMS {
        println!("{}", room.question);
        let measures = (room.measure)(&effort);
        for measure in &measures {
            println!("{}", measure.sentences());
        }
        println!();
        parts.push(json!({ "name": room.name, "question": room.question, "measures": measures }));
        measured.push((room.name, measures));
    }
    let goals = goals::judge(&measured);
    println!("What was to be reached:");
    goals.iter().for_each(|goal| println!("{goal}"));
    arguments.write(&json!({ "rounds": effort.rounds, "parts": parts, "goals": goals }));
}
