//! The log: written by a thread of its own, so that nobody who has something to say waits for whoever should read it.
//!
//! A pipe that is not read takes 64 KiB; then a write to it waits, for ever. If the threads that log were to write, a log
//! collector that hangs (or a terminal that is paused) would stop I/O threads and workers alike, one by one.
//!
//! ```text
//! any thread ── try_send ──► queue of lines ──► log thread ── write ──► stderr
//!                  │ full
//!                  ▼
//!               counted; said before the next line that is written
//! ```
//! - **Bounded**: at most [`LINES`] wait. A line that finds no place is lost and counted (`millstream_log_lines_lost_total`
//!   too).
//! - **Panics** are logged like everything else: the standard hook writes to stderr by itself, on the thread that panics,
//!   which may be a worker.
//! - **The end**: [`Logs`] asks the thread to write what waits, and waits for that for [`LAST_LINES`] at most. A reader that
//!   never reads costs the process that much and no more.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    fmt::Display,
    io::{self, IsTerminal, Write},
    panic::{self, PanicHookInfo},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crossbeam::channel::{Receiver, Sender, bounded};
use metrics::counter;
use tracing_subscriber::EnvFilter;

use super::{BadUsage, config::LOG_VARIABLE};

/// Lines that may wait to be written: some hundred KiB.
const LINES: usize = 4096;
/// How long the process waits at its end for the last lines.
const LAST_LINES: Duration = Duration::from_millis(200);
const LOST: &str = "millstream_log_lines_lost_total";

enum Entry {
    Line(Box<[u8]>),
    /// Nothing that is said after this is written.
    End,
}

/// Where lines wait. Shared by all threads.
struct Queue {
    entries: Sender<Entry>,
    /// Lines that found no place and were not spoken of yet. Relaxed: a number, and nothing beside it.
    lost: Arc<AtomicU64>,
}

/// Each call is a whole line: tracing puts it together before it writes.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.entries.try_send(Entry::Line(line.into())).is_err() {
            self.lost.fetch_add(1, Relaxed);
            counter!(LOST).increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes line by line, until it is told that there are no more.
fn write_all(entries: &Receiver<Entry>, lost: &AtomicU64, mut out: impl Write) {
    while let Ok(Entry::Line(line)) = entries.recv() {
        // Whoever has closed stderr does not want to hear of it.
        out.write_all(&line).ok();
        let lost = lost.swap(0, Relaxed);
        if lost > 0 {
            let said = format!("millstream: {lost} lines of the log are missing here: nobody read it\n");
            out.write_all(said.as_bytes()).ok();
        }
    }
}

/// The log of the process, until this is dropped.
pub(super) struct Logs {
    entries: Sender<Entry>,
    /// Disconnected when the log thread has ended.
    ended: Receiver<()>,
}

impl Logs {
    /// From now on what is said goes to stderr, in colour only on a terminal whose user has not set `NO_COLOR`.
    pub(super) fn to_stderr(default: &str) -> anyhow::Result<Self> {
        let chosen = env::var_os(LOG_VARIABLE).unwrap_or_else(|| default.into());
        let wrong = |why: &dyn Display| BadUsage::new(format_args!("{LOG_VARIABLE} = {chosen:?}: {why}"));
        let text = chosen.to_str().ok_or_else(|| wrong(&"it is not UTF-8"))?;
        let filter = EnvFilter::try_new(text).map_err(|error| wrong(&error))?;
        let colour =
            io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let (logs, queue) = Self::to(LINES, io::stderr())?;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(Arc::new(queue))
            .with_ansi(colour)
            .init();
        panic::set_hook(Box::new(log_panic));
        Ok(logs)
    }

    fn to(lines: usize, out: impl Write + Send + 'static) -> io::Result<(Self, Queue)> {
        let (entries, waiting) = bounded(lines);
        let (alive, ended) = bounded(0);
        let lost = Arc::new(AtomicU64::new(0));
        let queue = Queue { entries: entries.clone(), lost: Arc::clone(&lost) };
        thread::Builder::new().name("millstream-log".to_owned()).spawn(move || {
            write_all(&waiting, &lost, out);
            drop(alive);
        })?;
        Ok((Self { entries, ended }, queue))
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_LINES;
        if self.entries.send_deadline(Entry::End, deadline).is_ok() {
            // Disconnected when all is written; else the time is up, and the rest is lost with the process.
            self.ended.recv_deadline(deadline).ok();
        }
    }
}

/// What the standard hook says, as an event of the log.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let text = panic.payload_as_str().unwrap_or("the panic carries no text");
    let place = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    // Switched on by RUST_BACKTRACE.
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    tracing::error!(
        thread = Thread::name(&thread),
        place,
        backtrace = backtrace.map(tracing::field::display),
        "panicked: {text}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stderr as a pipe that takes a line whenever the test reads one.
    struct Pipe(Sender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe(lines: usize) -> (Logs, Queue, Receiver<Vec<u8>>) {
        let (pipe, reader) = bounded(0);
        let (logs, queue) = Logs::to(lines, Pipe(pipe)).unwrap();
        (logs, queue, reader)
    }

    fn read(reader: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(reader.recv().unwrap()).unwrap()
    }

    #[test]
    fn what_finds_no_place_is_counted_and_said_and_nobody_waits() {
        let (logs, queue, reader) = pipe(2);
        for line in 0..100 {
            (&queue).write_all(format!("line {line}\n").as_bytes()).unwrap();
        }
        // Two wait, and one more may be on its way.
        assert!((97..=98).contains(&queue.lost.load(Relaxed)));
        assert_eq!(read(&reader), "line 0\n");
        let said = read(&reader);
        assert!(said.contains("98 lines") || said.contains("97 lines"), "{said}");
        assert_eq!(read(&reader), "line 1\n");
        drop(reader);
        drop(logs);
    }

    #[test]
    fn the_end_waits_for_what_is_read_and_not_for_a_reader_that_does_not_read() {
        let (logs, queue, reader) = pipe(10);
        (&queue).write_all(b"last words").unwrap();
        let reading = thread::spawn(move || read(&reader));
        drop(logs);
        assert_eq!(reading.join().unwrap(), "last words");
        let (logs, queue, _reader) = pipe(1);
        for _ in 0..3 {
            (&queue).write_all(b"unread").unwrap();
        }
        let begun = Instant::now();
        drop(logs);
        assert!(begun.elapsed() >= LAST_LINES);
    }
}
