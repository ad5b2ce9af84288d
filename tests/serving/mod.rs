//! The tool as a process of its own, and as a server.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The tool, without what the environment of the tests may say to it.
pub(crate) fn millstream(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MILLSTREAM_") {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true);
    command
}

/// A running `millstream serve`.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) addr: String,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Serving {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::of(&mut millstream(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat())).await
    }

    /// The server that a command starts.
    pub(crate) async fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut serving = Self { child, addr: String::new(), stdout };
        let line = serving.next_line().await;
        serving.addr = line.strip_prefix("listening on ").expect("the line of the contract").to_owned();
        serving
    }

    /// The next line that it says on stdout.
    pub(crate) async fn next_line(&mut self) -> String {
        let line =
            timeout(PATIENCE, self.stdout.next_line()).await.expect("it says where it listens").unwrap();
        line.expect("it says where it listens")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) async fn ended(mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.expect("the server ends").unwrap().code()
    }
}

pub(crate) async fn signal(child: &Child, name: &str) {
    let pid = child.id().expect("the process runs").to_string();
    assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
}
