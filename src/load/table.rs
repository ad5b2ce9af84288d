//! What a run found out, for people: the verdict first, then counts, then percentiles.

use std::fmt;

use super::{Arrivals, LoadReport, Percentiles};

impl fmt::Display for LoadReport {
    /// Some twenty lines, each with its line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reason in &self.invalid_because {
            writeln!(f, "INVALID: {reason}")?;
        }
        self.fmt_counts(f)?;
        self.fmt_latency(f)?;
        if self.labels.len() > 1 {
            self.fmt_labels(f)?;
        }
        self.fmt_generator(f)
    }
}

impl LoadReport {
    fn fmt_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrivals = match self.arrivals {
            Arrivals::Poisson => "Poisson",
            Arrivals::Constant => "evenly paced",
        };
        let Self { offered_per_s, rate_per_s, duration_s, streams, connections, .. } = self;
        writeln!(
            f,
            "offered      {offered_per_s:>10.1} /s  for {duration_s} s ({rate_per_s} /s, {arrivals}) \
             on {} over {}",
            Counted(*streams, "stream"),
            Counted(*connections, "connection")
        )?;
        writeln!(f, "sent         {:>10}", self.sent)?;
        writeln!(f, "answered ok  {:>10}     {} from the cache", self.answered_ok, self.cache_hits)?;
        writeln!(f, "errors       {:>10}", self.failed())?;
        for (code, count) in self.errors.iter().filter(|&(_, &count)| count > 0) {
            let example = self.error_examples.get(code).map_or("", String::as_str);
            writeln!(f, "             {count:>10}     {code}: {example}")?;
        }
        writeln!(f, "lost         {:>10}{}", self.lost, self.lost_note())?;
        writeln!(f, "goodput      {:>10.1} /s", self.goodput_per_s)?;
        let faults = [
            (self.duplicates, "answers to what was answered already"),
            (self.unknown, "answers to what was never asked"),
            (self.streams_failed as u64, "streams failed"),
            (self.streams_cut as u64, "streams were not ended by the server in time"),
        ];
        for (count, what) in faults.into_iter().filter(|&(count, _)| count > 0) {
            writeln!(f, "server fault {count:>10}     {what}")?;
        }
        Ok(())
    }

    fn lost_note(&self) -> String {
        let mut notes = Vec::new();
        if self.lost_in_warm_up > 0 {
            notes.push(format!("{} in the warm-up", self.lost_in_warm_up));
        }
        if self.unsent > 0 {
            notes.push(format!("{} never taken by the server", self.unsent));
        }
        if notes.is_empty() { String::new() } else { format!("     {}", notes.join(", ")) }
    }

    fn fmt_latency(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        writeln!(f, "latency        from the intended send   from the actual send")?;
        if self.answered_ok == 0 {
            return writeln!(f, "               no good answer, no latency");
        }
        let rows = self.latency.rows().into_iter().zip(self.uncorrected_latency.rows());
        for ((name, corrected), (_, uncorrected)) in rows {
            writeln!(f, "{name:<13}  {:>19} ms  {:>18} ms", Millis(corrected), Millis(uncorrected))?;
        }
        Ok(())
    }

    fn fmt_labels(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.labels.iter().map(|label| label.label.len()).max().unwrap_or(0).max("message".len());
        writeln!(f)?;
        let header = ["sent", "ok", "errors", "p50 ms", "p99 ms", "p99.9 ms"];
        write!(f, "{:<width$}", "message")?;
        header.iter().try_for_each(|column| write!(f, "  {column:>10}"))?;
        writeln!(f)?;
        for label in &self.labels {
            write!(f, "{:<width$}", label.label)?;
            write!(f, "  {:>10}  {:>10}  {:>10}", label.sent, label.answered_ok, label.failed)?;
            if label.answered_ok == 0 {
                writeln!(f, "  {:>10}  {:>10}  {:>10}", "-", "-", "-")?;
                continue;
            }
            let Percentiles { p50_us, p99_us, p999_us, .. } = label.latency;
            writeln!(f, "  {:>10}  {:>10}  {:>10}", Millis(p50_us), Millis(p99_us), Millis(p999_us))?;
        }
        Ok(())
    }

    fn fmt_generator(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        write!(
            f,
            "generator    late by {} ms at p99, {} ms at most; {:.2}% of the sends over 1 ms late; ",
            Millis(self.generator_late_p99_us),
            Millis(self.generator_late_max_us),
            100.0 * self.generator_late_share
        )?;
        if let Some(share) = self.generator_cpu_share {
            write!(f, "{:.0}% of its CPU time used; ", 100.0 * share)?;
        }
        writeln!(f, "seed {}", self.seed)
    }
}

impl Percentiles {
    fn rows(&self) -> [(&'static str, u64); 6] {
        [
            ("p50", self.p50_us),
            ("p90", self.p90_us),
            ("p95", self.p95_us),
            ("p99", self.p99_us),
            ("p99.9", self.p999_us),
            ("max", self.max_us),
        ]
    }
}

/// A number of things.
struct Counted(usize, &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        write!(f, "{count} {what}{}", if *count == 1 { "" } else { "s" })
    }
}

/// Microseconds, written as milliseconds with three decimals.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:03}", self.0 / 1000, self.0 % 1000))
    }
}
