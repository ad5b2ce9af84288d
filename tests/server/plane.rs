//! The data plane behind the server, and clients that leave it in every way there is: what they had in work is
//! cancelled, what runs stays counted until it has ended, and then everything is free again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, unbounded};
use millstream::{
    HandlerError, JobScope, MessageHandler, OptimizationConfig, OptimizedStreamProcessor,
    grpc::{
        performance::{
            config::{MakeRoom, WhenFull},
            monitor::{Counter, Outcome},
        },
        proto::{ListOperationsRequest, StreamRequest, stream_response},
        server::{Limit, ServerOptions},
        service::{DataPlaneHandler, DataPlaneRequest, DataPlaneService, OperationInfo},
    },
};
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt;

use super::{
    PATIENCE, Running,
    raw::{self, RawClient},
    serve,
};

/// Room that a client makes for the answers of a call, when it means to read them.
const ROOMY: u32 = 1 << 20;
/// For who takes his time; the others take none, but what a busy machine takes from them.
const SHORT: Duration = Duration::from_millis(500);

/// Does what the operation says: `wait` blocks until the gate is opened, blind to cancellation; `spin` runs until it is
/// cancelled; anything else answers with the length, at once.
struct Worker {
    gate: Gate,
}

#[derive(Clone)]
struct Gate {
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    open: Receiver<()>,
}

impl MessageHandler for Worker {
    type Request = DataPlaneRequest;
    type Response = Bytes;

    fn handle(&mut self, request: DataPlaneRequest, scope: &mut JobScope<'_>) -> Result<Bytes, HandlerError> {
        if request.operation.is_empty() {
            return Ok(request.payload.len().to_string().into());
        }
        self.gate.begun.fetch_add(1, SeqCst);
        let interrupted = match request.operation.as_str() {
            "wait" => {
                // It is closed when the test opens the gate.
                self.gate.open.recv().ok();
                None
            }
            _ => Some(loop {
                if let Err(why) = scope.checkpoint() {
                    break why;
                }
            }),
        };
        self.gate.ended.fetch_add(1, SeqCst);
        match interrupted {
            Some(why) => Err(why.into()),
            None => Ok(request.payload),
        }
    }

    fn weight(request: &DataPlaneRequest) -> usize {
        request.payload.len()
    }
}

impl DataPlaneHandler for Worker {
    fn operations() -> Vec<OperationInfo> {
        Vec::new()
    }
}

struct Plane {
    server: Running,
    processor: OptimizedStreamProcessor<Worker>,
    gate: Gate,
    /// While it is there the gate is closed.
    closed: Option<Sender<()>>,
}

async fn start(config: OptimizationConfig, change: impl FnOnce(&mut ServerOptions)) -> Plane {
    let (closed, open) = unbounded();
    let gate = Gate { begun: Arc::default(), ended: Arc::default(), open };
    let inner = gate.clone();
    let processor = OptimizedStreamProcessor::new(config, move || Worker { gate: inner.clone() }).unwrap();
    let service = DataPlaneService::new(processor.clone(), 4 << 20);
    let server = serve(service, watch::Sender::new(true), change).await;
    Plane { server, processor, gate, closed: Some(closed) }
}

fn config() -> OptimizationConfig {
    OptimizationConfig { worker_count: 2, batch_size: 1, ..OptimizationConfig::default() }
}

impl Plane {
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
            tokio::task::yield_now().await;
        }
    }

    /// Streams, places and bytes.
    async fn all_is_free(&self) {
        self.until("everything is free", |plane| {
            let pool = plane.processor.pool();
            (plane.processor.open_streams(), pool.queued(), pool.bytes_in_flight()) == (0, 0, 0)
        })
        .await;
    }

    fn begun(&self) -> usize {
        self.gate.begun.load(SeqCst)
    }

    fn ended(&self) -> usize {
        self.gate.ended.load(SeqCst)
    }
}

fn request(operation: &str, bytes: usize) -> StreamRequest {
    StreamRequest { operation: operation.into(), payload: vec![7; bytes].into(), ..Default::default() }
}

/// A message as it stands on the wire.
fn message(operation: &str, bytes: usize) -> Vec<u8> {
    prefixed(&request(operation, bytes).encode_to_vec())
}

fn prefixed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

async fn send(client: &mut RawClient, call: u32, message: &[u8]) {
    client.open(call).await;
    client.data(call, message.chunks(16_384)).await;
}

/// Until the server has seen all that was sent before.
async fn settle(client: &mut RawClient) {
    client.ping().await;
    assert_eq!(client.next_of(&[raw::PING, raw::GO_AWAY]).await.kind, raw::PING);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_up_to_the_limit_are_open_and_one_more_is_told_when_to_come_again() {
    let plane = start(OptimizationConfig { max_concurrent_connections: 3, ..config() }, |_| {}).await;
    let bystander = plane.server.bystander().await;
    let mut client = plane.server.client().await;
    let refused = || plane.processor.monitor().counts().of(Counter::StreamsRefused);
    let mut open = Vec::new();
    for _ in 0..3 {
        let (requests, feed) = mpsc::channel(1);
        let answers = client.stream(ReceiverStream::new(feed)).await.unwrap().into_inner();
        open.push((requests, answers));
        assert_eq!(refused(), 0, "{} are open", open.len());
    }
    let status = client.stream(tokio_stream::pending::<StreamRequest>()).await.unwrap_err();
    assert_eq!((status.code(), refused()), (Code::ResourceExhausted, 1));
    let pushback: u64 =
        status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
    let details = status.get_error_details();
    let delay = details.retry_info().unwrap().retry_delay.unwrap();
    assert!(pushback >= 100 && delay.as_millis() == u128::from(pushback), "{pushback} ms, {delay:?}");
    assert_eq!(details.error_info().unwrap().reason, "TOO_MANY_STREAMS");
    drop(open.pop());
    plane.until("one has gone", |plane| plane.processor.open_streams() == 2).await;
    client.stream(tokio_stream::pending::<StreamRequest>()).await.unwrap();
    assert_eq!(refused(), 1);
    bystander.noticed_nothing().await;
}

/// What bounds the messages that may wait, and the sizes of some that do with `above` more than there is room for, beside
/// one of 1000 bytes that is in work.
struct Room {
    config: OptimizationConfig,
    sizes: fn(above: isize) -> Vec<usize>,
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_fill_the_plane_to_its_limits_are_accepted_and_what_is_above_is_refused_and_counted_once()
 {
    let sheds = || OptimizationConfig {
        worker_count: 1,
        when_full: WhenFull::Shed,
        make_room: MakeRoom::Off,
        backpressure_threshold: 1.0,
        ..config()
    };
    let rooms = [
        Room {
            config: OptimizationConfig { worker_queue_capacity: 7, ..sheds() },
            sizes: |above| vec![10; 7_usize.strict_add_signed(above)],
        },
        Room {
            config: OptimizationConfig { max_bytes_in_flight: 4000, ..sheds() },
            sizes: |above| vec![3000_usize.strict_add_signed(above)],
        },
    ];
    for Room { config, sizes } in rooms {
        for (above, refusals) in [(-1, 0), (0, 0), (1, 1)] {
            let mut plane = start(config.clone(), |_| {}).await;
            let (mut client, mut other) = (plane.server.client().await, plane.server.client().await);
            let (requests, feed) = mpsc::channel(100);
            let mut call = tonic::Request::new(ReceiverStream::new(feed));
            // A refusal is not to wait for the answers before it.
            call.metadata_mut().insert("millstream-order", "completion".parse().unwrap());
            let mut answers = client.stream(call).await.unwrap().into_inner();
            requests.send(request("wait", 1000)).await.unwrap();
            plane.until("the worker is busy", |plane| plane.begun() == 1).await;
            let sizes = sizes(above);
            for &size in &sizes {
                requests.send(request("", size)).await.unwrap();
            }
            drop(requests);
            let refused =
                |plane: &Plane| plane.processor.monitor().counts().answered(Outcome::ResourceExhausted);
            plane
                .until("all but what is above wait", |plane| {
                    plane.processor.pool().queued() == sizes.len() - refusals
                        && refused(plane) == refusals as u64
                })
                .await;
            other.list_operations(ListOperationsRequest {}).await.unwrap();
            plane.closed = None;
            let mut codes = Vec::new();
            while let Some(answer) = answers.message().await.unwrap() {
                codes.extend(match answer.outcome {
                    Some(stream_response::Outcome::Error(status)) => Some(status.code),
                    _ => None,
                });
            }
            assert_eq!(codes, vec![Code::ResourceExhausted as i32; refusals], "{above} above");
            assert_eq!(refused(&plane), refusals as u64, "{above} above");
            other.process(request("", 10)).await.unwrap();
            plane.all_is_free().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_fits_only_just_is_answered_and_one_that_can_never_fit_is_refused_alone() {
    let plane = start(OptimizationConfig { max_bytes_in_flight: 4000, ..config() }, |_| {}).await;
    let (mut client, bystander) = (plane.server.client().await, plane.server.bystander().await);
    let refused = || plane.processor.monitor().counts().answered(Outcome::ResourceExhausted);
    for (size, refusals) in [(3999, 0), (4000, 0), (4001, 1)] {
        let answer = client.process(request("", size)).await;
        assert_eq!(answer.is_err(), refusals > 0, "{size}: {answer:?}");
        assert_eq!(refused(), refusals, "{size}");
    }
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_whose_calls_the_protocol_has_forgotten_stays_counted_and_is_never_more_than_the_workers() {
    for made_you_reset in [false, true] {
        let mut plane = start(OptimizationConfig { worker_count: 1, ..config() }, |_| {}).await;
        let mut client = RawClient::connect(plane.server.addr).await;
        send(&mut client, 0, &message("wait", 1000)).await;
        plane.until("the worker is busy", |plane| plane.begun() == 1).await;
        for call in 1..200 {
            send(&mut client, call, &message("wait", 1000)).await;
            settle(&mut client).await;
            if made_you_reset { client.overflow(call).await } else { client.reset(call).await }
        }
        client.reset(0).await;
        // What the protocol has forgotten counts against `max_concurrent_connections` while a worker is at it.
        let only_the_first = |plane: &Plane| {
            let opened = plane.processor.monitor().snapshot().counts.of(Counter::StreamsOpened);
            (opened, plane.processor.open_streams()) == (200, 1)
        };
        plane.until("the other calls are forgotten", only_the_first).await;
        // The message in work still holds its bytes; the others were never started and hold nothing.
        plane.until("the queue is empty", |plane| plane.processor.pool().bytes_in_flight() <= 1000).await;
        assert_eq!((plane.begun(), plane.ended()), (1, 0));
        assert_eq!(plane.processor.pool().bytes_in_flight(), 1000);
        plane.closed = None;
        plane.all_is_free().await;
        assert_eq!((plane.begun(), plane.ended()), (1, 1));
    }
}

/// How a client goes.
#[derive(Debug, Clone, Copy)]
enum Going {
    HangsUp,
    Resets,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_at_any_stage_stops_what_it_had_in_work() {
    let plane = start(config(), |_| {}).await;
    let bystander = plane.server.bystander().await;
    let mut times = 0;
    for going in [Going::HangsUp, Going::Resets] {
        // Before its answer; amid its answers; while it makes no room for them.
        for (before, window) in [(0, ROOMY), (3, ROOMY), (3, 0)] {
            let mut client = RawClient::connect_with_window(plane.server.addr, window).await;
            let messages = [message("", 10).repeat(before), message("spin", 10)].concat();
            send(&mut client, 0, &messages).await;
            times += 1;
            plane.until("it runs", |plane| plane.begun() == times).await;
            match going {
                Going::HangsUp => drop(client),
                Going::Resets => client.reset(0).await,
            }
            plane.until("it is stopped", |plane| plane.ended() == times).await;
        }
    }
    bystander.noticed_nothing().await;
    plane.all_is_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_loses_its_place_and_keeps_its_connection() {
    let plane = start(config(), |options| options.write_timeout = SHORT).await;
    let bystander = plane.server.bystander().await;
    let mut client = RawClient::connect_with_window(plane.server.addr, 0).await;
    client.next_of(&[raw::WINDOW_UPDATE]).await;
    for call in 0..3 {
        send(&mut client, call, &message("", 1000).repeat(50)).await;
    }
    plane.server.hit(Limit::Unread, 3).await;
    bystander.noticed_nothing().await;
    plane.all_is_free().await;
    settle(&mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_message_is_waited_for_and_then_its_call_ends() {
    let plane = start(config(), |options| options.read_timeout = SHORT).await;
    let bystander = plane.server.bystander().await;
    let mut client = RawClient::connect(plane.server.addr).await;
    let whole = message("", 1000);
    for (call, sent) in (0..).zip([1, 5, 500]) {
        send(&mut client, call, &whole[..sent]).await;
    }
    for _ in 0..3 {
        let end = client.next_end_of_stream(&[raw::HEADERS, raw::GO_AWAY]).await;
        assert_eq!(end.kind, raw::HEADERS);
    }
    plane.server.hit(Limit::Read, 3).await;
    bystander.noticed_nothing().await;
    plane.all_is_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_ends_its_own_call_and_nothing_else() {
    let plane = start(config(), |_| {}).await;
    let bystander = plane.server.bystander().await;
    let mut client = RawClient::connect(plane.server.addr).await;
    // `id` as bytes, `payload` as a number, a length beyond the end, a field of number 0, a compression that is none.
    let wrong: [&[u8]; 4] = [&[0x0a, 1, 7], &[0x18, 7], &[0x1a, 200, 1], &[0x00, 0]];
    let mut messages: Vec<_> = wrong.iter().map(|wrong| prefixed(wrong)).collect();
    messages.push([&[1][..], &message("", 10)[1..]].concat());
    for (call, wrong) in (0..).zip(&messages) {
        send(&mut client, call, wrong).await;
        let end = client.next_end_of_stream(&[raw::HEADERS, raw::GO_AWAY]).await;
        assert_eq!(end.kind, raw::HEADERS, "{wrong:?}");
    }
    settle(&mut client).await;
    bystander.noticed_nothing().await;
    plane.all_is_free().await;
}
