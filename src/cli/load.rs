//! `millstream load`: the command line of the load generator.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::ValueEnum;

use super::{BadUsage, Exit, client, config_flags::key_and_value, units};
use crate::{
    Priority,
    load::{self, Arrivals, LoadError, LoadOptions, LoadReport, Order, Payload, WeightedMessage},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server, such as http://127.0.0.1:50051.
    #[arg(long, value_name = "URL")]
    server: String,
    /// What to ask for.
    #[arg(long, value_name = "OP")]
    operation: String,
    /// Messages per second, all streams together.
    #[arg(long, value_name = "PER_S")]
    rate: f64,
    /// Streams at a time.
    #[arg(long, value_name = "N")]
    streams: usize,
    /// HTTP/2 connections that they share; one for 50 streams, if not given.
    #[arg(long, value_name = "N")]
    connections: Option<usize>,
    /// How long messages are sent that count.
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    duration: Duration,
    /// How long messages are sent before that, which do not count.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = units::duration)]
    warm_up: Duration,
    /// How long answers are awaited at the end; 5 s longer than the timeout, or 10 s, if not given.
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    drain: Option<Duration>,
    /// Random bytes in each message.
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = units::size)]
    payload: u64,
    /// The bytes of this file in each message instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["payload", "distinct_payloads"])]
    payload_file: Option<PathBuf>,
    /// Draw from so many random payloads, for a server that caches; if not given, no two are the same.
    #[arg(long, value_name = "N")]
    distinct_payloads: Option<u64>,
    /// A parameter of the operation, such as level=19.
    #[arg(long = "param", value_name = "K=V", value_parser = key_and_value)]
    parameters: Vec<(String, String)>,
    /// How long an answer is of use: the server is told, and goodput counts what was in time.
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    timeout: Option<Duration>,
    /// Which of two waiting messages is served first.
    #[arg(long, value_enum, default_value = "normal")]
    priority: PriorityFlag,
    /// Ask the server to leave its cache out of it.
    #[arg(long)]
    no_cache: bool,
    /// How messages are spaced.
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: ArrivalsFlag,
    /// The order in which the streams want their answers.
    #[arg(long, value_enum, default_value = "request")]
    order: OrderFlag,
    /// Repeat the arrivals and payloads of an earlier run; its report names the seed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write the report into this file as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PriorityFlag {
    Low,
    Normal,
    High,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ArrivalsFlag {
    /// Independent clients.
    Poisson,
    /// Evenly paced.
    Constant,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OrderFlag {
    /// As they were asked for.
    Request,
    /// As they are finished.
    Completion,
}

impl Args {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let options = self.options()?;
        let report = load::run(options).await.map_err(|error| match error {
            LoadError::Option { .. } | LoadError::Address { .. } => BadUsage::new(error).into(),
            error => anyhow::Error::new(error),
        })?;
        self.tell(&report)?;
        Ok(if report.is_valid() { Exit::Done } else { Exit::Invalid })
    }

    fn options(&self) -> anyhow::Result<LoadOptions> {
        let payload = match &self.payload_file {
            Some(path) => {
                let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                Payload::Fixed(bytes.into())
            }
            None => Payload::Random(usize::try_from(self.payload)?),
        };
        let message = WeightedMessage {
            parameters: self.parameters.iter().cloned().collect(),
            payload,
            priority: match self.priority {
                PriorityFlag::Low => Priority::Low,
                PriorityFlag::Normal => Priority::Normal,
                PriorityFlag::High => Priority::High,
            },
            timeout: self.timeout,
            no_cache: self.no_cache,
            ..WeightedMessage::new(&self.operation)
        };
        let mut options = LoadOptions {
            rate_per_s: self.rate,
            duration: self.duration,
            warm_up: self.warm_up,
            streams: self.streams,
            connections: self.connections,
            arrivals: match self.arrivals {
                ArrivalsFlag::Poisson => Arrivals::Poisson,
                ArrivalsFlag::Constant => Arrivals::Constant,
            },
            order: match self.order {
                OrderFlag::Request => Order::Request,
                OrderFlag::Completion => Order::Completion,
            },
            distinct_payloads: self.distinct_payloads,
            drain: self.drain,
            ..LoadOptions::new(client::complete(&self.server), message)
        };
        if let Some(seed) = self.seed {
            options.seed = seed;
        }
        Ok(options)
    }

    /// To whoever takes it: neither a reader of stdout that has gone away nor a file that cannot be written costs the
    /// figures.
    fn tell(&self, report: &LoadReport) -> anyhow::Result<()> {
        let written = self.json.as_deref().map_or(Ok(()), |path| write_json(path, report));
        let said = write!(io::stdout().lock(), "{report}").context("cannot write to stdout");
        written.and(said)
    }
}

fn write_json(path: &Path, report: &LoadReport) -> anyhow::Result<()> {
    let mut json = serde_json::to_vec_pretty(report)?;
    json.push(b'\n');
    fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
}
