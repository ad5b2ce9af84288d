//! The server around the service, on a real socket: each of its limits as a client meets it, and the drain.
//!
//! The service is a stand-in that does what a test asks for: what is under test is the transport around it.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod clock;
mod exact;
mod health;
mod limits;
mod pace;
mod patience;
mod plane;
mod raw;
mod reception;

use std::{
    net::SocketAddr,
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream::grpc::{
    proto::{
        data_plane_client::DataPlaneClient,
        data_plane_server::{DataPlane, DataPlaneServer},
        stream_response::Outcome,
        *,
    },
    server::{Drained, Limit, Server, ServerCounts, ServerOptions},
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{
        oneshot::{self, error::TryRecvError},
        watch,
    },
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::Channel};

use self::raw::RawClient;

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(30);

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers each message with its length. A stream is read only once `reading` is true.
#[derive(Clone)]
struct Measure {
    reading: watch::Receiver<bool>,
}

impl Measure {
    fn answer(request: &StreamRequest) -> StreamResponse {
        let length = request.payload.len().to_string();
        StreamResponse { id: request.id, outcome: Some(Outcome::Result(length.into())), ..Default::default() }
    }
}

#[tonic::async_trait]
impl DataPlane for Measure {
    type StreamStream = Responses<StreamResponse>;
    type WatchStatsStream = Responses<GetStatsResponse>;

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let mut requests = request.into_inner();
        let mut reading = self.reading.clone();
        let (answers, stream) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            if reading.wait_for(|reading| *reading).await.is_err() {
                return;
            }
            while let Some(request) = requests.next().await {
                let failed = request.is_err();
                let answer = request.map(|request| Self::answer(&request));
                if answers.send(answer).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn process(&self, request: Request<StreamRequest>) -> Result<Response<StreamResponse>, Status> {
        Ok(Response::new(Self::answer(request.get_ref())))
    }

    async fn list_operations(
        &self,
        _: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        Ok(Response::new(ListOperationsResponse::default()))
    }

    async fn get_stats(&self, _: Request<GetStatsRequest>) -> Result<Response<GetStatsResponse>, Status> {
        Ok(Response::new(GetStatsResponse::default()))
    }

    async fn watch_stats(
        &self,
        _: Request<WatchStatsRequest>,
    ) -> Result<Response<Self::WatchStatsStream>, Status> {
        Err(Status::unimplemented("not needed here"))
    }
}

struct Running {
    addr: SocketAddr,
    counts: ServerCounts,
    reading: watch::Sender<bool>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Drained>,
}

async fn start(change: impl FnOnce(&mut ServerOptions)) -> Running {
    let reading = watch::Sender::new(true);
    let service = Measure { reading: reading.subscribe() };
    serve(service, reading, change).await
}

/// A server whose service says when it has more to do than it can.
async fn start_swamped(
    change: impl FnOnce(&mut ServerOptions),
    swamped: impl Fn() -> bool + Send + Sync + 'static,
) -> Running {
    let reading = watch::Sender::new(true);
    let service = Measure { reading: reading.subscribe() };
    run(bind(change).await.swamped_when(swamped), service, reading)
}

async fn serve(
    service: impl DataPlane,
    reading: watch::Sender<bool>,
    change: impl FnOnce(&mut ServerOptions),
) -> Running {
    run(bind(change).await, service, reading)
}

async fn bind(change: impl FnOnce(&mut ServerOptions)) -> Server {
    let mut options = ServerOptions { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() };
    change(&mut options);
    Server::bind(options).await.unwrap()
}

fn run(server: Server, service: impl DataPlane, reading: watch::Sender<bool>) -> Running {
    let (addr, counts) = (server.local_addr(), server.counts());
    let service = DataPlaneServer::new(service);
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(async move {
        let shutdown = async {
            stopped.await.ok();
        };
        server.serve(service, shutdown).await
    });
    Running { addr, counts, reading, stop, serving }
}

impl Running {
    async fn client(&self) -> DataPlaneClient<Channel> {
        DataPlaneClient::connect(format!("http://{}", self.addr)).await.unwrap()
    }

    /// Waits until a limit has been hit so often.
    async fn hit(&self, limit: Limit, times: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.counts.hits(limit) < times {
            assert!(Instant::now() < deadline, "{limit:?} of {:?}", self.counts);
            tokio::task::yield_now().await;
        }
        assert_eq!(self.counts.hits(limit), times, "{limit:?}");
    }

    /// Waits until so many connections are open, and no more: who was ended has given his place back.
    async fn left_with(&self, connections: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.counts.open() != connections {
            assert!(Instant::now() < deadline, "{:?}", self.counts);
            tokio::task::yield_now().await;
        }
    }

    /// A client that calls again and again while others misbehave.
    async fn bystander(&self) -> Bystander {
        let mut client = self.client().await;
        let (stop, mut stopped) = oneshot::channel();
        let calling = tokio::spawn(async move {
            loop {
                // One call more after the end, so that there is one however soon that comes.
                let is_last = stopped.try_recv() != Err(TryRecvError::Empty);
                let called = timeout(PATIENCE, client.process(request_of(10))).await;
                assert_eq!(result(called.expect("an answer comes").unwrap().into_inner()), "8");
                if is_last {
                    break;
                }
            }
        });
        Bystander { stop, calling }
    }

    async fn drained(self) -> Drained {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.serving).await.expect("the server ends").unwrap()
    }
}

struct Bystander {
    stop: oneshot::Sender<()>,
    calling: JoinHandle<()>,
}

impl Bystander {
    /// Each of its calls was answered.
    async fn noticed_nothing(self) {
        self.stop.send(()).unwrap();
        self.calling.await.unwrap();
    }
}

/// A request whose encoding has exactly `length` bytes.
fn request_of(length: usize) -> StreamRequest {
    let overhead = 1 + varint(length);
    let request = StreamRequest { payload: vec![0; length - overhead].into(), ..Default::default() };
    assert_eq!(prost::Message::encoded_len(&request), length);
    request
}

/// Bytes of the length of a payload that fills a request of `length` bytes.
fn varint(length: usize) -> usize {
    (1..=5).find(|bytes| length - 1 - bytes < 1 << (7 * bytes)).unwrap()
}

fn result(response: StreamResponse) -> Bytes {
    match response.outcome {
        Some(Outcome::Result(result)) => result,
        other => panic!("no result: {other:?}"),
    }
}

#[tokio::test]
async fn a_unary_request_above_the_limit_is_resource_exhausted_and_says_the_limit() {
    let server = start(|options| options.max_message_size = 100_000).await;
    let mut client = server.client().await;
    for length in [99_999, 100_000] {
        client.process(request_of(length)).await.unwrap();
    }
    assert_eq!(server.counts.hits(Limit::MessageSize), 0);
    let status = client.process(request_of(100_001)).await.unwrap_err();
    assert_eq!(server.counts.hits(Limit::MessageSize), 1);
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.message(),
        "a message of 100001 bytes is above the limit of 100000 bytes (server.max_message_size)"
    );
    // The connection, and whoever shares it, notices nothing.
    client.process(request_of(100_000)).await.unwrap();
    drop(client);
    assert_eq!(server.drained().await, Drained::Clean);
}

#[tokio::test]
async fn a_request_above_the_limit_ends_its_stream_with_resource_exhausted_after_the_answers_before_it() {
    let server = start(|options| options.max_message_size = 100_000).await;
    let mut client = server.client().await;
    let requests = [10, 100_000, 100_001, 10].map(request_of);
    let mut answers = client.stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    assert_eq!(result(answers.next().await.unwrap().unwrap()), "8");
    assert_eq!(result(answers.next().await.unwrap().unwrap()), "99996");
    let status = answers.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("100001 bytes is above the limit of 100000 bytes"), "{status}");
    assert!(answers.next().await.is_none());
    client.process(request_of(100_000)).await.unwrap();
}

#[tokio::test]
async fn a_message_of_20_mib_passes_when_it_is_allowed() {
    let server = start(|options| options.max_message_size = 21 << 20).await;
    let mut client = server.client().await;
    let response = client.process(request_of(20 << 20)).await.unwrap();
    assert_eq!(result(response.into_inner()), ((20 << 20) - 5).to_string());
}

#[tokio::test]
async fn options_that_cannot_work_are_not_bound() {
    let options = ServerOptions { connection_window: 1 << 20, ..Default::default() };
    let error = Server::bind(options).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().starts_with("server.connection_window = 1048576 cannot work"), "{error}");
}

#[tokio::test]
async fn a_server_without_calls_drains_at_once_and_frees_its_port() {
    let is_reached = async || {
        let server = start(|options| options.drain_timeout = Duration::from_secs(3600)).await;
        let addr = server.addr;
        let mut client = server.client().await;
        client.process(request_of(10)).await.unwrap();
        assert_eq!(server.drained().await, Drained::Clean);
        TcpStream::connect(addr).await.is_ok()
    };
    // Another test may have been given the port by then, but not each time.
    let mut tries = 0;
    while is_reached().await {
        tries += 1;
        assert!(tries < 5, "the port is not free");
    }
}

#[tokio::test]
async fn an_open_stream_is_waited_for() {
    let server = start(|options| options.drain_timeout = Duration::from_secs(3600)).await;
    let mut client = server.client().await;
    let (requests, stream) = tokio::sync::mpsc::channel(1);
    let mut answers = client.stream(ReceiverStream::new(stream)).await.unwrap().into_inner();
    server.stop.send(()).unwrap();
    // The socket closes at once, the stream goes on.
    while TcpStream::connect(server.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    requests.send(request_of(10)).await.unwrap();
    assert_eq!(result(answers.next().await.unwrap().unwrap()), "8");
    assert!(!server.serving.is_finished());
    drop(requests);
    assert!(answers.next().await.is_none());
    assert_eq!(timeout(PATIENCE, server.serving).await.unwrap().unwrap(), Drained::Clean);
}

#[tokio::test]
async fn peers_that_never_end_are_left_at_the_drain_deadline() {
    let server = start(|options| options.drain_timeout = Duration::from_millis(50)).await;
    let mut silent = TcpStream::connect(server.addr).await.unwrap();
    let mut half = TcpStream::connect(server.addr).await.unwrap();
    half.write_all(b"PRI * HTTP/2").await.unwrap();
    let mut client = server.client().await;
    let open = client.stream(tokio_stream::pending::<StreamRequest>()).await.unwrap();
    assert_eq!(server.drained().await, Drained::Deadline);
    drop(open);
    silent.shutdown().await.ok();
}

#[tokio::test]
async fn a_client_is_told_how_many_calls_it_may_have_open() {
    let server = start(|options| options.max_concurrent_streams = 7).await;
    let mut client = RawClient::connect(server.addr).await;
    assert_eq!(client.setting(raw::MAX_CONCURRENT_STREAMS).await, Some(7));
}

#[tokio::test]
async fn calls_up_to_the_limit_are_open_and_one_more_is_refused_and_harms_nobody() {
    let server = start(|options| options.max_concurrent_streams = 7).await;
    let bystander = server.bystander().await;
    let mut client = RawClient::connect(server.addr).await;
    for call in 0..7 {
        client.open(call).await;
        client.ping().await;
        assert_eq!(
            client.next_of(&[raw::PING, raw::RST_STREAM, raw::GO_AWAY]).await.kind,
            raw::PING,
            "{call}"
        );
    }
    assert_eq!(server.counts.hits(Limit::ConcurrentStreams), 0);
    client.open(7).await;
    assert_eq!(client.next_of(&[raw::RST_STREAM, raw::GO_AWAY]).await.kind, raw::RST_STREAM);
    server.hit(Limit::ConcurrentStreams, 1).await;
    // The others go on, and one that ends makes room for the next.
    client.half_close(0).await;
    client.next_end_of_stream(&[raw::HEADERS, raw::RST_STREAM, raw::GO_AWAY]).await;
    client.open(8).await;
    client.ping().await;
    assert_eq!(client.next_of(&[raw::PING, raw::RST_STREAM, raw::GO_AWAY]).await.kind, raw::PING);
    server.hit(Limit::ConcurrentStreams, 1).await;
    bystander.noticed_nothing().await;
}

/// Windows for 8 calls, with the smallest connection window that goes with them.
fn tight(options: &mut ServerOptions) {
    options.max_concurrent_streams = 8;
    options.stream_window = 16_384;
    options.connection_window = 8 * 16_384 / 5 * 251 * 2 + 2;
}

/// Fills the windows of 8 calls that are not being read with frames of `size` bytes, then asks whether the server is
/// still there.
async fn trickle(server: &Running, size: usize) -> RawClient {
    let mut client = RawClient::connect(server.addr).await;
    // Until then the connection's window is the one that HTTP/2 begins with.
    client.next_of(&[raw::WINDOW_UPDATE]).await;
    let empty_messages = vec![0; 16_384 / size * size];
    for call in 0..8 {
        client.open(call).await;
        client.data(call, empty_messages.chunks(size)).await;
    }
    client.ping().await;
    client
}

#[tokio::test]
async fn clients_that_trickle_empty_messages_at_a_server_that_does_not_read_keep_their_connection() {
    let server = start(tight).await;
    server.reading.send_replace(false);
    let mut client = trickle(&server, 5).await;
    assert_eq!(client.next_of(&[raw::PING, raw::GO_AWAY]).await.kind, raw::PING);
    server.reading.send_replace(true);
    for call in 0..8 {
        client.half_close(call).await;
    }
    for _ in 0..8 {
        let trailers = client.next_end_of_stream(&[raw::HEADERS, raw::RST_STREAM, raw::GO_AWAY]).await;
        assert_eq!(trailers.kind, raw::HEADERS);
    }
}

#[tokio::test]
async fn windows_that_fit_frames_of_five_bytes_exactly_do_not_fit_smaller_ones() {
    let server = start(tight).await;
    server.reading.send_replace(false);
    let mut client = trickle(&server, 4).await;
    assert_eq!(client.next_of(&[raw::PING, raw::GO_AWAY]).await.kind, raw::GO_AWAY);
}
