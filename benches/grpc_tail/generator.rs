//! The load, offered by a process of its own that is this executable once more.

use std::{
    env,
    process::{Command, Stdio},
    time::Duration,
};

use millstream::load::{self, LoadOptions, Order};
use serde::{Deserialize, Serialize};

use crate::{priority, scenarios::find};

/// Makes this executable the generator.
pub(crate) const ARGUMENT: &str = "--offer";

/// What is offered to whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) scenario: String,
    pub(crate) server: String,
    pub(crate) rate_per_s: f64,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    pub(crate) drain: Duration,
    /// Whether messages carry their deadline.
    pub(crate) deadlines: bool,
    pub(crate) seed: u64,
}

/// What of the generator's report is looked at.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Seen {
    pub(crate) valid: bool,
    pub(crate) sent: u64,
    pub(crate) answered_ok: u64,
    pub(crate) lost: u64,
    pub(crate) goodput_per_s: f64,
    pub(crate) generator_late_p99_us: f64,
    /// Of all cores, which the server has to do without; `None` where the platform does not tell.
    pub(crate) generator_cpu_share: Option<f64>,
    latency: Times,
    labels: Vec<Label>,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub(crate) struct Times {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Label {
    label: String,
    latency: Times,
}

impl Seen {
    /// The times of all good answers, if there were any.
    pub(crate) fn times(&self) -> Option<Times> {
        (self.answered_ok > 0).then_some(self.latency)
    }

    /// The times of the messages with this label.
    pub(crate) fn of(&self, label: &str) -> Option<Times> {
        self.labels.iter().find(|of| of.label == label).map(|of| of.latency)
    }
}

/// Has the load offered, and waits for the report.
pub(crate) fn run(offer: &Offer) -> Result<Seen, String> {
    let this = env::current_exe().map_err(|error| format!("who am I? {error}"))?;
    let words = serde_json::to_string(offer).expect("an offer is JSON");
    let output = Command::new(this).args([ARGUMENT, &words]).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("the generator cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("the generator failed at {words}"));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("the generator's report: {error}"))
}

/// Offers the load as this process, and prints the report as JSON.
pub(crate) fn offer(words: &str) -> Result<(), String> {
    let offer: Offer = serde_json::from_str(words).map_err(|error| error.to_string())?;
    let scenario = find(&offer.scenario).ok_or_else(|| format!("no scenario {}", offer.scenario))?;
    let mut mix = scenario.mix();
    if !offer.deadlines {
        mix.iter_mut().for_each(|message| message.timeout = None);
    }
    let options = LoadOptions {
        rate_per_s: offer.rate_per_s,
        warm_up: offer.warm_up,
        duration: offer.duration,
        drain: Some(offer.drain),
        streams: scenario.streams,
        order: Order::Completion,
        seed: offer.seed,
        ..LoadOptions::new(offer.server, mix[0].clone())
    };
    // The threads of the load inherit it.
    priority::raise();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report =
        runtime.map_err(|error| error.to_string())?.block_on(load::run(LoadOptions { mix, ..options }));
    let report = report.map_err(|error| error.to_string())?;
    println!("{}", serde_json::to_string(&report).expect("a report is JSON"));
    Ok(())
}
