//! The command line.

use std::{path::PathBuf, time::Duration};

use crate::scenarios::KINDS;

const USAGE: &str = "usage: cargo bench --bench tail_latency -- [--quick] [--json FILE] [--html FILE] \
                     [--scenario NAME]...";

/// What stands behind a kind's name where its handlers call `checkpoint()`.
pub(crate) const CHECKPOINT: &str = "_checkpoint";

pub(crate) const ROUND_TRIP: &str = "round_trip";
pub(crate) const TINY_JOBS: &str = "tiny_jobs";
pub(crate) const PROBE: &str = "probe";
pub(crate) const SPAWNING: &str = "spawning";
pub(crate) const IDLE: &str = "idle";
pub(crate) const FAIRNESS: &str = "fairness";

/// What to measure, and where to write it.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
    /// Empty: all.
    scenarios: Vec<String>,
}

impl Options {
    /// # Errors
    /// What is wrong with them, and what would be right.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` wants a value\n{USAGE}"));
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--json" => options.json = Some(value()?.into()),
                "--html" => options.html = Some(value()?.into()),
                "--scenario" => options.scenarios.push(known(value()?)?),
                // What cargo itself passes.
                "--bench" => {}
                _ => return Err(format!("`{argument}` is not known\n{USAGE}")),
            }
        }
        Ok(options)
    }

    /// Whether this scenario is to be run; that of a kind runs both sorts of handlers.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let matches = |wanted: &String| wanted == name || wanted.strip_suffix(CHECKPOINT) == Some(name);
        self.scenarios.is_empty() || self.scenarios.iter().any(matches)
    }

    /// Rounds to run where time allows.
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 3 } else { 5 }
    }

    /// What has not begun by then is left out: some way below 5 and 25 minutes, since the last run takes its time.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(if self.quick { 275 } else { 23 * 60 })
    }
}

fn known(name: String) -> Result<String, String> {
    let mut names: Vec<String> =
        [ROUND_TRIP, TINY_JOBS, PROBE, SPAWNING, IDLE, FAIRNESS].map(str::to_owned).into();
    for kind in KINDS {
        names.push(kind.name.to_owned());
        if kind.is_mixed() {
            names.push(format!("{}{CHECKPOINT}", kind.name));
        }
    }
    if names.contains(&name) {
        return Ok(name);
    }
    Err(format!("there is no scenario `{name}`; there are {}", names.join(", ")))
}
