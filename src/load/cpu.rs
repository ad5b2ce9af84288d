//! How much of its cores this process uses, from the counters that Linux keeps for it.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// One tick of the counters in `/proc`: 100 a second on every architecture, since programs rely on it.
const TICK: Duration = Duration::from_millis(10);

/// The process's CPU time since an instant.
pub(super) struct Clock {
    since: Instant,
    /// `None` where the platform does not tell.
    used: Option<Duration>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { since: Instant::now(), used: process_time() }
    }

    /// The share of the cores that this process may use that it did use since the start, from 0 to 1; `None` where the
    /// platform does not tell.
    pub(super) fn share(&self) -> Option<f64> {
        let used = process_time()?.saturating_sub(self.used?);
        let cores = thread::available_parallelism().ok()?;
        let available = self.since.elapsed() * u32::try_from(cores.get()).ok()?;
        // Ticks are coarse: a short run may seem to use more than there is.
        Some((used.as_secs_f64() / available.as_secs_f64()).min(1.0))
    }
}

fn process_time() -> Option<Duration> {
    parse(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// User and system time: the 14th and 15th field, counted behind the name of the program, which may hold blanks.
fn parse(stat: &str) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user.checked_add(system)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_found_behind_any_name() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 1000 10";
        assert_eq!(parse(stat), Some(Duration::from_secs(3)));
        assert_eq!(parse("17 (cut) S 1 17"), None);
        assert_eq!(parse(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_computes_is_seen() {
        let clock = Clock::start();
        let deadline = Instant::now() + Duration::from_secs(20);
        while clock.share().is_none_or(|share| share == 0.0) {
            assert!(Instant::now() < deadline, "20 s of computing, and no tick");
        }
    }
}
