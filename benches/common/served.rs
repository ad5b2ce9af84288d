//! A server that runs as a process of its own.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// A server that runs until this is dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    address: String,
}

/// `millstream serve`, with these settings in its environment.
pub(crate) fn tool(settings: &[(&str, &str)]) -> Command {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_millstream"));
    tool.args(["serve", "--listen", "127.0.0.1:0"]).env("MILLSTREAM_LOG", "error");
    tool.envs(settings.iter().copied());
    tool
}

impl Served {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self, String> {
        let child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("{name} cannot be started: {error}"))?;
        let mut served = Self { child, address: String::new() };
        let stdout = served.child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(|error| format!("{name}: {error}"))?;
        let address = line.trim().strip_prefix("listening on ");
        address
            .ok_or_else(|| format!("{name} does not say where it listens"))?
            .clone_into(&mut served.address);
        Ok(served)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // An error: it has ended by itself, and then the load has found nobody.
        self.child.kill().ok();
        // Waiting makes its CPU time known to us, too.
        self.child.wait().ok();
    }
}
