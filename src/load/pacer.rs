//! The pacer: one thread of its own that hands each message over when it is due.
//!
//! tokio's timers tick in milliseconds, and its threads also carry the traffic; a thread that does nothing but sleep
//! and hand over is late by some 30 µs. It is the one producer of each stream's channel, and the channels are unbounded
//! so that no server can hold it up: what they hold is bounded by the messages of the run, rate × length. When it wakes
//! late it hands over all that is due by then, at once, and never moves the schedule.
//!
//! It ends after the last message, which closes the channels and so the requests of the streams; or at the next message
//! once the run was abandoned, which drops their other ends.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::{LoadError, Schedule, books::Due, cpu, mix::Dealer};

/// What the run offers, and to whom.
pub(super) struct Pacer {
    pub(super) schedule: Schedule,
    pub(super) dealer: Dealer,
    /// The part of the schedule that does not count.
    pub(super) warm_up: Duration,
    /// One for each stream.
    pub(super) streams: Vec<UnboundedSender<Due>>,
}

/// What the pacer reports when all is handed over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paced {
    /// The share of the cores that it may use that this process did use; `None` where the platform does not tell.
    pub(super) cpu_share: Option<f64>,
}

impl Pacer {
    /// Starts the run now. The receiver hears of its end, and gets an error when it was abandoned.
    pub(super) fn start(self) -> Result<oneshot::Receiver<Paced>, LoadError> {
        let (paced, end) = oneshot::channel();
        thread::Builder::new()
            .name("load-pacer".to_owned())
            .spawn(move || {
                if let Some(report) = self.run() {
                    // Nobody listens when the run was abandoned just now.
                    paced.send(report).ok();
                }
            })
            .map_err(LoadError::Thread)?;
        Ok(end)
    }

    /// `None` when the run was abandoned.
    fn run(mut self) -> Option<Paced> {
        sleep_precisely();
        let cpu = cpu::Clock::start();
        let start = Instant::now();
        for offset in self.schedule {
            let intended = start + offset;
            wait_until(intended);
            let hand = self.dealer.deal();
            let due = Due {
                message: hand.message,
                payload: hand.payload,
                measured: offset >= self.warm_up,
                intended,
                handed_over: Instant::now(),
            };
            self.streams[hand.stream].send(due).ok()?;
        }
        Some(Paced { cpu_share: cpu.share() })
    }
}

/// Returns at the instant, or at once when it has passed.
///
/// Sleeping all the way is better than spinning the last part: where the server shares the machine's cores, a thread
/// that spins is one that the scheduler takes the core from, for milliseconds and at the wrong moment.
#[allow(
    clippy::disallowed_methods,
    reason = "pacing is about time itself; nothing is waited for but the clock"
)]
fn wait_until(instant: Instant) {
    let left = instant.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}

/// Asks Linux not to round this thread's wake-ups (50 µs by default, to save power). A thread may do so for itself;
/// where it cannot, the run is that much later, and says so.
fn sleep_precisely() {
    let thread_id =
        fs::read_link("/proc/thread-self").ok().and_then(|path| Some(path.file_name()?.to_owned()));
    if let Some(thread_id) = thread_id {
        let slack = std::path::Path::new("/proc").join(thread_id).join("timerslack_ns");
        if let Err(error) = fs::write(&slack, "1") {
            tracing::debug!(%error, "timer slack of the pacer unchanged");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::load::{Arrivals, LoadOptions, WeightedMessage};

    /// A constant 1000 per second over two streams for 20 ms, the first 5 ms to warm up.
    fn pacer() -> (Pacer, [mpsc::UnboundedReceiver<Due>; 2]) {
        let message = WeightedMessage::new("echo");
        let options = LoadOptions {
            streams: 2,
            arrivals: Arrivals::Constant,
            ..LoadOptions::new("http://unused", message)
        };
        let ((one, first), (two, second)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let pacer = Pacer {
            schedule: Schedule::new(options.arrivals, options.rate_per_s, Duration::from_millis(20), 1),
            dealer: Dealer::new(&options),
            warm_up: Duration::from_millis(5),
            streams: vec![one, two],
        };
        (pacer, [first, second])
    }

    #[test]
    fn every_message_is_handed_over_on_schedule_and_never_early() {
        let (pacer, [mut first, mut second]) = pacer();
        pacer.start().unwrap().blocking_recv().unwrap();
        let mut dues = Vec::new();
        while let Ok(due) = first.try_recv() {
            dues.extend([due, second.try_recv().unwrap()]);
        }
        assert!(second.is_closed() && second.is_empty());
        assert_eq!(dues.len(), 20);
        assert_eq!(dues.iter().filter(|due| due.measured).count(), 15);
        assert!(dues.iter().all(|due| due.handed_over >= due.intended));
        let gaps = dues.windows(2).map(|pair| pair[1].intended - pair[0].intended);
        assert!(
            gaps.into_iter().all(|gap| gap.abs_diff(Duration::from_millis(1)) < Duration::from_nanos(10))
        );
    }

    #[test]
    fn an_abandoned_run_ends_the_pacer() {
        let (pacer, streams) = pacer();
        drop(streams);
        pacer.start().unwrap().blocking_recv().expect_err("there is nothing to report");
    }
}
