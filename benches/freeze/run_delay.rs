//! How long a thread was ready to run and had no core: the part of every delay that is the machine's.
//!
//! Linux counts it, in the second figure of `schedstat`. Elsewhere it is taken as nothing, and the control has to say
//! what the machine does.

use std::{cell::RefCell, fs::File};

#[cfg(unix)]
use std::os::unix::fs::FileExt;

/// A reading is made anew after so long, in nanoseconds: a delay between a reading and the begin of a gap, which this
/// bounds, is charged to the machine though it lies outside.
const FRESH_NS: u64 = 250_000;

/// The latest reading of one thread.
struct Reading {
    schedstat: Option<File>,
    delay: u64,
    at: u64,
}

thread_local! {
    static LATEST: RefCell<Reading> = RefCell::new(Reading {
        schedstat: File::open("/proc/thread-self/schedstat").ok(),
        delay: 0,
        at: 0,
    });
}

/// The calling thread got on, at the moment `now`, after so long a gap. Returns how much of the gap it waited for a core;
/// only gaps of 250 µs or more are looked at.
pub(crate) fn in_gap(now: u64, gap: u64) -> u64 {
    LATEST.with_borrow_mut(|latest| {
        if gap < FRESH_NS && now.saturating_sub(latest.at) < FRESH_NS {
            return 0;
        }
        let delay = latest.schedstat.as_ref().and_then(read).unwrap_or(0);
        let since = delay - latest.delay;
        let first = latest.at == 0;
        (latest.delay, latest.at) = (delay, now);
        if first { gap } else { since.min(gap) }
    })
}

fn read(schedstat: &File) -> Option<u64> {
    let mut line = [0; 96];
    let length = schedstat.read_at(&mut line, 0).ok()?;
    std::str::from_utf8(&line[..length]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}
