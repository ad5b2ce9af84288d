//! What a client may leave undone, and for how long.

use std::time::Duration;

use millstream::grpc::server::{Drained, Limit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    PATIENCE,
    raw::{self, RawClient},
    start,
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

#[tokio::test]
async fn a_connection_that_does_not_finish_its_handshake_is_closed() {
    for (at, beginning) in beginnings().iter().enumerate() {
        let server = start(|options| options.handshake_timeout = SHORT).await;
        let bystander = server.bystander().await;
        let begun = Instant::now();
        let peer = silent_after(server.addr, beginning).await;
        hung_up(peer).await;
        assert!(begun.elapsed() >= SHORT, "beginning {at}: {:?}", begun.elapsed());
        server.hit(Limit::Handshake, 1).await;
        server.left_with(1).await;
        bystander.noticed_nothing().await;
    }
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
async fn a_client_that_does_not_answer_pings_is_gone() {
    let server = start(|options| {
        options.keepalive_interval = Duration::from_secs(1);
        options.keepalive_timeout = SHORT;
    })
    .await;
    let bystander = server.bystander().await;
    let mut client = RawClient::connect(server.addr).await;
    client.hung_up().await;
    server.hit(Limit::Keepalive, 1).await;
    server.left_with(1).await;
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
