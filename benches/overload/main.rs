//! What a plane does when more comes than it can do: how much it still does in time, how soon it is well again, and what
//! that costs.
//!
//! ```sh
//! cargo bench --features cli --bench overload -- [--quick] [--json FILE]
//! ```
//! - [`plant`]: a plane in this process, whose messages burn CPU time, exponentially distributed around a millisecond.
//! - [`offer`]: an open loop: arrivals come as they are due, whatever becomes of those before.
//! - [`experiments`]: load above the capacity; [`recovery`]: after it; [`expiry`]: deadlines while all workers are busy.
//! - [`refusals`]: what it costs to say no.
//! - [`memory`]: the server ([`server`]), with more payload than it may hold, and more than it can do.
//! - [`floods`]: hostile frames on one connection, and the clients of the others.
//! - [`goals`]: what is to be reached.
//!
//! Beside naive servers, over gRPC, the bench `grpc_tail` measures the same overload.

mod experiments;
mod expiry;
mod figures;
mod floods;
mod goals;
mod memory;
mod offer;
mod plant;
mod recovery;
mod refusals;
mod server;

#[path = "../common/arguments.rs"]
mod arguments;
#[path = "../common/children.rs"]
mod children;
#[path = "../common/clock.rs"]
mod clock;
#[path = "../common/conclusion.rs"]
mod conclusion;
#[path = "../common/foreign.rs"]
mod foreign;
#[path = "../common/goal.rs"]
mod goal;
#[path = "../common/noise.rs"]
mod noise;
#[path = "../common/priority.rs"]
mod priority;
#[path = "../common/referee.rs"]
mod referee;
#[path = "../common/words.rs"]
mod words;

use std::process::ExitCode;

use serde_json::json;

use arguments::Arguments;
use conclusion::conclude;

fn main() -> ExitCode {
    conclude(run(&Arguments::of_this_process()))
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let capacity_per_s = experiments::capacity();
    println!("The capacity is {capacity_per_s:.0} messages a second, of a millisecond in the mean.");
    let loads = experiments::loads(capacity_per_s, arguments.quick);
    loads.iter().for_each(|load| println!("{load}"));
    let recoveries = recovery::recoveries(capacity_per_s, arguments.quick);
    recoveries.iter().for_each(|recovery| println!("{recovery}"));
    let expired = expiry::measure();
    println!("{expired}");
    let memory = memory::measure(arguments.quick)?;
    println!("{memory}");
    let alone = refusals::measure();
    println!("{alone}");
    let refusals = memory::refusals(arguments.quick)?;
    println!("{refusals}");
    let floods = floods::measure(arguments.quick)?;
    floods.iter().for_each(|flood| println!("{flood}"));
    let goals = goals::judge(&loads, &recoveries, &expired, &memory, &alone, &refusals, &floods);
    println!("\nWhat was to be reached:");
    goals.iter().for_each(|goal| println!("{goal}"));
    arguments.write(&json!({
        "capacity_per_s": capacity_per_s,
        "loads": loads,
        "recoveries": recoveries,
        "expiry": expired,
        "memory": memory,
        "refusal_alone": alone,
        "refusals": refusals,
        "floods": floods,
        "goals": goals,
    }));
    Ok(())
}
