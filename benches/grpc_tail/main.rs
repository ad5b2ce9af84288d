//! Whose answers are in time, end to end over gRPC: `millstream serve` beside servers that one writes with tonic in an
//! afternoon.
//!
//! ```sh
//! cargo bench --features cli --bench grpc_tail -- [--quick] [--json FILE]
//! ```
//! ```text
//!  this process ── starts ──▶ a server (`millstream serve`, or itself as one of `naive`)
//!       │                        ▲ 127.0.0.1
//!       └───── starts ──▶ itself as the load generator, in real time
//! ```
//! - [`contenders`]: who serves; [`naive`]: what the others are.
//! - [`scenarios`]: what is offered; [`generator`]: by whom.
//! - [`round`]: how often, in which order, and which runs do not count.
//! - [`goals`]: what millstream is to reach; [`report`]: sentences and JSON.
//!
//! All share the cores of one machine, the generator at a priority that takes what it needs first, as if it were
//! elsewhere. Figures are medians over rounds, and only ratios within one run say something.

mod contenders;
mod generator;
mod goals;
mod naive;
mod report;
mod results;
mod round;
mod scenarios;

#[path = "../common/arguments.rs"]
mod arguments;
#[path = "../common/children.rs"]
mod children;
#[path = "../common/clock.rs"]
mod clock;
#[path = "../common/conclusion.rs"]
mod conclusion;
#[path = "../common/goal.rs"]
mod goal;
#[path = "../common/noise.rs"]
mod noise;
#[path = "../common/priority.rs"]
mod priority;
#[path = "../common/referee.rs"]
mod referee;
#[path = "../common/served.rs"]
mod served;
#[path = "../common/stats.rs"]
mod stats;
#[path = "../common/words.rs"]
mod words;

use std::{env, process::ExitCode};

use arguments::Arguments;
use conclusion::conclude;

fn main() -> ExitCode {
    let mut words = env::args().skip(1);
    conclude(match (words.next().as_deref(), words.next()) {
        (Some(naive::ARGUMENT), Some(how)) => naive::serve(&how),
        (Some(generator::ARGUMENT), Some(offer)) => generator::offer(&offer),
        _ => bench(&Arguments::of_this_process()),
    })
}

fn bench(arguments: &Arguments) -> Result<(), String> {
    let results = round::run(arguments.quick)?;
    let goals = goals::judge(&results);
    print!("{}", report::sentences(&results, &goals));
    arguments.write(&report::json(&results, &goals));
    Ok(())
}
