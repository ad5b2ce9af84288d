//! What the server holds when it is sent more than it may hold, and what it costs it to say no.

use std::{
    env, fmt, fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

const MIB: f64 = (1 << 20) as f64;
/// Bytes that may be in flight.
const BUDGET: u64 = 64 << 20;
/// What the work of a message takes, so that its capacity leaves the generator time for the bytes.
const BUSY_MS: f64 = 4.0;

/// `millstream serve`, until this is dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(settings: &[(&str, &str)]) -> Result<Self, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).env("MILLSTREAM_LOG", "error");
        command.envs(settings.iter().copied());
        let child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn();
        let mut child = child.map_err(|error| format!("millstream cannot be started: {error}"))?;
        let stdout = child.stdout.take().expect("it is piped");
        let mut server = Self { child, url: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(|error| format!("millstream: {error}"))?;
        let address = line.trim().strip_prefix("listening on ");
        server.url = format!("http://{}", address.ok_or("millstream does not say where it listens")?);
        Ok(server)
    }

    /// Offers `echo` with this much work to the server, and gives the generator's report.
    fn load(
        &self,
        rate_per_s: f64,
        streams: u32,
        payload: &str,
        busy_ms: f64,
        length: Duration,
    ) -> Result<Value, String> {
        let report = env::temp_dir().join(format!("millstream-overload-{}.json", std::process::id()));
        let done = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .args(["load", "--server", &self.url, "--operation", "echo", "--no-cache"])
            .args(["--rate", &format!("{rate_per_s:.0}"), "--streams", &streams.to_string()])
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
    fn peak(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.map(|kib| kib << 10).ok_or_else(|| format!("{path} does not tell the peak"))
    }

    /// CPU time of all threads but the workers and their supervisor.
    fn io_cpu(&self) -> Result<Duration, String> {
        let path = format!("/proc/{}/task", self.child.id());
        let tasks = fs::read_dir(&path).map_err(|error| format!("{path}: {error}"))?;
        let mut sum = 0;
        for task in tasks.flatten() {
            let read = |what| fs::read_to_string(task.path().join(what)).ok();
            // A thread may just have ended.
            let (Some(name), Some(times)) = (read("comm"), read("schedstat")) else { continue };
            if !name.starts_with("millstream-") {
                sum += times.split_whitespace().next().and_then(|time| time.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(sum))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error: it has ended by itself, which the figures show.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The memory of a server with too much payload.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) budget_bytes: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) offered_bytes_per_s: f64,
    pub(crate) seconds: u64,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "100 streams with payloads of 64 KiB at four times the capacity for {} s, {:.0} MiB a second: the server held \
             {:.0} MiB at most, with max_bytes_in_flight = {:.0} MiB.",
            self.seconds,
            self.offered_bytes_per_s / MIB,
            self.peak_bytes as f64 / MIB,
            self.budget_bytes as f64 / MIB,
        )
    }
}

pub(crate) fn measure(quick: bool) -> Result<Memory, String> {
    let budget = BUDGET.to_string();
    let server = Server::start(&[
        ("MILLSTREAM_MAX_BYTES_IN_FLIGHT", &budget),
        ("MILLSTREAM_WORKER_COUNT", "2"),
        ("MILLSTREAM_MAX_CONCURRENT_CONNECTIONS", "200"),
    ])?;
    let length = Duration::from_secs(if quick { 10 } else { 60 });
    let rate_per_s = 4.0 * 2.0 * 1000.0 / BUSY_MS;
    let report = server.load(rate_per_s, 100, "64KiB", BUSY_MS, length)?;
    let sent = report["sent"].as_f64().unwrap_or(0.0);
    Ok(Memory {
        budget_bytes: BUDGET,
        peak_bytes: server.peak()?,
        offered_bytes_per_s: sent * f64::from(64 << 10) / length.as_secs_f64(),
        seconds: length.as_secs(),
    })
}

/// What it costs the server to refuse.
#[derive(Debug, Serialize)]
pub(crate) struct Refusals {
    pub(crate) refused: f64,
    pub(crate) served: f64,
    /// CPU time of all that are no workers, for each message: receiving it, refusing it, and sending that.
    pub(crate) cpu_us: f64,
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { refused, served, cpu_us } = self;
        write!(
            f,
            "{refused:.0} messages refused and {served:.0} served on streams: {cpu_us:.1} µs of CPU time for each, from the \
             socket to the socket, the workers' aside."
        )
    }
}

pub(crate) fn refusals(quick: bool) -> Result<Refusals, String> {
    let server = Server::start(&[("MILLSTREAM_WORKER_COUNT", "1")])?;
    // Hardly anything can be served of it.
    let length = Duration::from_secs(if quick { 4 } else { 10 });
    let before = server.io_cpu()?;
    let report = server.load(10_000.0, 10, "64", 20.0, length)?;
    let cpu = server.io_cpu()? - before;
    let served = report["answered_ok"].as_f64().unwrap_or(0.0);
    let refused = report["errors"]["RESOURCE_EXHAUSTED"].as_f64().unwrap_or(0.0);
    // The warm-up, a second, is not in the report, and in the CPU time.
    let all = (served + refused) * (length.as_secs_f64() + 1.0) / length.as_secs_f64();
    Ok(Refusals { refused, served, cpu_us: cpu.as_secs_f64() * 1e6 / all })
}
