//! What the parts of a hand-off cost, each beside what one would have taken instead.
//!
//! `cargo bench --bench primitives -- [--quick] [--json FILE]`. A [`room`] asks a question and measures it; what it says
//! is printed as sentences. The whole hand-off, made of these parts, is measured by `tail_latency`.

mod checkpoint;
mod completion;
mod histogram;
mod parking;
mod pool;
mod queue;
mod room;
mod speed;

// Only the arguments of what the benches share: the rest is about caches.
#[path = "../common/arguments.rs"]
mod arguments;

use arguments::Arguments;
use room::{Effort, Room};
use serde_json::json;

/// In the order of a message's way.
const ROOMS: &[Room] =
    &[queue::ROOM, parking::ROOM, checkpoint::ROOM, pool::ROOM, histogram::ROOM, completion::ROOM];

fn main() {
    let arguments = Arguments::of_this_process();
    let effort = Effort::new(arguments.quick);
    let mut parts = Vec::new();
    for room in ROOMS {
        println!("{}", room.question);
        let measures = (room.measure)(&effort);
        for measure in &measures {
            println!("{}", measure.sentences());
        }
        println!();
        parts.push(json!({ "name": room.name, "question": room.question, "measures": measures }));
    }
    arguments.write(&json!({ "rounds": effort.rounds, "parts": parts }));
}
