//! What goes over the wire compressed.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use millstream::{
    HandlerError, JobScope, MessageHandler, OptimizationConfig, OptimizedStreamProcessor, OverloadLevel,
    grpc::{
        proto::{
            StreamRequest, data_plane_client::DataPlaneClient, data_plane_server::DataPlaneServer,
            stream_response::Outcome,
        },
        server::{Drained, Server, ServerOptions},
        service::{DataPlaneHandler, DataPlaneRequest, DataPlaneService, OperationInfo},
    },
};
use prost::Message as _;
use tokio::sync::oneshot;
use tonic::{
    codec::CompressionEncoding,
    codegen::{Service, http::Request},
};

use crate::common::*;

/// Gives payloads back.
struct Mirror;

impl MessageHandler for Mirror {
    type Request = DataPlaneRequest;
    type Response = Bytes;

    fn handle(&mut self, request: DataPlaneRequest, _: &mut JobScope<'_>) -> Result<Bytes, HandlerError> {
        Ok(request.payload)
    }
}

impl DataPlaneHandler for Mirror {
    fn operations() -> Vec<OperationInfo> {
        Vec::new()
    }
}

/// How the server encodes its answer to a client that accepts gzip, or not.
async fn encoding(enable_stream_compression: bool, accepts_gzip: bool) -> Option<String> {
    let options = ServerOptions { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() };
    let config = OptimizationConfig { enable_stream_compression, ..config() };
    let processor = OptimizedStreamProcessor::new(config, || Mirror).unwrap();
    let service = DataPlaneService::new(processor, options.max_message_size).into_server();
    let server = Server::bind(options).await.unwrap();
    let url = format!("http://{}", server.local_addr());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(service, async {
        stopped.await.ok();
    }));

    let mut client = DataPlaneClient::connect(url).await.unwrap();
    if accepts_gzip {
        client = client.accept_compressed(CompressionEncoding::Gzip);
    }
    let payload = Bytes::from(vec![7; 10_000]);
    let request = StreamRequest { payload: payload.clone(), ..Default::default() };
    let response = client.process(request).await.unwrap();
    let encoding = response.metadata().get("grpc-encoding").map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(response.into_inner().outcome, Some(Outcome::Result(payload)));

    drop((client, stop));
    let drained = tokio::time::timeout(LONG, serving).await.expect("the server ends");
    assert_eq!(drained.unwrap(), Drained::Clean);
    encoding
}

/// Whether a message is compressed that answers one call of a service, without a transport in between: the first byte of
/// a message on the wire says so.
async fn is_compressed(service: &mut DataPlaneServer<DataPlaneService<Mirror>>) -> bool {
    let message = StreamRequest { payload: vec![b'7'; 10_000].into(), ..Default::default() }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let frame = [&[0], length.as_slice(), &message].concat();
    let request = Request::post("/millstream.v1.DataPlane/Process")
        .header("content-type", "application/grpc")
        .header("grpc-accept-encoding", "gzip")
        .body(tonic::body::Body::new(Once(Some(frame.into()))))
        .unwrap();
    let mut body = Box::pin(service.call(request).await.unwrap().into_body());
    let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await.expect("there is an answer").unwrap();
    frame.into_data().expect("data comes first")[0] == 1
}

/// A body of one piece.
struct Once(Option<Bytes>);

impl HttpBody for Once {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test]
async fn while_too_much_comes_nothing_is_compressed() {
    for (overload_critical, expected) in [(0.01, false), (1e6, true)] {
        // Whatever wait there is, it is too long for such a target.
        let target = Duration::from_micros(1);
        let config = OptimizationConfig {
            enable_stream_compression: true,
            queue_target_min: target,
            queue_target_max: target,
            overload_warning: 0.01,
            overload_critical,
            overload_emergency: 1e6,
            ..config()
        };
        let processor = OptimizedStreamProcessor::new(config, || Mirror).unwrap();
        let mut service = DataPlaneService::new(processor.clone(), 1 << 20).into_server();
        assert!(is_compressed(&mut service).await, "nothing is known of waits yet");
        let is_calm = || processor.overload().level == OverloadLevel::Normal;
        let deadline = Instant::now() + LONG;
        loop {
            assert!(Instant::now() < deadline, "it never comes to that");
            let calm_before = is_calm();
            let as_expected = is_compressed(&mut service).await == expected;
            // Where the machine holds it up, the overload may be over meanwhile.
            if as_expected && !calm_before && !is_calm() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn answers_are_compressed_for_clients_that_accept_it() {
    assert_eq!(encoding(true, true).await.as_deref(), Some("gzip"));
    assert_eq!(encoding(false, true).await, None);
    assert_eq!(encoding(true, false).await, None);
}
