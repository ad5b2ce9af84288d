//! Who serves, each as a process of its own that lives for one run.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::naive;

/// millstream's name among the contenders.
pub(crate) const OURS: &str = "millstream";

/// One contender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// What it is, for who reads the report.
    pub(crate) what: &'static str,
}

/// All of them.
pub(crate) static CONTENDERS: [Contender; 4] = [
    Contender { name: naive::INLINE, what: "tonic, the work in the task of the stream" },
    Contender { name: naive::SPAWN_BLOCKING, what: "tonic, tokio::task::spawn_blocking for each message" },
    Contender { name: naive::RAYON, what: "tonic, a rayon pool, and a oneshot for each message" },
    Contender { name: OURS, what: "millstream serve, as it comes" },
];

impl Contender {
    pub(crate) fn is_naive(&self) -> bool {
        self.name != OURS
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(&self) -> Result<Running, String> {
        let mut command = if self.is_naive() {
            let mut this = Command::new(env::current_exe().map_err(|error| format!("who am I? {error}"))?);
            this.args([naive::ARGUMENT, self.name]);
            this
        } else {
            let mut tool = Command::new(env!("CARGO_BIN_EXE_millstream"));
            tool.args(["serve", "--listen", "127.0.0.1:0"]).env("MILLSTREAM_LOG", "error");
            tool
        };
        let child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("{} cannot be started: {error}", self.name))?;
        let mut running = Running { child, address: String::new() };
        let stdout = running.child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(|error| format!("{}: {error}", self.name))?;
        let address = line.trim().strip_prefix("listening on ");
        address
            .ok_or_else(|| format!("{} does not say where it listens", self.name))?
            .clone_into(&mut running.address);
        Ok(running)
    }
}

/// A server that runs until this is dropped.
pub(crate) struct Running {
    child: Child,
    address: String,
}

impl Running {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error: it has ended by itself, and then the load has found nobody.
        self.child.kill().ok();
        // Waiting makes its CPU time known to us, too.
        self.child.wait().ok();
    }
}
