//! The streams of a run, from opening to closed books.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::{self, Sender, UnboundedSender},
    task::JoinSet,
    time::timeout,
};
use tonic::transport::Channel;

use super::{
    LoadOptions,
    books::{Due, Ending},
    mix::Mix,
    stream::{self, Outbox},
    tally::Tally,
};
use crate::grpc::proto::data_plane_client::DataPlaneClient;

/// How long the run waits for its streams to open. A server that admits fewer at a time lets the rest wait until others
/// end, which is never; then the schedule starts all the same, and what these cannot send is lost.
const OPENING: Duration = Duration::from_secs(5);

/// The streams of a run.
pub(super) struct Streams {
    /// Where the pacer hands over.
    pub(super) lanes: Vec<UnboundedSender<Due>>,
    outboxes: Vec<Arc<Outbox>>,
    /// Each returns its stream's number.
    tasks: JoinSet<(usize, Ending)>,
}

impl Streams {
    /// Opens the streams, spread evenly over the connections.
    pub(super) async fn open(options: &LoadOptions, clients: &[DataPlaneClient<Channel>]) -> Self {
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
    pub(super) async fn drain(mut self, options: &LoadOptions) -> (Tally, Vec<Ending>) {
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
