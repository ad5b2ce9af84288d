//! `millstream process`: files through one stream, and what became of them.
//!
//! ```text
//!            a place in the window            request order, or as finished
//! files ─► feed (reads lazily) ─► stream ─► server ─► stream ─► answers ─► results, report
//!              ▲                                                   │
//!              └──────────── the place is free again ◄─────────────┘
//! ```
//! - **Bounded**: a file is read when it has a place in the window, which has so many places and
//!   so many bytes; it leaves with its answer. Memory is the window, however many files there are.
//! - **One fate each**: a file that cannot be read, is refused or fails is named with its reason; the others go on.
//! - **A stream that breaks** takes the answers of all that was on it along, and does not say which message broke it.
//!   The files that had no answer are then sent one at a time, each on a stream of its own: operations have no
//!   effects, so asking twice is harmless. Whichever breaks its stream again is the culprit, or the server is gone.
//! - **Embedded**: without `--server` the real server runs in this process, on a free port of the loopback
//!   interface, and is talked to by the real client.

mod embedded;
mod passage;
mod plan;
mod report;
mod results;

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    path::PathBuf,
};

use anyhow::Context;
use clap::ValueEnum;
use tonic::{Code, transport::Channel};

use self::{
    embedded::Embedded,
    passage::{Ended, Passage},
    plan::Plan,
    report::Report,
};
use super::{
    BadUsage, Exit, client,
    config_flags::{ConfigFlags, ServerFlags, key_and_value},
};
use crate::grpc::proto::{ListOperationsRequest, data_plane_client::DataPlaneClient};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to do with each file: digest, compress, decompress, thumbnail, validate, echo.
    operation: String,
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Ask this server, such as http://127.0.0.1:50051; without it, one in this process.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "preset", "settings"])]
    server: Option<String>,
    /// Write the results into this directory. Files there are replaced, inputs never. What a run leaves behind that is
    /// killed while it writes a result is called .millstream-PID-N.part, and may be removed.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// A parameter of the operation, such as level=19.
    #[arg(long = "param", value_name = "K=V", value_parser = key_and_value)]
    parameters: Vec<(String, String)>,
    /// In which order results come back.
    #[arg(long, value_enum, default_value = "request")]
    order: Order,
    #[command(flatten)]
    config: ConfigFlags,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    /// As the files were given.
    Request,
    /// As they are finished.
    Completion,
}

impl Order {
    fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Completion => "completion",
        }
    }
}

impl Args {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let Some(url) = &self.server else {
            let sections = self.config.load(&ServerFlags::default())?.sections;
            let limit = sections.server.transport.max_message_size;
            let embedded = Embedded::start(sections).await?;
            let client = client::connect(&embedded.url()).await?;
            let exit = process(&self, client, Some(limit)).await;
            embedded.stop().await?;
            return exit;
        };
        process(&self, client::connect(url).await?, None).await
    }
}

/// Sends the files, and tells what became of them. `limit` is the largest message that the server takes, if known.
async fn process(
    args: &Args,
    mut client: DataPlaneClient<Channel>,
    limit: Option<usize>,
) -> anyhow::Result<Exit> {
    let parameters: HashMap<String, String> = args.parameters.iter().cloned().collect();
    let known =
        client.list_operations(ListOperationsRequest {}).await.context("cannot list the operations")?;
    let known = known.into_inner().operations;
    let operation = known.iter().find(|operation| operation.name == args.operation).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|operation| operation.name.as_str()).collect();
        BadUsage::new(format_args!(
            "there is no operation `{}`; this server has {}",
            args.operation,
            names.join(", ")
        ))
    })?;
    let plan = Plan::new(operation, parameters, &args.files, args.output.as_deref())?;
    let report = RefCell::new(Report::begin(plan.inputs.len()));
    let passage = Passage { client, plan: &plan, report: &report, order: args.order.as_str(), limit };

    let mut waiting: VecDeque<usize> = (0..args.files.len()).collect();
    let mut suspects = VecDeque::new();
    loop {
        let (batch, alone) = match suspects.pop_front() {
            Some(suspect) => (VecDeque::from([suspect]), true),
            None if waiting.is_empty() => break,
            None => (std::mem::take(&mut waiting), false),
        };
        let sent = batch.len();
        match passage.send(batch).await? {
            Ended::WithAllAnswers => {}
            Ended::Broken { status, unanswered, unsent } => {
                let gone = status.code() == Code::Unavailable;
                let stuck = unanswered.is_empty() && unsent.len() == sent;
                if alone || unanswered.len() == 1 && !gone {
                    report.borrow_mut().failed_all(&plan, unanswered, &status);
                } else {
                    suspects.extend(unanswered);
                }
                if stuck {
                    // The server does not take the stream at all: it will not take the next one either.
                    report.borrow_mut().failed_all(&plan, unsent, &status);
                } else {
                    waiting.extend(unsent);
                }
            }
        }
    }
    let mut report = report.into_inner();
    report.end(plan.stdout_has_digests())?;
    Ok(if report.failed > 0 { Exit::Failed } else { Exit::Done })
}
