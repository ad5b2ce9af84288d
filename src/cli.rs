//! The tool `millstream`: thin commands over the library.
//!
//! What a command has to say goes to stdout, talk about it (logs, progress, failures) to stderr. How it ended is one
//! of four [`Exit`] codes. Logs are chosen by `MILLSTREAM_LOG`, in the syntax of
//! [`EnvFilter`](tracing_subscriber::EnvFilter): `info`, `warn,millstream=debug`.

mod client;
mod config;
mod config_command;
mod config_flags;
mod load;
mod logs;
mod plane;
mod process;
mod serve;
mod signals;
mod top;
mod units;

use std::{fmt::Display, process::ExitCode};

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use self::{config::BadConfiguration, logs::Logs};

/// How a run of the tool ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All was done.
    Done = 0,
    /// Something of it failed; stderr says what.
    Failed = 1,
    /// The command line, or the configuration, cannot be right; nothing was done.
    Usage = 2,
    /// What was measured says nothing, since the measuring itself fell behind.
    Invalid = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A data plane for CPU-heavy gRPC services.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 measurement not valid.
MILLSTREAM_LOG says what is logged, such as `debug`; every setting can be given as MILLSTREAM_<KEY>.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve millstream.v1.DataPlane until SIGINT or SIGTERM.
    Serve(serve::Args),
    /// Stream files through an operation.
    Process(process::Args),
    /// Offer load to a server on a fixed schedule, and measure how it is answered.
    Load(load::Args),
    /// Show what a server is doing.
    Top(top::Args),
    /// Show or check the configuration.
    #[command(subcommand)]
    Config(config_command::Command),
}

/// A command line that clap cannot see to be wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadUsage(String);

impl BadUsage {
    fn new(message: impl Display) -> Self {
        Self(message.to_string())
    }
}

/// Runs the tool on the arguments of the process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = match run(cli.command) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("millstream: {error:#}");
            let usage = error.is::<BadUsage>() || error.is::<BadConfiguration>();
            if usage { Exit::Usage } else { Exit::Failed }
        }
    };
    exit.into()
}

fn run(command: Command) -> anyhow::Result<Exit> {
    let _logs = Logs::to_stderr(if matches!(command, Command::Serve(_)) { "info" } else { "warn" })?;
    match command {
        Command::Config(command) => command.run(),
        Command::Serve(args) => args.run(),
        Command::Process(args) => on_runtime(Builder::new_multi_thread(), args.run()),
        Command::Load(args) => on_runtime(Builder::new_multi_thread(), args.run()),
        Command::Top(args) => on_runtime(Builder::new_multi_thread(), args.run()),
    }
}

/// What is left on the runtime when a command has ended (connections of peers that never leave, a worker that is
/// stuck) ends with the process: nobody waits for it.
fn on_runtime(
    mut runtime: Builder,
    command: impl Future<Output = anyhow::Result<Exit>>,
) -> anyhow::Result<Exit> {
    let runtime = runtime.enable_all().build()?;
    let exit = runtime.block_on(command);
    runtime.shutdown_background();
    exit
}
