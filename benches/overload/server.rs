//! `millstream serve` as a process of its own, and `millstream load` on it.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

/// What the system calls the threads that do its I/O.
const IO_THREADS: &str = "millstream-io";

/// `millstream serve`, until this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(settings: &[(&str, &str)]) -> Result<Self, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).env("MILLSTREAM_LOG", "error");
        command.envs(settings.iter().copied());
        let child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn();
        let mut child = child.map_err(|error| format!("millstream cannot be started: {error}"))?;
        let stdout = child.stdout.take().expect("it is piped");
        let mut server = Self { child, address: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(|error| format!("millstream: {error}"))?;
        let address = line.trim().strip_prefix("listening on ");
        server.address = address.ok_or("millstream does not say where it listens")?.to_owned();
        Ok(server)
    }

    /// Offers `echo` with this much work to the server, and gives the generator's report.
    pub(crate) fn load(
        &self,
        rate_per_s: f64,
        streams: u32,
        payload: &str,
        busy_ms: f64,
        length: Duration,
    ) -> Result<Value, String> {
        let report = env::temp_dir().join(format!("millstream-overload-{}.json", std::process::id()));
        let done = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .args([
                "load",
                "--server",
                &format!("http://{}", self.address),
                "--operation",
                "echo",
                "--no-cache",
            ])
            .args(["--rate", &format!("{rate_per_s:.0}"), "--streams", &streams.to_string()])
            // The same messages each time: runs are compared.
            .args(["--seed", "1"])
            .args(["--duration", &format!("{}s", length.as_secs()), "--warm-up", "1s"])
            .args(["--payload", payload, "--param", &format!("busy={busy_ms}ms"), "--timeout", "50ms"])
            .args(["--json", &report.to_string_lossy()])
            .output()
            .map_err(|error| format!("the generator cannot be started: {error}"))?;
        // 3: late itself, which spoils latencies and not what the server holds.
        if !matches!(done.status.code(), Some(0 | 3)) {
            return Err(format!("the generator failed: {}", String::from_utf8_lossy(&done.stderr)));
        }
        let text = fs::read_to_string(&report).map_err(|error| format!("{}: {error}", report.display()))?;
        fs::remove_file(&report).map_err(|error| format!("{}: {error}", report.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", report.display()))
    }

    /// The most that was ever resident, in bytes.
    pub(crate) fn peak(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.map(|kib| kib << 10).ok_or_else(|| format!("{path} does not tell the peak"))
    }

    /// CPU time of all threads but the plane's own (and that of the log): above all, of those that do the server's I/O.
    pub(crate) fn io_cpu(&self) -> Result<Duration, String> {
        let path = format!("/proc/{}/task", self.child.id());
        let tasks = fs::read_dir(&path).map_err(|error| format!("{path}: {error}"))?;
        let (mut sum, mut has_io) = (0, false);
        for task in tasks.flatten() {
            let read = |what| fs::read_to_string(task.path().join(what)).ok();
            // A thread may just have ended.
            let (Some(name), Some(times)) = (read("comm"), read("schedstat")) else { continue };
            let is_io = name.trim_end() == IO_THREADS;
            has_io |= is_io;
            if is_io || !name.starts_with("millstream-") {
                sum += times.split_whitespace().next().and_then(|time| time.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        has_io
            .then_some(Duration::from_nanos(sum))
            .ok_or_else(|| format!("{path}: no thread is called {IO_THREADS}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error: it has ended by itself, which the figures show.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
