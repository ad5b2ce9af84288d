//! Which executor keeps the tail short: millstream beside what users choose today, on the same arrivals, with the
//! theoretical limit beside them.
//!
//! ```sh
//! cargo bench --bench tail_latency -- [--quick] [--json FILE] [--html FILE] [--scenario NAME]...
//! ```
//! - [`contenders`]: who takes part, and how each is used.
//! - [`scenarios`]: which work is offered at which load; [`arrivals`]: how it is paced; [`experiments`]: what is
//!   measured of it.
//! - [`mod@round`]: how often, in which order, and which runs do not count ([`noise`]), and which messages of a run
//!   ([`standstills`], which [`watchers`] notice).
//! - [`goals`]: what millstream is to reach; [`report`]: sentences, JSON, and a page.
//!
//! Figures are medians over rounds. Nothing is compared across machines, or across runs of this bench: what counts are
//! ratios within one run.

mod arrivals;
mod contenders;
mod experiments;
mod goals;
mod options;
mod report;
mod results;
mod round;
mod scenarios;
mod standstills;
mod watchers;
mod work;

// What this bench shares with `grpc_tail`.
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
#[path = "../common/stats.rs"]
mod stats;
#[path = "../common/switches.rs"]
mod switches;
#[path = "../common/words.rs"]
mod words;

use std::process::ExitCode;

use conclusion::conclude;
use options::Options;

fn main() -> ExitCode {
    conclude(Options::parse(std::env::args().skip(1)).and_then(|options| bench(&options)))
}

fn bench(options: &Options) -> Result<(), String> {
    let results = round::run(options);
    let goals = goals::judge(&results);
    let write = |path: &std::path::Path, text: String| {
        std::fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
    };
    let report = report::json::Report::new(&results, goals);
    print!("{}", report::table::render(&report));
    if let Some(path) = &options.json {
        write(path, report.to_json())?;
    }
    if let Some(path) = &options.html {
        write(path, report::html::render(&report))?;
    }
    Ok(())
}
