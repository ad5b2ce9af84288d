//! SIGTERM: what was accepted is finished, nothing new is, and the process ends in time, whatever its peers do.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream, sync::mpsc, time::timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{Client, PATIENCE, Serving, client, code, request, serving::signal, until, within};
use millstream::grpc::proto::{StreamRequest, StreamResponse, WatchStatsRequest};

/// What the process may take beyond the drain deadline.
const GRACE: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_millis(300);

async fn start(more: &[&str]) -> Serving {
    let deadline = format!("server.drain_timeout={}ms", DEADLINE.as_millis());
    Serving::start(&[&["--set", &deadline, "--set", "worker_count=2"], more].concat()).await
}

/// One worker, and what waits waits behind it, however long that takes.
async fn start_in_line() -> Serving {
    start(&["--set", "worker_count=1", "--set", "enable_length_scheduling=false"]).await
}

/// A server that takes its time, so that what ends at once ends for another reason.
async fn start_patient() -> Serving {
    Serving::start(&["--set", "server.drain_timeout=1h", "--set", "worker_count=1"]).await
}

/// Ends with success, within the deadline and the grace.
async fn ends_in_time(server: Serving) {
    signal(&server.child, "-TERM").await;
    assert_eq!(within(DEADLINE + GRACE, server.ended()).await, Some(Some(0)));
}

/// A stream with these messages, and the way to send more.
async fn stream(
    client: &mut Client,
    requests: impl IntoIterator<Item = StreamRequest>,
) -> (mpsc::Sender<StreamRequest>, Streaming<StreamResponse>) {
    let (sender, feed) = mpsc::channel(10_000);
    for request in requests {
        sender.send(request).await.unwrap();
    }
    let answers = client.stream(ReceiverStream::new(feed)).await.unwrap().into_inner();
    (sender, answers)
}

async fn next(answers: &mut Streaming<StreamResponse>) -> Option<StreamResponse> {
    timeout(PATIENCE, answers.message()).await.expect("an answer comes").unwrap()
}

async fn connect(server: &Serving, beginning: &[u8]) -> TcpStream {
    let mut peer = TcpStream::connect(&server.addr).await.unwrap();
    peer.write_all(beginning).await.unwrap();
    peer
}

#[tokio::test]
async fn peers_that_never_finished_their_handshake_are_not_waited_for() {
    let server = start_patient().await;
    let _silent = connect(&server, b"").await;
    let _half = connect(&server, b"PRI * HTTP/2").await;
    // A call that is answered comes after the two in the order of connections.
    client(&server).await.process(request(0, "echo", "x", &[])).await.unwrap();
    signal(&server.child, "-TERM").await;
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn who_watches_the_figures_is_not_waited_for_however_seldom_he_looks() {
    let server = start_patient().await;
    let day = Some(prost_types::Duration { seconds: 24 * 3600, nanos: 0 });
    let mut client = client(&server).await;
    let watch = client.watch_stats(WatchStatsRequest { interval: day }).await.unwrap();
    let mut figures = watch.into_inner();
    assert!(timeout(PATIENCE, figures.message()).await.unwrap().unwrap().is_some());
    signal(&server.child, "-TERM").await;
    assert_eq!(timeout(PATIENCE, figures.message()).await.expect("the watch ends").unwrap(), None);
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn a_stream_that_stays_open_is_waited_for_until_the_deadline() {
    let server = start(&[]).await;
    let mut client = client(&server).await;
    let (_requests, mut answers) = stream(&mut client, [request(1, "echo", "x", &[])]).await;
    assert_eq!(next(&mut answers).await.map(|answer| answer.id), Some(1));
    ends_in_time(server).await;
}

#[tokio::test]
async fn a_reader_that_never_reads_does_not_hold_up_the_end() {
    let server = start(&[]).await;
    let mut client = client(&server).await;
    let payload = vec![7; 64 << 10];
    let requests = (0..200).map(|id| request(id, "echo", payload.clone(), &[]));
    let (_requests, _unread) = stream(&mut client, requests).await;
    until(&mut client, "answers pile up", |stats| stats.accepted > 20).await;
    ends_in_time(server).await;
}

#[tokio::test]
async fn a_handler_in_an_endless_loop_does_not_hold_up_the_end() {
    let server = start(&[]).await;
    let mut client = client(&server).await;
    let endless = request(1, "echo", "x", &[("busy", "60s"), ("stubborn", "true")]);
    let (_requests, _answers) = stream(&mut client, [endless]).await;
    until(&mut client, "it runs", |stats| stats.accepted == 1 && stats.queued == 0).await;
    ends_in_time(server).await;
}

#[tokio::test]
async fn all_of_them_together_do_not_hold_up_the_end() {
    let server = start_in_line().await;
    let _silent = connect(&server, b"").await;
    let _half = connect(&server, b"PRI * HTTP/2").await;
    let mut client = client(&server).await;
    let payload = vec![7; 64 << 10];
    let (_some, _unread) =
        stream(&mut client, (0..200).map(|id| request(id, "echo", payload.clone(), &[]))).await;
    until(&mut client, "answers pile up", |stats| stats.accepted > 20).await;
    let endless = || request(1, "echo", "x", &[("busy", "60s"), ("stubborn", "true")]);
    let (_more, _answers) = stream(&mut client, (0..10).map(|_| endless())).await;
    until(&mut client, "one runs, others wait", |stats| stats.queued > 5).await;
    let _watch = client.watch_stats(WatchStatsRequest::default()).await.unwrap();
    ends_in_time(server).await;
}

#[tokio::test]
async fn what_was_accepted_is_answered_and_the_server_ends_as_soon_as_it_is() {
    let server = start_patient().await;
    let mut client = client(&server).await;
    let requests = (0..30).map(|id| request(id, "echo", "x", &[("busy", "10ms")]));
    let (requests, mut answers) = stream(&mut client, requests).await;
    until(&mut client, "all are accepted", |stats| stats.accepted == 30).await;
    signal(&server.child, "-TERM").await;
    drop(requests);
    for id in 0..30 {
        let answer = next(&mut answers).await.unwrap();
        assert_eq!((answer.id, code(&answer)), (id, Code::Ok));
    }
    assert_eq!(next(&mut answers).await, None);
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn what_the_deadline_leaves_is_answered_unavailable_before_the_end() {
    let server = start_in_line().await;
    let mut client = client(&server).await;
    let stuck = request(0, "echo", "x", &[("busy", "60s"), ("stubborn", "true")]);
    let requests = [stuck].into_iter().chain((1..6).map(|id| request(id, "echo", "x", &[])));
    let (_requests, mut answers) = stream(&mut client, requests).await;
    until(&mut client, "all are accepted", |stats| stats.accepted == 6).await;
    let ending = tokio::spawn(ends_in_time(server));
    for id in 0..6 {
        let answer = next(&mut answers).await.unwrap();
        assert_eq!((answer.id, code(&answer)), (id, Code::Unavailable), "{answer:?}");
    }
    ending.await.unwrap();
}

#[tokio::test]
async fn readiness_turns_before_anything_else_and_its_watchers_do_not_stay() {
    let server = start_patient().await;
    let mut client = client(&server).await;
    let mut health = HealthClient::new(Channel::from_shared(server.url()).unwrap().connect().await.unwrap());
    let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let (requests, mut answers) = stream(&mut client, [request(1, "echo", "x", &[])]).await;
    assert_eq!(next(&mut answers).await.map(|answer| answer.id), Some(1));
    signal(&server.child, "-TERM").await;
    let told = timeout(PATIENCE, watched.next()).await.expect("the watcher is told");
    assert_eq!(told.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(timeout(PATIENCE, watched.next()).await.expect("the watch ends").is_none());
    // The plane closes next, then the socket.
    while TcpStream::connect(&server.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    requests.send(request(2, "echo", "x", &[])).await.unwrap();
    let answer = next(&mut answers).await.unwrap();
    assert_eq!((answer.id, code(&answer)), (2, Code::Unavailable));
    drop(requests);
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_even_with_a_handler_in_an_endless_loop() {
    let server = start_patient().await;
    let mut client = client(&server).await;
    let endless = request(1, "echo", "x", &[("busy", "60s"), ("stubborn", "true")]);
    let (_requests, _answers) = stream(&mut client, [endless]).await;
    until(&mut client, "it runs", |stats| stats.accepted == 1 && stats.queued == 0).await;
    signal(&server.child, "-TERM").await;
    while TcpStream::connect(&server.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    signal(&server.child, "-INT").await;
    assert_eq!(within(GRACE, server.ended()).await, Some(Some(1)));
}
