//! What a client may leave undone, and for how long: on a clock that stands still, to the millisecond.

use std::time::Duration;

use millstream::grpc::server::{Drained, Limit, Server, ServerOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{self, timeout},
};

use super::{
    PATIENCE, Running, clock,
    raw::{self, RawClient},
    reception, request_of, start,
};

/// For who takes his time; the others take none, but what a busy machine takes from them.
const SHORT: Duration = Duration::from_millis(500);

/// Beginnings of a handshake: nothing, half a preface, a preface, half of the first frame.
fn beginnings() -> [Vec<u8>; 4] {
    let settings = raw::encode(raw::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 7]);
    [Vec::new(), raw::PREFACE[..12].to_vec(), raw::PREFACE.to_vec(), [raw::PREFACE, &settings[..11]].concat()]
}

async fn silent_after(addr: std::net::SocketAddr, beginning: &[u8]) -> TcpStream {
    let mut peer = TcpStream::connect(addr).await.unwrap();
    peer.write_all(beginning).await.unwrap();
    peer
}

/// Reads to the end; a reset is one.
async fn hung_up(mut peer: TcpStream) {
    let mut rest = Vec::new();
    timeout(PATIENCE, peer.read_to_end(&mut rest)).await.expect("the server hangs up").ok();
}

/// Time that a client is given.
const LONG: Duration = Duration::from_secs(8);
/// The grain of tokio's clock: a timer may be late by as much.
const MOMENT: Duration = Duration::from_millis(1);

type Setting = (&'static str, fn(&mut ServerOptions, Duration));

/// Nothing is counted until the time that is set has passed since the scene, and then one, once, at most so `late`; another
/// client goes on. No time at all is refused as a setting.
async fn runs_out<T>(
    limit: Limit,
    (field, set): Setting,
    late: Duration,
    scene: impl AsyncFn(&Running) -> T,
) {
    clock::stopped(async {
        let server = start(|options| set(options, LONG)).await;
        let mut other = server.client().await;
        let _kept = scene(&server).await;
        for (passes, hits) in [(LONG - MOMENT, 0), (MOMENT + late, 1), (LONG, 1)] {
            time::advance(passes).await;
            other.process(request_of(10)).await.expect("nobody else notices");
            server.hit(limit, hits).await;
        }
    })
    .await;
    let mut options = ServerOptions::default();
    set(&mut options, Duration::ZERO);
    let refused = Server::bind(options).await.expect_err("0 is refused").to_string();
    assert!(refused.starts_with(&format!("server.{field} = 0ns cannot work")), "{refused}");
}

#[tokio::test]
async fn a_connection_that_does_not_finish_its_handshake_is_closed() {
    for beginning in beginnings() {
        let setting: Setting = ("handshake_timeout", |options, time| options.handshake_timeout = time);
        runs_out(Limit::Handshake, setting, MOMENT, async |server| {
            let peer = silent_after(server.addr, &beginning).await;
            // With the other client's.
            server.left_with(2).await;
            peer
        })
        .await;
    }
}

#[tokio::test]
async fn a_message_that_does_not_go_on_ends_its_call() {
    const CHECK: &str = "/grpc.health.v1.Health/Check";
    const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    for (method, sent) in
        [(raw::STREAM, 1), (raw::STREAM, 5), (raw::STREAM, 500), (CHECK, 0), (CHECK, 6), (REFLECTION, 6)]
    {
        let setting: Setting = ("read_timeout", |options, time| options.read_timeout = time);
        runs_out(Limit::Read, setting, MOMENT, async |server| {
            let mut client = RawClient::connect(server.addr).await;
            client.send(&raw::headers_to(method, 0)).await;
            client.data(0, reception::message(1000)[..sent].chunks(1000)).await;
            // The server has seen what came before.
            assert!(client.is_answered(1).await);
            client
        })
        .await;
    }
}

#[tokio::test]
async fn a_large_message_has_that_time_for_each_64_kib_of_it_and_not_for_each_byte() {
    for (piece, hits) in [(64 << 10, 0), (1, 1)] {
        clock::stopped(async {
            let server = start(|options| {
                options.read_timeout = LONG;
                (options.max_concurrent_streams, options.stream_window) = (8, 1 << 20);
            })
            .await;
            let mut client = reception::client(&server).await;
            let (begun, rest) = (&reception::message(200 << 10)[..5], vec![0; 200 << 10]);
            reception::begin(&mut client, 0, begun).await;
            assert!(client.is_answered(1).await);
            for (call, piece) in (2..4).zip(rest.chunks(piece)) {
                time::advance(LONG - MOMENT).await;
                client.data(0, piece.chunks(16_384)).await;
                // The server has seen it.
                assert!(client.is_answered(call).await);
            }
            server.hit(Limit::Read, hits).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_call_whose_answers_are_not_read_is_ended() {
    let setting: Setting = ("write_timeout", |options, time| options.write_timeout = time);
    // They are looked after four times in that time.
    runs_out(Limit::Unread, setting, LONG / 4 + MOMENT, async |server| {
        let mut client = RawClient::connect_with_window(server.addr, 0).await;
        reception::begin(&mut client, 0, &[0; 5]).await;
        assert_eq!(client.next_of(&[raw::HEADERS, raw::GO_AWAY]).await.kind, raw::HEADERS);
        client
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_pings_is_gone() {
    let interval = Duration::from_secs(1);
    let setting: Setting = ("keepalive_timeout", |options, time| {
        options.keepalive_interval = Duration::from_secs(1);
        options.keepalive_timeout = time;
    });
    runs_out(Limit::Keepalive, setting, MOMENT, async |server| {
        let mut client = RawClient::connect(server.addr).await;
        assert!(client.is_answered(0).await);
        time::advance(interval + MOMENT).await;
        client.next_of(&[raw::PING]).await;
        client
    })
    .await;
}

#[tokio::test]
async fn the_last_answers_have_half_a_second_after_the_drain_and_then_the_rest_is_cut_off() {
    clock::stopped(async {
        let server = start(|options| options.drain_timeout = LONG).await;
        let mut client = RawClient::connect(server.addr).await;
        client.open(0).await;
        assert!(client.is_answered(1).await);
        server.stop.send(()).unwrap();
        client.next_of(&[raw::GO_AWAY]).await;
        time::advance(LONG + Duration::from_millis(500) - MOMENT).await;
        // It has been told, and goes on: a message on the call that is open is answered.
        client.data(0, [&[0; 5][..]].into_iter()).await;
        client.next_of(&[raw::DATA]).await;
        assert!(!server.serving.is_finished());
        time::advance(2 * MOMENT).await;
        assert_eq!(server.serving.await.unwrap(), Drained::Deadline);
    })
    .await;
}

#[tokio::test]
async fn a_handshake_that_comes_byte_by_byte_gets_no_more_time() {
    let server = start(|options| options.handshake_timeout = SHORT).await;
    let (mut reader, mut writer) = TcpStream::connect(server.addr).await.unwrap().into_split();
    let dribble = async {
        let mut ticks = tokio::time::interval(SHORT / 10);
        for byte in raw::PREFACE {
            ticks.tick().await;
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        writer
    };
    let mut rest = Vec::new();
    let hung_up = timeout(PATIENCE, reader.read_to_end(&mut rest));
    let (hung_up, _writer) = tokio::join!(hung_up, dribble);
    hung_up.expect("the server hangs up").ok();
    server.hit(Limit::Handshake, 1).await;
}

#[tokio::test]
async fn a_connection_that_has_spoken_may_be_silent_for_longer() {
    let server = start(|options| options.handshake_timeout = SHORT).await;
    let mut client = RawClient::connect(server.addr).await;
    hung_up(silent_after(server.addr, &[]).await).await;
    client.ping().await;
    assert_eq!(client.next_of(&[raw::PING, raw::GO_AWAY]).await.kind, raw::PING);
    server.hit(Limit::Handshake, 1).await;
}

#[tokio::test]
async fn what_has_not_finished_its_handshake_does_not_hold_up_the_drain() {
    let server = start(|options| options.drain_timeout = Duration::from_secs(3600)).await;
    let mut peers = Vec::new();
    for beginning in beginnings() {
        peers.push(silent_after(server.addr, &beginning).await);
    }
    server.left_with(4).await;
    assert_eq!(server.drained().await, Drained::Clean);
    for peer in peers {
        hung_up(peer).await;
    }
}

#[tokio::test]
async fn a_call_whose_answers_are_not_read_is_ended_and_says_so_to_who_reads_on() {
    let server = start(|options| options.write_timeout = SHORT).await;
    let bystander = server.bystander().await;
    let mut client = RawClient::connect_with_window(server.addr, 0).await;
    client.open(0).await;
    client.data(0, [&[0; 5][..]].into_iter()).await;
    server.hit(Limit::Unread, 1).await;
    // The client has not ended its side: trailers are the server's own end of the call.
    client.widen(0, 1 << 20).await;
    let end = client.next_end_of_stream(&[raw::HEADERS, raw::RST_STREAM, raw::GO_AWAY]).await;
    assert_eq!(end.kind, raw::HEADERS);
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn headers_that_come_bit_by_bit_are_not_waited_for() {
    let server = start(|_| {}).await;
    let bystander = server.bystander().await;
    let mut client = RawClient::connect(server.addr).await;
    // All but the last field's value, of which there is more than will ever be sent.
    let block = raw::headers_block(1000);
    client.send(&raw::encode(raw::HEADERS, 0, raw::stream(0), &block[..block.len() - 1000])).await;
    // However slow: it is their number that is bounded.
    client.dribble(&raw::encode(raw::CONTINUATION, 0, raw::stream(0), b"x"), SHORT / 2).await;
    server.hit(Limit::Protocol, 1).await;
    server.left_with(1).await;
    bystander.noticed_nothing().await;
}
