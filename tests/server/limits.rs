//! What a client may pile up, and what becomes of it beyond the limit, beside a client that must not notice. Where exactly
//! each limit is, is in `exact.rs`.

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
    let mut two = RawClient::connect(server.addr).await;
    assert!(still_there(&mut two).await);
    assert_eq!((server.counts.open(), server.counts.hits(Limit::Connections)), (3, 0));
    // The server has the fourth in hand, and leaves the fifth to the kernel.
    let mut waiting = [RawClient::connect(server.addr).await, RawClient::connect(server.addr).await];
    server.hit(Limit::Connections, 1).await;
    let served = timeout(Duration::from_millis(100), still_there(&mut waiting[0])).await;
    assert!(served.is_err() && server.counts.accepted() == 3);
    server.hit(Limit::Connections, 1).await;
    drop(one);
    assert!(still_there(&mut waiting[0]).await);
    server.hit(Limit::Connections, 2).await;
    drop(two);
    assert!(still_there(&mut waiting[1]).await);
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
