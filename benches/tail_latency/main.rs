//! Which executor keeps the tail short: millstream beside what users choose today, on the same arrivals, with the
//! theoretical limit beside them.
//!
//! ```sh
//! cargo bench --bench tail_latency -- [--quick] [--json FILE] [--html FILE] [--scenario NAME]...
//! ```
//! - [`contenders`]: who takes part, and how each is used.
//! - [`scenarios`]: which work is offered at which load; [`arrivals`]: how it is paced; [`experiments`]: what is
//!   measured of it.
//! - [`mod@round`]: how often, in which order, and which runs do not count ([`noise`]).
//! - [`goals`]: what millstream is to reach; [`report`]: sentences, JSON, and a page.
//!
//! Figures are medians over rounds. Nothing is compared across machines, or across runs of this bench: what counts are
//! ratios within one run.

mod arrivals;
mod clock;
mod contenders;
mod experiments;
mod goals;
mod noise;
mod options;
mod priority;
mod report;
mod results;
mod round;
mod scenarios;
mod stats;
mod work;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| bench(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
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
