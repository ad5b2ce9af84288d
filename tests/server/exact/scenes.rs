//! How a client comes to a limit.

use millstream::grpc::server::Limit;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use super::{
    super::{
        PATIENCE, Running,
        raw::{self, RawClient},
        reception, request_of, result,
    },
    Fate,
};

/// A call beside those of a scene.
const ANOTHER: u32 = 1000;

/// Whether the connection goes on, by a call that carries something.
async fn fate(client: &mut RawClient) -> Fate {
    if client.is_answered(ANOTHER).await { Fate::Served } else { Fate::CutOff }
}

/// As many connections as that, with the one of the other client.
pub(super) async fn connections(server: &Running, much: usize) -> Fate {
    let mut before = Vec::new();
    for _ in 2..much {
        let mut client = RawClient::connect(server.addr).await;
        assert!(client.is_answered(0).await);
        before.push(client);
    }
    let mut last = RawClient::connect(server.addr).await;
    tokio::select! {
        biased;
        served = last.is_answered(0) => if served { Fate::Served } else { Fate::CutOff },
        () = server.hit(Limit::Connections, 1) => Fate::Waits,
    }
}

pub(super) async fn open_calls(server: &Running, much: usize) -> Fate {
    let mut client = RawClient::connect(server.addr).await;
    for call in 0..much as u32 {
        client.open(call).await;
    }
    client.ping().await;
    match client.next_of(&[raw::PING, raw::RST_STREAM, raw::GO_AWAY]).await.kind {
        raw::PING => Fate::Served,
        raw::RST_STREAM => Fate::Refused,
        _ => Fate::CutOff,
    }
}

/// A call with so many bytes of headers.
pub(super) async fn header_list(server: &Running, much: usize) -> Fate {
    let mut client = RawClient::connect(server.addr).await;
    client.send(&raw::headers(0, much - raw::list_size_without_fill())).await;
    client.half_close(0).await;
    let answer = client.next_of(&[raw::HEADERS, raw::GO_AWAY]).await;
    match answer.kind {
        // A call that was begun has headers and trailers; one that was refused with 431 ends with its headers.
        raw::HEADERS if answer.ends_stream() => {
            assert_eq!(fate(&mut client).await, Fate::Served, "the connection goes on");
            Fate::Refused
        }
        raw::HEADERS => Fate::Served,
        _ => Fate::CutOff,
    }
}

/// Headers that go on in so many further frames, beside the one that ends them.
pub(super) async fn continuations(server: &Running, much: usize) -> Fate {
    let mut client = RawClient::connect(server.addr).await;
    let frame = |kind, flags, payload| raw::encode(kind, flags, raw::stream(0), payload);
    let further = frame(raw::CONTINUATION, 0, &[]).repeat(much);
    let end = frame(raw::CONTINUATION, raw::END_HEADERS, &[]);
    client.send(&[frame(raw::HEADERS, 0, &raw::headers_block(0)), further, end].concat()).await;
    fate(&mut client).await
}

/// A call with a frame of so many bytes.
pub(super) async fn frame_size(server: &Running, much: usize) -> Fate {
    let mut client = RawClient::connect(server.addr).await;
    client.open(0).await;
    client.data(0, [&vec![0; much][..]].into_iter()).await;
    fate(&mut client).await
}

/// So many calls at once, each taken back before it was looked at.
pub(super) async fn pending_resets(server: &Running, much: usize) -> Fate {
    let mut client = RawClient::connect(server.addr).await;
    assert!(client.is_answered(0).await);
    client.open_and_reset(1..1 + much as u32).await;
    fate(&mut client).await
}

/// So many calls that raise their window above what there is.
pub(super) async fn broken_calls(server: &Running, much: usize) -> Fate {
    let mut client = RawClient::connect(server.addr).await;
    for call in 0..much as u32 {
        client.break_the_protocol(call).await;
        if client.next_of(&[raw::RST_STREAM, raw::GO_AWAY]).await.kind == raw::GO_AWAY {
            return Fate::CutOff;
        }
    }
    fate(&mut client).await
}

/// The frame to send, for a call that is open or has ended.
type ControlFrame = fn(call: u32) -> Vec<u8>;

pub(super) const PING: ControlFrame = |_| raw::encode(raw::PING, 0, 0, &[0; 8]);
pub(super) const SETTINGS: ControlFrame = |_| raw::encode(raw::SETTINGS, 0, 0, &[]);
pub(super) const WINDOW_UPDATE: ControlFrame =
    |call| raw::encode(raw::WINDOW_UPDATE, 0, raw::stream(call), &1_u32.to_be_bytes());
pub(super) const PRIORITY: ControlFrame =
    |call| raw::encode(raw::PRIORITY, 0, raw::stream(call), &[0, 0, 0, 0, 7]);
pub(super) const RESET: ControlFrame =
    |call| raw::encode(raw::RST_STREAM, 0, raw::stream(call), &8_u32.to_be_bytes());
pub(super) const EMPTY_DATA: ControlFrame = |call| raw::encode(raw::DATA, 0, raw::stream(call), &[]);
pub(super) const UNKNOWN: ControlFrame = |_| raw::encode(200, 0, 0, &[0; 8]);

/// A client with a full budget sends so many of a frame, in one piece, so that nothing is earned between them.
pub(super) async fn control_frames(server: &Running, much: usize, frame: ControlFrame) -> Fate {
    let mut client = RawClient::connect(server.addr).await;
    client.open(0).await;
    assert!(client.is_answered(1).await, "the handshake is over");
    // Each earns some, and the budget holds no more than what one second allows.
    let earning = raw::encode(raw::DATA, 0, raw::stream(0), &[0]).repeat(20);
    client.send(&[earning, frame(0).repeat(much)].concat()).await;
    fate(&mut client).await
}

/// A call that is not being read, with so many bytes.
pub(super) async fn unread_bytes(server: &Running, much: usize) -> Fate {
    server.reading.send_replace(false);
    let mut client = reception::client(server).await;
    client.open(0).await;
    client.data(0, vec![0; much].chunks(16_384)).await;
    client.ping().await;
    client.next_of(&[raw::PING]).await;
    server.reading.send_replace(true);
    client.half_close(0).await;
    let end = client.next_end_of_stream(&[raw::HEADERS, raw::RST_STREAM, raw::GO_AWAY]).await;
    assert_eq!(fate(&mut client).await, Fate::Served, "the connection goes on");
    if end.kind == raw::HEADERS { Fate::Served } else { Fate::Refused }
}

fn refused(status: &Status) -> Fate {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    Fate::Refused
}

pub(super) async fn unary_message(server: &Running, much: usize) -> Fate {
    let mut client = server.client().await;
    let fate =
        client.process(request_of(much)).await.map_or_else(|status| refused(&status), |_| Fate::Served);
    client.process(request_of(10)).await.expect("the connection goes on");
    fate
}

pub(super) async fn message_of_a_stream(server: &Running, much: usize) -> Fate {
    let mut client = server.client().await;
    let requests = tokio_stream::iter([10, much].map(request_of));
    let mut answers = client.stream(requests).await.unwrap().into_inner();
    assert_eq!(result(answers.next().await.unwrap().unwrap()), "8");
    let fate = answers.next().await.unwrap().map_or_else(|status| refused(&status), |_| Fate::Served);
    client.process(request_of(10)).await.expect("the connection goes on");
    fate
}

/// Two messages that are under way together: one of 128 KiB, and the rest.
pub(super) async fn messages_under_way(server: &Running, much: usize) -> Fate {
    let first = 128 << 10;
    let messages = [first, much - first].map(reception::message);
    let mut clients = [reception::client(server).await, reception::client(server).await];
    for (client, message) in clients.iter_mut().zip(&messages) {
        reception::begin(client, 0, &message[..1000]).await;
        // A call behind it has seen that the server knows of it.
        assert!(client.is_answered(1).await);
    }
    let fate = if server.counts.hits(Limit::Receiving) == 0 { Fate::Served } else { Fate::Waits };
    for (client, message) in clients.iter_mut().zip(&messages) {
        client.data(0, message[1000..].chunks(16_384)).await;
        let answer = tokio::time::timeout(PATIENCE, client.next_of(&[raw::DATA])).await;
        answer.expect("it is answered in its turn");
        client.half_close(0).await;
    }
    fate
}
