//! What grows with what it carries, and what does not: streams, idle streams, classes, keys.
//!
//! ```sh
//! cargo bench --features cli --bench growth -- [--quick] [--json FILE]
//! ```
//! - [`busy`]: CPU time of `millstream serve` for each message, on one stream and on a thousand, at the same rate.
//! - [`idle`]: what the server holds for a stream on which nothing happens, beside a server that is nothing but tonic.
//! - [`variety`]: the same work in one class and in a thousand, on one key and on a million, in this process.
//! - [`client`]: streams that stay open, and an open loop over them; [`process`]: what a server uses and holds.
//! - [`pairs`]: what both have taken, round by round; [`goals`]: what is to be reached.
//!
//! The naive servers are those of the bench `grpc_tail`.

mod busy;
mod client;
mod goals;
mod idle;
mod pairs;
mod process;
mod variety;
mod work;

#[path = "../common/arguments.rs"]
mod arguments;
#[path = "../common/children.rs"]
mod children;
#[path = "../common/clock.rs"]
mod clock;
#[path = "../common/conclusion.rs"]
mod conclusion;
#[allow(dead_code, reason = "everything here is to be at most so much")]
#[path = "../common/goal.rs"]
mod goal;
#[path = "../grpc_tail/naive.rs"]
mod naive;
#[path = "../common/noise.rs"]
mod noise;
#[path = "../../tests/common/number.rs"]
mod number;
#[path = "../common/referee.rs"]
mod referee;
#[path = "../common/served.rs"]
mod served;
#[path = "../common/stats.rs"]
mod stats;
#[path = "../common/words.rs"]
mod words;

use std::{env, process::ExitCode, time::Duration};

use serde_json::json;

use arguments::Arguments;
use children::own_cpu;
use conclusion::conclude;
use referee::Referee;

/// What may go into runs that are thrown away, and where minutes count.
const WASTE: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(15));

fn main() -> ExitCode {
    let mut words = env::args().skip(1);
    conclude(match (words.next().as_deref(), words.next()) {
        (Some(naive::ARGUMENT), Some(how)) => naive::serve(&how),
        _ => bench(&Arguments::of_this_process()),
    })
}

fn bench(arguments: &Arguments) -> Result<(), String> {
    let quick = arguments.quick;
    let mut referee = Referee::new(own_cpu, if quick { WASTE.1 } else { WASTE.0 });
    let busy = busy::measure(&mut referee, quick)?;
    busy.iter().for_each(|growth| println!("{growth}"));
    let idle = idle::measure()?;
    idle.iter().for_each(|idle| println!("{idle}"));
    let variety = variety::measure(&mut referee, quick);
    variety.iter().for_each(|growth| println!("{growth}"));
    let goals = goals::judge(&busy, &idle, &variety);
    println!("\nWhat was to be reached:");
    goals.iter().for_each(|goal| println!("{goal}"));
    let validity = referee.validity;
    println!(
        "\n{} runs that count; {} were disturbed by others, thrown away and run again; {} were disturbed each time, and \
         are in the figures. Figures are medians over rounds.",
        validity.runs, validity.discarded_noise, validity.kept_in_spite
    );
    arguments.write(&json!({
        "streams": busy,
        "idle": idle,
        "variety": variety,
        "validity": validity,
        "goals": goals,
    }));
    Ok(())
}
