//! What became of the files: progress while they are under way, a table at the end.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use tonic::Status;

use super::plan::Plan;
use crate::{cli::units, grpc::proto::Timing};

/// Nanoseconds of the longest `worker_timeout`.
const A_DAY: u64 = 24 * 3600 * 1_000_000_000;

/// The bar is drawn on terminals alone, on stderr.
pub(super) struct Report {
    bar: ProgressBar,
    started: Instant,
    pub(super) answered: u64,
    pub(super) failed: u64,
    bytes_in: u64,
    bytes_out: u64,
    cache_hits: u64,
    queue_wait: Histogram<u64>,
    service_time: Histogram<u64>,
}

/// A good answer.
pub(super) struct Answer {
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) cache_hit: bool,
    pub(super) timing: Option<Timing>,
}

impl Report {
    pub(super) fn begin(files: usize) -> Self {
        let bar = if io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {eta} left {msg}")
                .expect("the template is well formed");
            ProgressBar::new(files as u64).with_style(style)
        } else {
            ProgressBar::hidden()
        };
        let histogram = || Histogram::new_with_max(A_DAY, 3).expect("a day is within three digits");
        Self {
            bar,
            started: Instant::now(),
            answered: 0,
            failed: 0,
            bytes_in: 0,
            bytes_out: 0,
            cache_hits: 0,
            queue_wait: histogram(),
            service_time: histogram(),
        }
    }

    pub(super) fn succeeded(&mut self, answer: &Answer) {
        self.answered += 1;
        self.bytes_in += answer.bytes_in;
        self.bytes_out += answer.bytes_out;
        self.cache_hits += u64::from(answer.cache_hit);
        if let Some(Timing { queue_wait, service_time }) = answer.timing {
            let parts = [(&mut self.queue_wait, queue_wait), (&mut self.service_time, service_time)];
            for (histogram, time) in parts {
                let time: Duration = time.and_then(|time| time.try_into().ok()).unwrap_or_default();
                histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
            }
        }
        self.bar.inc(1);
    }

    pub(super) fn failed(&mut self, file: &Path, reason: impl fmt::Display) {
        self.failed += 1;
        self.bar.suspend(|| eprintln!("{}: {reason}", file.display()));
        self.bar.inc(1);
    }

    /// The same for files whose stream broke.
    pub(super) fn failed_all(
        &mut self,
        plan: &Plan,
        files: impl IntoIterator<Item = usize>,
        status: &Status,
    ) {
        for index in files {
            self.failed(&plan.inputs[index], describe(status));
        }
    }

    /// The table, on stdout unless that has the results.
    pub(super) fn end(&mut self, stdout_has_results: bool) -> io::Result<()> {
        self.bar.finish_and_clear();
        let table = self.table(self.started.elapsed());
        if stdout_has_results {
            io::stderr().write_all(table.as_bytes())
        } else {
            io::stdout().write_all(table.as_bytes())
        }
    }

    fn table(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        let files = match self.failed {
            0 => self.answered.to_string(),
            failed => format!("{} ({failed} failed)", self.answered + failed),
        };
        let (bytes_in, bytes_out) = (units::show_bytes(self.bytes_in), units::show_bytes(self.bytes_out));
        let rate = self.answered as f64 / seconds;
        let times = |histogram: &Histogram<u64>| {
            if histogram.is_empty() {
                // Nothing was measured: every answer came from a cache, or without times.
                return format!("{:>10} {:>10} {:>10}", "-", "-", "-");
            }
            let [p50, p95, p99] =
                [0.5, 0.95, 0.99].map(|at| units::show_nanoseconds(histogram.value_at_quantile(at)));
            format!("{p50:>10} {p95:>10} {p99:>10}")
        };
        format!(
            "files         {files}\n\
             bytes         {bytes_in} in, {bytes_out} out\n\
             seconds       {seconds:.3}\n\
             messages/s    {rate:.1}\n\
             cache hits    {}\n\
             {:<13} {:>10} {:>10} {:>10}\n\
             queue wait    {}\n\
             service time  {}\n",
            self.cache_hits,
            "",
            "p50",
            "p95",
            "p99",
            times(&self.queue_wait),
            times(&self.service_time),
        )
    }
}

/// What was said, and the code by its name.
pub(super) fn describe(status: &Status) -> String {
    let code = status.code();
    match status.message() {
        "" => format!("{code:?}"),
        message => format!("{message} ({code:?})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(milliseconds: i32) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds: 0, nanos: milliseconds * 1_000_000 })
    }

    #[test]
    fn the_table_has_every_figure() {
        let mut report = Report::begin(3);
        for cache_hit in [false, true] {
            let timing =
                (!cache_hit).then(|| Timing { queue_wait: milliseconds(1), service_time: milliseconds(20) });
            report.succeeded(&Answer { bytes_in: 1024, bytes_out: 10, cache_hit, timing });
        }
        report.failed(Path::new("c"), "no such file");
        let table = report.table(Duration::from_secs(2));
        for row in [
            "files         3 (1 failed)",
            "bytes         2.0 KiB in, 20 B out",
            "seconds       2.000",
            "messages/s    1.0",
            "cache hits    1",
            "queue wait       1.00 ms    1.00 ms    1.00 ms",
            "service time     20.0 ms    20.0 ms    20.0 ms",
        ] {
            assert!(table.lines().any(|line| line == row), "{row}\n{table}");
        }
    }

    #[test]
    fn times_that_were_not_measured_are_not_made_up() {
        let table = Report::begin(0).table(Duration::from_secs(1));
        assert!(table.contains("queue wait             -          -          -\n"), "{table}");
    }
}
