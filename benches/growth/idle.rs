//! What a server holds for a stream that has carried a message, and on which nothing happens now.
//!
//! Between a few hundred streams and two thousand more, so that what the server makes once, or for its first connections,
//! does not count.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    busy::{OURS, start},
    client::Client,
    naive, process,
    served::Served,
};

const FEW: usize = 500;
const MORE: usize = 2000;
/// Between two looks at what is resident, until it stays as it is.
const LOOK: Duration = Duration::from_millis(200);
/// What may come and go between two looks.
const STILL: u64 = 64 << 10;
/// How long it may take until nothing comes and goes.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an idle stream holds.
#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) server: &'static str,
    pub(crate) bytes: f64,
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, bytes } = self;
        write!(
            f,
            "{server}: an idle stream, its share of a connection included, holds {:.1} KiB.",
            bytes / 1024.0
        )
    }
}

pub(crate) fn measure() -> Result<Vec<Idle>, String> {
    [OURS, naive::MAPPED, naive::INLINE].into_iter().map(of).collect()
}

fn of(server: &'static str) -> Result<Idle, String> {
    let served = start(server, FEW + MORE)?;
    let mut client = Client::new(served.url())?;
    client.open(FEW)?;
    let before = settled(&served)?;
    client.open(FEW + MORE)?;
    let after = settled(&served)?;
    Ok(Idle { server, bytes: (after as f64 - before as f64) / MORE as f64 })
}

/// What is resident once that stays as it is.
fn settled(served: &Served) -> Result<u64, String> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = process::resident(served.child.id())?;
    loop {
        thread::park_timeout(LOOK);
        let now = process::resident(served.child.id())?;
        if now.abs_diff(last) <= STILL || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}
