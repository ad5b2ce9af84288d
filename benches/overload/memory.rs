//! What the server holds when it is sent more than it may hold, and what it costs it to say no.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::server::Server;

const MIB: f64 = (1 << 20) as f64;
/// Bytes that may be in flight.
const BUDGET: u64 = 64 << 20;
/// What the work of a message takes, so that its capacity leaves the generator time for the bytes.
const BUSY_MS: f64 = 4.0;

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
