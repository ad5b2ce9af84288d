//! A server that stands in for millstream's: the generated service, with behaviour by the message.

use std::{collections::BTreeMap, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use millstream::grpc::proto::{
    GetStatsRequest, GetStatsResponse, ListOperationsRequest, ListOperationsResponse, StreamRequest,
    StreamResponse, WatchStatsRequest,
    data_plane_server::{DataPlane, DataPlaneServer},
    stream_response::Outcome,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, interval_at, timeout},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

/// What the stand-in does with a message.
pub(crate) enum Step {
    /// Sends these.
    Answers(Vec<StreamResponse>),
    /// Does nothing on this stream for so long, then sends these.
    Stall(Duration, Vec<StreamResponse>),
    /// Ends the stream with this status.
    Close(Status),
    /// Neither reads nor answers any more, and leaves the stream open.
    Hang,
}

impl Step {
    pub(crate) fn into_answers(self) -> Vec<StreamResponse> {
        match self {
            Self::Answers(answers) | Self::Stall(_, answers) => answers,
            Self::Close(_) | Self::Hang => Vec::new(),
        }
    }
}

/// Sends the payload back.
pub(crate) fn answer(request: &StreamRequest) -> Step {
    reply(request, Outcome::Result(request.payload.clone()))
}

/// Sends an error.
pub(crate) fn refuse(request: &StreamRequest, code: Code, why: &str) -> Step {
    let status = tonic_types::Status { code: code as i32, message: why.to_owned(), details: Vec::new() };
    reply(request, Outcome::Error(status))
}

fn reply(request: &StreamRequest, outcome: Outcome) -> Step {
    Step::Answers(vec![StreamResponse {
        id: request.id,
        outcome: Some(outcome),
        ..StreamResponse::default()
    }])
}

/// Given the number of the message within its stream, and the message.
type Behaviour = dyn Fn(u64, StreamRequest) -> Step + Send + Sync;

pub(crate) struct StandIn {
    address: SocketAddr,
    seen: watch::Receiver<Seen>,
}

/// What the server has seen.
#[derive(Debug, Default)]
struct Seen {
    received: u64,
    open_streams: u64,
    orders: Vec<String>,
    streams_by_peer: BTreeMap<SocketAddr, u64>,
}

impl StandIn {
    /// A server on a port of its own, for as long as the test's runtime lives.
    pub(crate) async fn start(
        behaviour: impl Fn(u64, StreamRequest) -> Step + Send + Sync + 'static,
    ) -> Self {
        let incoming =
            TcpIncoming::bind(([127, 0, 0, 1], 0).into()).expect("a free port").with_nodelay(Some(true));
        let address = incoming.local_addr().expect("it is bound");
        let (sender, seen) = watch::channel(Seen::default());
        let service = Service { behaviour: Arc::new(behaviour), seen: sender };
        tokio::spawn(
            Server::builder().add_service(DataPlaneServer::new(service)).serve_with_incoming(incoming),
        );
        Self { address, seen }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Messages received.
    pub(crate) fn received(&self) -> u64 {
        self.seen.borrow().received
    }

    /// Streams that have neither ended nor been let go of.
    pub(crate) fn open_streams(&self) -> u64 {
        self.seen.borrow().open_streams
    }

    /// The `millstream-order` of each stream.
    pub(crate) fn orders(&self) -> Vec<String> {
        self.seen.borrow().orders.clone()
    }

    /// How many streams each connection had, ascending.
    pub(crate) fn streams_by_peer(&self) -> Vec<u64> {
        let mut streams: Vec<u64> = self.seen.borrow().streams_by_peer.values().copied().collect();
        streams.sort_unstable();
        streams
    }

    /// Waits until the server has seen what is wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Self) -> bool) {
        let mut changes = self.seen.clone();
        let seen = async {
            while !wanted(self) {
                changes.changed().await.expect("the server runs");
            }
        };
        timeout(Duration::from_secs(20), seen).await.expect("20 s are enough");
    }
}

struct Service {
    behaviour: Arc<Behaviour>,
    seen: watch::Sender<Seen>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl DataPlane for Service {
    type StreamStream = ReceiverStream<Result<StreamResponse, Status>>;
    type WatchStatsStream = Answers<GetStatsResponse>;

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let order = request
            .metadata()
            .get("millstream-order")
            .map(|order| order.to_str().expect("it is text").to_owned());
        let peer = request.remote_addr().expect("it came over TCP");
        self.seen.send_modify(|seen| {
            seen.open_streams += 1;
            seen.orders.extend(order);
            *seen.streams_by_peer.entry(peer).or_default() += 1;
        });
        let (answers, receiver) = mpsc::channel(16);
        let (behaviour, seen) = (Arc::clone(&self.behaviour), self.seen.clone());
        tokio::spawn(async move {
            serve(request.into_inner(), &*behaviour, &answers, &seen).await;
            seen.send_modify(|seen| seen.open_streams -= 1);
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn process(&self, _: Request<StreamRequest>) -> Result<Response<StreamResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }

    async fn list_operations(
        &self,
        _: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }

    async fn get_stats(&self, _: Request<GetStatsRequest>) -> Result<Response<GetStatsResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }

    async fn watch_stats(
        &self,
        _: Request<WatchStatsRequest>,
    ) -> Result<Response<Self::WatchStatsStream>, Status> {
        Err(Status::unimplemented("streams only"))
    }
}

/// Serves a stream until it ends, fails, or is let go of by the client.
async fn serve(
    mut requests: Streaming<StreamRequest>,
    behaviour: &Behaviour,
    answers: &mpsc::Sender<Result<StreamResponse, Status>>,
    seen: &watch::Sender<Seen>,
) {
    let mut number = 0;
    while let Ok(Some(request)) = requests.message().await {
        seen.send_modify(|seen| seen.received += 1);
        let due = match behaviour(number, request) {
            Step::Answers(due) => due,
            Step::Stall(time, due) => {
                interval_at(Instant::now() + time, time).tick().await;
                due
            }
            Step::Close(status) => return answers.send(Err(status)).await.unwrap_or(()),
            Step::Hang => return answers.closed().await,
        };
        for answer in due {
            if answers.send(Ok(answer)).await.is_err() {
                return;
            }
        }
        number += 1;
    }
}
