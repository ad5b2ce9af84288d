//! What a message costs the server when it shares it with a thousand streams, and when it has it to itself.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    client::Client,
    naive,
    pairs::Pairs,
    process,
    referee::Referee,
    served::{Served, tool},
};

/// Streams that share the load.
pub(crate) const MANY: usize = 1000;
/// Messages a second, however many streams there are.
const RATE_PER_S: f64 = 2000.0;
/// Until everybody has found its stride: by then a class has been learnt.
const WARM_UP: Duration = Duration::from_secs(1);
const ROUNDS: (usize, usize) = (9, 3);
const LENGTH: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(1500));
/// The load's chances, different in each round, and the same for all in a round.
const SEED: u64 = 20_261_128;

/// CPU time of a server for each message.
#[derive(Debug, Serialize)]
pub(crate) struct Growth {
    pub(crate) server: &'static str,
    pub(crate) cpu: Pairs,
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: CPU time of a digest of 4 KiB, {RATE_PER_S:.0} of them a second on one stream or {MANY}: {}.",
            self.server, self.cpu
        )
    }
}

/// Of a server with so many streams, in microseconds.
fn cost(server: &str, streams: usize, length: Duration, seed: u64) -> Result<f64, String> {
    let served = start(server, MANY)?;
    let mut client = Client::new(served.url())?;
    client.open(streams)?;
    client.offer(RATE_PER_S, WARM_UP, seed)?;
    let before = process::cpu(served.child.id())?;
    let messages = client.offer(RATE_PER_S, length, seed + 1)?;
    let used = process::cpu(served.child.id())? - before;
    Ok(used.as_secs_f64() * 1e6 / messages as f64)
}

/// millstream's name among the servers.
pub(crate) const OURS: &str = "millstream";

/// Starts a server that takes so many streams.
pub(crate) fn start(server: &str, streams: usize) -> Result<Served, String> {
    let command = match server {
        OURS => tool(&[("MILLSTREAM_MAX_CONCURRENT_CONNECTIONS", &streams.to_string())]),
        naive => naive::command(naive)?,
    };
    Served::start(server, command)
}

pub(crate) fn measure(referee: &mut Referee, quick: bool) -> Result<Vec<Growth>, String> {
    let (rounds, length) = if quick { (ROUNDS.1, LENGTH.1) } else { (ROUNDS.0, LENGTH.0) };
    [OURS, naive::MAPPED].into_iter().map(|server| growth(referee, server, rounds, length)).collect()
}

fn growth(
    referee: &mut Referee,
    server: &'static str,
    rounds: usize,
    length: Duration,
) -> Result<Growth, String> {
    let mut pairs = Vec::new();
    for round in 0..rounds as u64 {
        let mut judged =
            |streams| referee.judge(|_| false, || cost(server, streams, length, SEED + 2 * round));
        pairs.push((judged(1)?, judged(MANY)?));
    }
    Ok(Growth { server, cpu: Pairs::of(&pairs) })
}
