//! Who serves, each as a process of its own that lives for one run.

use crate::{
    naive,
    scenarios::DIGEST,
    served::{Served, tool},
};

/// millstream's name among the contenders.
pub(crate) const OURS: &str = "millstream";
/// With every message handed to a worker.
pub(crate) const HANDED_OVER: &str = "millstream_handed_over";

/// One contender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// What it is, for who reads the report.
    pub(crate) what: &'static str,
    /// Settings of millstream.
    settings: &'static [(&'static str, &'static str)],
    /// The one scenario in which it takes part; `None`: all.
    at: Option<&'static str>,
}

const fn naive(name: &'static str, what: &'static str) -> Contender {
    Contender { name, what, settings: &[], at: None }
}

/// All of them.
pub(crate) static CONTENDERS: [Contender; 5] = [
    naive(naive::INLINE, "tonic, the work in the task of the stream"),
    naive(naive::SPAWN_BLOCKING, "tonic, tokio::task::spawn_blocking for each message"),
    naive(naive::RAYON, "tonic, a rayon pool, and a oneshot for each message"),
    Contender { name: OURS, what: "millstream serve, as it comes", settings: &[], at: None },
    Contender {
        name: HANDED_OVER,
        what: "millstream serve, every message handed to a worker",
        settings: &[("MILLSTREAM_IN_PLACE_BUDGET", "0s")],
        at: Some(DIGEST),
    },
];

impl Contender {
    pub(crate) fn is_naive(&self) -> bool {
        self.name != OURS && self.name != HANDED_OVER
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(&self) -> Result<Served, String> {
        let command = if self.is_naive() { naive::command(self.name)? } else { tool(self.settings) };
        Served::start(self.name, command)
    }

    /// Whether it takes part in this scenario.
    pub(crate) fn takes_part(&self, scenario: &str) -> bool {
        self.at.is_none_or(|at| at == scenario)
    }
}
