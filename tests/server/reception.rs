//! Large messages on their way in: how many bytes of them the server holds, whoever sends them.

use millstream::grpc::server::Limit;
use prost::Message;
use tokio_stream::StreamExt;

use super::{
    Running,
    raw::{self, RawClient},
    request_of, start,
};

const LARGE: usize = 200 << 10;

/// Room for one large message, and not for two.
async fn narrow() -> Running {
    start(|options| {
        options.max_message_size = 256 << 10;
        options.max_receiving_bytes = 256 << 10;
        options.max_concurrent_streams = 8;
        options.stream_window = 1 << 20;
    })
    .await
}

/// A client that may send as much as the windows allow.
pub(crate) async fn client(server: &Running) -> RawClient {
    let mut client = RawClient::connect(server.addr).await;
    client.next_of(&[raw::WINDOW_UPDATE]).await;
    client.accept_settings().await;
    client
}

/// A message of so many bytes on the wire.
pub(crate) fn message(bytes: usize) -> Vec<u8> {
    let request = request_of(bytes).encode_to_vec();
    [&[0][..], &u32::try_from(bytes).unwrap().to_be_bytes(), &request].concat()
}

pub(crate) async fn begin(client: &mut RawClient, call: u32, bytes: &[u8]) {
    client.open(call).await;
    client.data(call, bytes.chunks(16_384)).await;
}

/// Whether there is an answer before the server has answered a ping.
async fn is_answered(client: &mut RawClient) -> bool {
    client.ping().await;
    client.next_of(&[raw::DATA, raw::PING]).await.kind == raw::DATA
}

#[tokio::test]
async fn a_large_message_waits_for_the_one_before_it_and_small_ones_wait_for_nobody() {
    let server = narrow().await;
    let bystander = server.bystander().await;
    let large = message(LARGE);
    let (mut one, mut other) = (client(&server).await, client(&server).await);
    begin(&mut one, 0, &large[..1000]).await;
    assert!(!is_answered(&mut one).await);
    assert_eq!(server.counts.hits(Limit::Receiving), 0);
    begin(&mut other, 0, &large).await;
    server.hit(Limit::Receiving, 1).await;
    assert!(!is_answered(&mut other).await);
    begin(&mut other, 1, &message(10)).await;
    other.next_of(&[raw::DATA]).await;
    // The rest of the first one: it is accepted, and makes room for the second.
    one.data(0, large[1000..].chunks(16_384)).await;
    one.next_of(&[raw::DATA]).await;
    one.half_close(0).await;
    other.next_of(&[raw::DATA]).await;
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn a_client_that_leaves_amid_a_large_message_makes_room_for_the_next() {
    let server = narrow().await;
    let large = message(LARGE);
    let (mut one, mut other) = (client(&server).await, client(&server).await);
    begin(&mut one, 0, &large[..1000]).await;
    assert!(!is_answered(&mut one).await);
    begin(&mut other, 0, &large).await;
    server.hit(Limit::Receiving, 1).await;
    one.reset(0).await;
    other.next_of(&[raw::DATA]).await;
}

#[tokio::test]
async fn large_messages_one_behind_the_other_on_one_stream_are_all_answered() {
    let server = narrow().await;
    let mut client = server.client().await;
    let requests = [LARGE, 10, LARGE, LARGE].map(request_of);
    let lengths = requests.clone().map(|request| request.payload.len().to_string());
    let answers = client.stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers = tokio::time::timeout(super::PATIENCE, answers.map(Result::unwrap).collect::<Vec<_>>());
    let answers: Vec<_> = answers.await.expect("the stream ends").into_iter().map(super::result).collect();
    assert_eq!(answers, lengths);
}

#[tokio::test]
async fn unary_calls_with_large_messages_take_turns_and_are_all_answered() {
    let server = narrow().await;
    let mut calls = Vec::new();
    for _ in 0..8 {
        let mut client = server.client().await;
        calls.push(tokio::spawn(async move { client.process(request_of(LARGE)).await }));
    }
    for call in calls {
        tokio::time::timeout(super::PATIENCE, call).await.expect("an answer comes").unwrap().unwrap();
    }
}
