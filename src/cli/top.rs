//! `millstream top`: what a server is doing, again and again.
//!
//! On a terminal the table is drawn over itself, with the cursor hidden; Ctrl-C, an end of the stream and an error
//! all leave through the same door, which shows it again. Elsewhere each look is a line of its own.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use super::{Exit, client, signals::Signals, units};
use crate::grpc::proto::{GetStatsRequest, GetStatsResponse, OverloadLevel, WatchStatsRequest};

/// Cursor home; erase to the end of the line; erase to the end of the screen.
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K\n";
const END_OF_SCREEN: &str = "\x1b[J";
const CLEAR_AND_HIDE_CURSOR: &str = "\x1b[2J\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server, such as http://127.0.0.1:50051.
    #[arg(long, value_name = "URL")]
    server: String,
    /// How often to look.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    interval: Duration,
    /// Print the table once.
    #[arg(long)]
    once: bool,
}

impl Args {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let mut signals = Signals::listen()?;
        tokio::select! {
            ended = self.show() => ended?,
            // Whatever is waited for, and the screen is tidied up all the same.
            () = signals.next() => {}
        }
        Ok(Exit::Done)
    }

    async fn show(self) -> anyhow::Result<()> {
        let mut client = client::connect(&self.server).await?;
        if self.once {
            let stats = client.get_stats(GetStatsRequest {}).await?.into_inner();
            io::stdout().write_all(table(&stats, None).as_bytes())?;
            return Ok(());
        }
        let interval = Some(self.interval.try_into()?);
        let mut looks = client.watch_stats(WatchStatsRequest { interval }).await?.into_inner();
        let mut screen = Screen::open()?;
        let mut before = None;
        while let Some(stats) = looks.message().await? {
            screen.show(&stats, before.as_ref())?;
            before = Some(stats);
        }
        Ok(())
    }
}

/// Where the looks go.
struct Screen {
    terminal: bool,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let terminal = io::stdout().is_terminal();
        if terminal {
            io::stdout().write_all(CLEAR_AND_HIDE_CURSOR.as_bytes())?;
        }
        Ok(Self { terminal })
    }

    fn show(&mut self, stats: &GetStatsResponse, before: Option<&GetStatsResponse>) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        if self.terminal {
            let table = table(stats, before).replace('\n', END_OF_LINE);
            write!(stdout, "{HOME}{table}{END_OF_SCREEN}")?;
        } else {
            writeln!(stdout, "{}", line(stats, before))?;
        }
        stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.terminal {
            // A terminal that is gone needs no cursor.
            write!(io::stdout(), "{SHOW_CURSOR}").ok();
        }
    }
}

/// What happened between two looks, per second; since the start when there is no look before.
struct Rates {
    accepted: f64,
    answered_ok: f64,
    errors: f64,
}

fn uptime(stats: &GetStatsResponse) -> Duration {
    stats.uptime.and_then(|uptime| uptime.try_into().ok()).unwrap_or_default()
}

fn rates(stats: &GetStatsResponse, before: Option<&GetStatsResponse>) -> Rates {
    let start = GetStatsResponse::default();
    let before = before.unwrap_or(&start);
    let seconds = uptime(stats).saturating_sub(uptime(before)).as_secs_f64();
    let per_second = |now: u64, then: u64| {
        if seconds > 0.0 { now.saturating_sub(then) as f64 / seconds } else { 0.0 }
    };
    let errors = |stats: &GetStatsResponse| stats.errors.values().sum();
    Rates {
        accepted: per_second(stats.accepted, before.accepted),
        answered_ok: per_second(stats.answered_ok, before.answered_ok),
        errors: per_second(errors(stats), errors(before)),
    }
}

/// The level, the load behind it, and what was done about it.
fn overload(stats: &GetStatsResponse) -> String {
    let level = level(stats);
    let GetStatsResponse { overload, would_be_late, waited_too_long, displaced, not_urgent, .. } = stats;
    format!(
        "{level} ({overload:.2}), {would_be_late} too late, {waited_too_long} waited too long, {displaced} displaced, \
         {not_urgent} not urgent"
    )
}

fn level(stats: &GetStatsResponse) -> &'static str {
    match stats.overload_level() {
        OverloadLevel::Unspecified => "unknown",
        OverloadLevel::Normal => "normal",
        OverloadLevel::Warning => "warning",
        OverloadLevel::Critical => "critical",
        OverloadLevel::Emergency => "emergency",
    }
}

fn line(stats: &GetStatsResponse, before: Option<&GetStatsResponse>) -> String {
    let Rates { accepted, answered_ok, errors } = rates(stats, before);
    format!(
        "up {}s accepted/s {accepted:.1} ok/s {answered_ok:.1} errors/s {errors:.1} queued {} in-flight {} \
         streams {} utilization {:.0}% cache-hits {} overload {} resident {}",
        uptime(stats).as_secs(),
        stats.queued,
        units::show_bytes(stats.bytes_in_flight),
        stats.open_streams,
        stats.worker_utilization * 100.0,
        stats.cache_hits,
        level(stats),
        units::show_bytes(stats.resident_bytes),
    )
}

fn table(stats: &GetStatsResponse, before: Option<&GetStatsResponse>) -> String {
    let Rates { accepted, answered_ok, errors } = rates(stats, before);
    let mut codes: Vec<_> = stats.errors.iter().map(|(code, count)| format!("{code} {count}")).collect();
    codes.sort();
    let codes = if codes.is_empty() { "none".to_owned() } else { codes.join(", ") };
    let rows = [
        ("uptime", format!("{} s", uptime(stats).as_secs())),
        ("accepted", format!("{} ({accepted:.1}/s)", stats.accepted)),
        ("answered", format!("{} ({answered_ok:.1}/s)", stats.answered_ok)),
        ("errors", format!("{codes} ({errors:.1}/s)")),
        ("cache", {
            let size = units::show_bytes(stats.cache_bytes);
            let (hits, misses) = (stats.cache_hits, stats.cache_misses);
            format!("{hits} hits, {misses} misses, {} entries, {size}", stats.cache_entries)
        }),
        ("streams", stats.open_streams.to_string()),
        ("queued", stats.queued.to_string()),
        ("in flight", units::show_bytes(stats.bytes_in_flight)),
        ("workers", format!("{}, {:.0}% busy", stats.workers, stats.worker_utilization * 100.0)),
        ("overload", overload(stats)),
        ("resident", units::show_bytes(stats.resident_bytes)),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        writeln!(text, "{name:<12} {value}").expect("a string takes what is written to it");
    }
    let head = ["stage", "class", "count", "p50", "p90", "p99", "p99.9", "max"].map(str::to_owned);
    let stages = stats.histograms.iter().map(|stage| {
        let times = [stage.p50_ns, stage.p90_ns, stage.p99_ns, stage.p999_ns, stage.max_ns];
        let [p50, p90, p99, p999, max] = times.map(units::show_nanoseconds);
        [stage.stage.clone(), stage.class.clone(), stage.count.to_string(), p50, p90, p99, p999, max]
    });
    text.push('\n');
    for [stage, class, count, times @ ..] in [head].into_iter().chain(stages) {
        write!(text, "{stage:<12} {class:<12} {count:>12}").expect("a string takes what is written to it");
        for time in times {
            write!(text, " {time:>9}").expect("a string takes what is written to it");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::proto::StageHistogram;

    fn after(seconds: i64, accepted: u64) -> GetStatsResponse {
        GetStatsResponse {
            uptime: Some(prost_types::Duration { seconds, nanos: 0 }),
            accepted,
            answered_ok: accepted - 10,
            errors: [("INTERNAL".to_owned(), 10)].into(),
            ..Default::default()
        }
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let (first, second) = (after(10, 100), after(12, 400));
        assert!(line(&first, None).contains("accepted/s 10.0 ok/s 9.0 errors/s 1.0"));
        assert!(line(&second, Some(&first)).contains("accepted/s 150.0 ok/s 150.0 errors/s 0.0"));
        // A server that was started anew counts from zero.
        assert!(line(&first, Some(&second)).contains("accepted/s 0.0"));
    }

    #[test]
    fn the_overload_is_told_in_a_word_and_in_figures() {
        let mut stats = after(10, 100);
        assert!(table(&stats, None).contains("overload     unknown (0.00)"), "an older server");
        stats.set_overload_level(OverloadLevel::Critical);
        (stats.overload, stats.would_be_late) = (1.5, 7);
        assert!(table(&stats, None).contains("overload     critical (1.50), 7 too late,"));
        assert!(line(&stats, None).contains(" overload critical "));
    }

    #[test]
    fn the_table_has_a_row_for_each_stage_and_class() {
        let mut stats = after(10, 100);
        stats.histograms = vec![StageHistogram {
            stage: "queue_wait".into(),
            class: "digest".into(),
            count: 90,
            p99_ns: 1_500_000,
            ..Default::default()
        }];
        let table = table(&stats, None);
        assert!(table.contains("errors       INTERNAL 10 (1.0/s)\n"), "{table}");
        let row = table.lines().last().unwrap();
        assert!(row.starts_with("queue_wait   digest") && row.contains("1.50 ms"), "{table}");
    }
}
