//! What goes over the wire compressed.

use bytes::Bytes;
use millstream::{
    HandlerError, JobScope, MessageHandler, OptimizationConfig, OptimizedStreamProcessor,
    grpc::{
        proto::{StreamRequest, data_plane_client::DataPlaneClient, stream_response::Outcome},
        server::{Drained, Server, ServerOptions},
        service::{DataPlaneHandler, DataPlaneRequest, DataPlaneService, OperationInfo},
    },
};
use tokio::sync::oneshot;
use tonic::codec::CompressionEncoding;

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

#[tokio::test]
async fn answers_are_compressed_for_clients_that_accept_it() {
    assert_eq!(encoding(true, true).await.as_deref(), Some("gzip"));
    assert_eq!(encoding(false, true).await, None);
    assert_eq!(encoding(true, false).await, None);
}
