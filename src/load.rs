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
//! - An answer to what was answered, or never asked, is a fault of the server, and counted as such.
//!
//! Memory is bounded by the messages of the run, rate × length, and reaches that only if the server reads nothing.
//! Dropping the future of [`run`] abandons the run: its streams are reset, and the pacer ends at its next message.

mod books;
mod connection;
mod cpu;
mod error;
mod mix;
mod options;
mod pacer;
mod report;
mod schedule;
mod stream;
mod table;
mod tally;
mod times;
mod verdict;

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::{self, Sender, UnboundedSender},
    task::JoinSet,
    time::timeout,
};
use tonic::transport::Channel;

pub use error::LoadError;
pub use options::{LoadOptions, Order, Payload, WeightedMessage};
pub use report::{LabelReport, LoadReport};
pub use schedule::{Arrivals, Schedule};
pub use times::Percentiles;
pub use verdict::Invalidity;

use crate::grpc::proto::data_plane_client::DataPlaneClient;
use books::{Due, Ending};
use mix::{Dealer, Mix};
use pacer::Pacer;
use stream::Outbox;
use tally::Tally;

/// How long the run waits for its streams to open. A server that admits fewer at a time lets the rest wait until others
/// end, which is never; then the schedule starts all the same, and what these cannot send is lost.
const OPENING: Duration = Duration::from_secs(5);

/// Runs the load, and reports when the last answer is in, or the drain is over.
///
/// It wants a tokio runtime with time and I/O; several threads help.
///
/// # Errors
/// When an option cannot work, or there is no connection to the server. What goes wrong later is in the report.
pub async fn run(options: LoadOptions) -> Result<LoadReport, LoadError> {
    options.validate()?;
    let clients = connection::connect(&options).await?;
    let mut streams = Streams::open(&options, &clients).await;
    let pacer = Pacer {
        schedule: Schedule::new(
            options.arrivals,
            options.rate_per_s,
            options.warm_up + options.duration,
            options.seed,
        ),
        dealer: Dealer::new(&options),
        warm_up: options.warm_up,
        streams: std::mem::take(&mut streams.lanes),
    };
    let paced = pacer.start()?.await.expect("the run is not abandoned: its streams are here");
    let (tally, endings) = streams.drain(&options).await;
    Ok(LoadReport::new(&options, &tally, &endings, paced))
}

/// The streams of a run.
struct Streams {
    /// Where the pacer hands over.
    lanes: Vec<UnboundedSender<Due>>,
    outboxes: Vec<Arc<Outbox>>,
    /// Each returns its stream's number.
    tasks: JoinSet<(usize, Ending)>,
}

impl Streams {
    /// Opens the streams, spread evenly over the connections.
    async fn open(options: &LoadOptions, clients: &[DataPlaneClient<Channel>]) -> Self {
        let mix = Arc::new(Mix::new(options));
        let (opening, mut all_open) = mpsc::channel(1);
        let mut streams = Self { lanes: Vec::new(), outboxes: Vec::new(), tasks: JoinSet::new() };
        for client in clients.iter().cycle().take(options.streams) {
            streams.add(client.clone(), &mix, options, opening.clone());
        }
        drop(opening);
        if timeout(OPENING, all_open.recv()).await.is_err() {
            tracing::warn!(streams = options.streams, "not all streams are open after {OPENING:?}");
        }
        streams
    }

    fn add(
        &mut self,
        client: DataPlaneClient<Channel>,
        mix: &Arc<Mix>,
        options: &LoadOptions,
        opening: Sender<Infallible>,
    ) {
        let number = self.outboxes.len();
        let (lane, due) = mpsc::unbounded_channel();
        let timeouts = options.mix.iter().map(|message| message.timeout).collect();
        let outbox = Arc::new(Outbox::new(number, timeouts, due, opening));
        let conversation = stream::converse(client, Arc::clone(&outbox), Arc::clone(mix), options.order);
        self.tasks.spawn(async move { (number, conversation.await) });
        self.lanes.push(lane);
        self.outboxes.push(outbox);
    }

    /// Waits until each stream has ended, or the drain is over, and closes the books.
    async fn drain(mut self, options: &LoadOptions) -> (Tally, Vec<Ending>) {
        let mut endings: Vec<Ending> = self.outboxes.iter().map(|_| Ending::Cut).collect();
        let all_ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                let (number, ending) = ended.expect("a stream's task neither panics nor is aborted");
                endings[number] = ending;
            }
        };
        // Those that have not ended by then stay cut.
        timeout(options.drain(), all_ended).await.ok();
        let mut tally = Tally::new(options.mix.len());
        for (outbox, ending) in self.outboxes.iter().zip(&endings) {
            tally.merge(&outbox.close(ending));
        }
        (tally, endings)
    }
}
