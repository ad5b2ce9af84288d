//! What a client may pile up: one below each limit, at it, and one above it, on the wire, beside a client that
//! must not notice.

use std::time::Duration;

use millstream::grpc::server::Limit;
use tokio::{net::TcpStream, time::timeout};

use super::{
    raw::{self, RawClient},
    request_of, start,
};

/// The answer to a ping, or the connection's end.
async fn still_there(client: &mut RawClient) -> bool {
    client.ping().await;
    client.next_of(&[raw::PING, raw::GO_AWAY]).await.kind == raw::PING
}

#[tokio::test]
async fn frames_up_to_the_limit_pass_and_a_larger_one_ends_the_connection() {
    let server = start(|options| options.max_frame_size = 20_000).await;
    let bystander = server.bystander().await;
    let mut client = RawClient::connect(server.addr).await;
    client.open(0).await;
    for size in [19_999, 20_000] {
        client.data(0, [&vec![0; size][..]].into_iter()).await;
        assert!(still_there(&mut client).await, "{size}");
    }
    assert_eq!(server.counts.hits(Limit::Protocol), 0);
    client.data(0, [&[0; 20_001][..]].into_iter()).await;
    assert_eq!(client.hung_up().await, Some(raw::FRAME_SIZE_ERROR));
    server.hit(Limit::Protocol, 1).await;
    server.left_with(1).await;
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn headers_below_the_limit_pass_and_larger_ones_are_refused_and_their_connection_lives_on() {
    let server = start(|options| options.max_header_list_size = 8000).await;
    let bystander = server.bystander().await;
    let mut client = RawClient::connect(server.addr).await;
    let limit = 8000 - raw::list_size_without_fill();
    let mut hits = 0;
    for (call, fill) in (0..).zip([limit - 1, limit, limit + 1, limit - 1, limit]) {
        client.send(&raw::headers(call, fill)).await;
        client.half_close(call).await;
        let answer = client.next_of(&[raw::HEADERS, raw::GO_AWAY]).await;
        assert_eq!(answer.kind, raw::HEADERS);
        // A call that was begun has headers and trailers; one that was refused with 431 ends with its headers.
        let refused = fill >= limit;
        assert_eq!(answer.ends_stream(), refused, "{fill} of {limit}");
        if !refused {
            client.next_end_of_stream(&[raw::HEADERS]).await;
        }
        hits += u64::from(refused);
        server.hit(Limit::HeaderListSize, hits).await;
    }
    assert!(still_there(&mut client).await);
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn headers_that_never_end_end_the_connection() {
    let server = start(|_| {}).await;
    let bystander = server.bystander().await;
    let mut client = RawClient::connect(server.addr).await;
    client.send(&raw::encode(raw::HEADERS, 0, raw::stream(0), &[])).await;
    let continuation = raw::encode(raw::CONTINUATION, 0, raw::stream(0), &[]);
    // Fewer than are control frames enough to be cut off for.
    client.send(&continuation.repeat(40)).await;
    assert_eq!(client.hung_up().await, Some(raw::ENHANCE_YOUR_CALM));
    server.hit(Limit::Protocol, 1).await;
    server.left_with(1).await;
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn calls_that_are_taken_back_unseen_end_the_connection_above_the_limit() {
    for (resets, ends) in [(6, false), (7, false), (8, true)] {
        let server = start(|options| options.max_pending_reset_streams = 7).await;
        let bystander = server.bystander().await;
        let mut client = RawClient::connect(server.addr).await;
        assert!(still_there(&mut client).await);
        client.open_and_reset(0..resets).await;
        assert_eq!(still_there(&mut client).await, !ends, "{resets}");
        server.hit(Limit::Protocol, ends.into()).await;
        server.left_with(if ends { 1 } else { 2 }).await;
        bystander.noticed_nothing().await;
    }
}

#[tokio::test]
async fn empty_frames_without_end_end_the_connection() {
    let server = start(|_| {}).await;
    let bystander = server.bystander().await;
    let mut client = RawClient::connect(server.addr).await;
    client.open(0).await;
    client.data(0, [&[][..]; 40].into_iter()).await;
    assert!(still_there(&mut client).await);
    client.data(0, [&[][..]; 1000].into_iter()).await;
    client.hung_up().await;
    server.hit(Limit::ControlFrames, 1).await;
    server.left_with(1).await;
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn control_frames_within_their_budget_pass_and_a_flood_ends_its_connection_and_nobody_elses() {
    let floods = [
        raw::encode(raw::PING, 0, 0, &[0; 8]),
        raw::encode(raw::SETTINGS, 0, 0, &[]),
        raw::encode(raw::WINDOW_UPDATE, 0, raw::stream(0), &1_u32.to_be_bytes()),
    ];
    for frame in floods {
        let server = start(|options| options.max_control_frames_per_second = 50).await;
        let bystander = server.bystander().await;
        let mut client = RawClient::connect(server.addr).await;
        client.open(0).await;
        // The handshake has taken a few.
        client.send(&frame.repeat(40)).await;
        assert!(still_there(&mut client).await);
        assert_eq!(server.counts.hits(Limit::ControlFrames), 0);
        client.flood(&frame.repeat(1000)).await;
        server.hit(Limit::ControlFrames, 1).await;
        server.left_with(1).await;
        bystander.noticed_nothing().await;
    }
}

#[tokio::test]
async fn a_flood_of_pings_whose_answers_are_not_read_ends_with_the_write_timeout() {
    let server = start(|options| {
        options.write_timeout = Duration::from_millis(200);
        options.max_control_frames_per_second = 1_000_000;
    })
    .await;
    let bystander = server.bystander().await;
    let mut client = RawClient::connect(server.addr).await;
    client.flood(&raw::encode(raw::PING, 0, 0, &[0; 8]).repeat(1000)).await;
    server.hit(Limit::Write, 1).await;
    server.left_with(1).await;
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn connections_above_the_limit_wait_until_one_has_closed() {
    let server = start(|options| options.max_connections = 3).await;
    let bystander = server.bystander().await;
    let mut one = RawClient::connect(server.addr).await;
    assert!(still_there(&mut one).await);
    assert_eq!((server.counts.open(), server.counts.hits(Limit::Connections)), (2, 0));
    let mut two = RawClient::connect(server.addr).await;
    assert!(still_there(&mut two).await);
    server.hit(Limit::Connections, 1).await;
    // The kernel takes the fourth; the server does not.
    let mut waiting = RawClient::connect(server.addr).await;
    let served = timeout(Duration::from_millis(100), still_there(&mut waiting)).await;
    assert!(served.is_err() && server.counts.accepted() == 3);
    drop(one);
    assert!(still_there(&mut waiting).await);
    server.hit(Limit::Connections, 2).await;
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn a_thousand_connections_that_come_and_go_leave_nothing_behind() {
    let server = start(|options| options.max_connections = 100).await;
    for _ in 0..10 {
        let mut connections = Vec::new();
        for _ in 0..99 {
            connections.push(TcpStream::connect(server.addr).await.unwrap());
        }
    }
    let mut client = server.client().await;
    client.process(request_of(10)).await.unwrap();
    server.left_with(1).await;
    assert_eq!(server.counts.accepted(), 991);
}
