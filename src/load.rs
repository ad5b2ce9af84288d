//! The open-loop load generator: the tool, the benches and the tests all use this one.
//!
//! [`run`] offers messages on an absolute [`Schedule`] to a server's `millstream.v1.DataPlane/Stream`, however slowly
//! it answers, and reports. A closed loop, which sends when the last answer is in, asks a server that stalls nothing
//! while it stalls, and so never hears of it ("coordinated omission"). Here latency counts from the *intended* send; the
//! figure from the actual send stands beside it.
//!
//! ```text
//!  schedule ─ dealer ─ pacer ══ channel ══ transport's task ── HTTP/2 ── server
//!                      (OS thread)   one per stream │ enters what it takes      │
//!                                               books (locked briefly)          │
//!                                    one per stream │ strikes off what it reads │
//!                                            stream's task ─────────────────────┘
//! ```
//!
//! # Phases
//! 1. Connections are opened, then streams, until each is open (or, for a server that admits fewer, 5 s).
//! 2. The pacer hands over each message when it is due, first those of the warm-up, which do not count. It never waits
//!    for a server, and never moves the schedule: what it is late with, it sends at once.
//! 3. It ends, and with it the requests of each stream. The streams read until the server ends them, or until the drain
//!    is over.
//! 4. The books are closed. Each message is in exactly one of: answered with a result, answered with an error, lost.
//!
//! # What counts as what
//! - A stream that fails as a whole stays failed: what it left unanswered, and all that falls due on it later, counts as
//!   answered with its status, as a client would have it. A stream that ends well, or not at all, loses what it left.
//! - Time that a message waits because the server's flow control holds the stream back is latency. Time that it waits
//!   for the generator's own threads is [lateness](LoadReport::generator_late_p99_us), and too much of it makes the run
//!   [invalid](Invalidity).
//!   What cannot be told from a server that holds back is a transport that never comes to wait, for the one task of its
//!   connection writes and reads all the time: one core's worth for each connection. More
//!   [connections](field@LoadOptions::connections) show which it was.
//! - An answer to what was answered, or never asked, is a fault of the server, and counted as such.
//!
//! Memory is bounded by the messages of the run, rate × length, and reaches that only if the server reads nothing.
//! Dropping the future of [`run`] abandons the run: its connections are closed, and the pacer ends at its next message.
//! At the end of a run nothing is left of it, whatever the server does.

mod books;
mod connection;
mod cpu;
mod error;
mod mix;
mod options;
mod pacer;
mod report;
mod stream;
mod streams;
mod table;
mod tally;
mod times;
mod verdict;

use std::panic::resume_unwind;

use tokio::runtime::{Builder, Runtime};

pub use error::LoadError;
pub use options::{LoadOptions, Order, Payload, WeightedMessage};
pub use report::{LabelReport, LoadReport};
pub use times::Percentiles;
pub use verdict::Invalidity;

pub use crate::simulation::{Arrivals, Schedule};

use mix::Dealer;
use pacer::Pacer;
use streams::Streams;

/// Runs the load, and reports when the last answer is in, or the drain is over.
///
/// It may be called from any tokio runtime: the traffic has threads of its own.
///
/// ```no_run
/// use millstream::load::{self, LoadOptions, WeightedMessage};
///
/// # async fn example() -> Result<(), load::LoadError> {
/// let options = LoadOptions {
///     rate_per_s: 2000.0,
///     streams: 100,
///     ..LoadOptions::new("http://127.0.0.1:50051", WeightedMessage::new("digest"))
/// };
/// let report = load::run(options).await?;
/// print!("{report}");
/// assert!(report.is_valid(), "{:?}", report.invalid_because);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// When an option cannot work, or there is no connection to the server. What goes wrong later is in the report.
pub async fn run(options: LoadOptions) -> Result<LoadReport, LoadError> {
    options.validate()?;
    let threads = Threads::start()?;
    threads.run(offer(options)).await
}

async fn offer(options: LoadOptions) -> Result<LoadReport, LoadError> {
    let clients = connection::connect(&options).await?;
    let mut streams = Streams::open(&options, &clients).await;
    let length = options.warm_up + options.duration;
    let pacer = Pacer {
        schedule: Schedule::new(options.arrivals, options.rate_per_s, length, options.seed),
        dealer: Dealer::new(&options),
        warm_up: options.warm_up,
        streams: std::mem::take(&mut streams.lanes),
    };
    let paced = pacer.start()?.await.expect("the run is not abandoned: its streams are here");
    let (tally, endings) = streams.drain(&options).await;
    Ok(LoadReport::new(&options, &tally, &endings, paced))
}

/// The threads that carry the traffic of one run.
///
/// They are its own so that it ends when the run does: the transport keeps a stream, and its connection, for as long as
/// it has requests to write, which for a server that reads no more is for ever. Besides, a server in the same process
/// does not have to share its threads with the generator.
struct Threads {
    /// `None` once dropped.
    runtime: Option<Runtime>,
}

impl Threads {
    fn start() -> Result<Self, LoadError> {
        let runtime = Builder::new_multi_thread().thread_name("load").enable_all().build();
        Ok(Self { runtime: Some(runtime.map_err(LoadError::Thread)?) })
    }

    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let runtime = self.runtime.as_ref().expect("it is not dropped");
        runtime.spawn(work).await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting is not possible where the caller's runtime runs. Each task ends where it awaits.
            runtime.shutdown_background();
        }
    }
}
