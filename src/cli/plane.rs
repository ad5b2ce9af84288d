//! The data plane of the tool, built from the configuration.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming, codec::CompressionEncoding};

use super::config::Sections;
use crate::grpc::proto::{
    data_plane_server::{DataPlane, DataPlaneServer},
    stream_response::Outcome,
    *,
};

/// A service, and how it is told to accept nothing more.
pub(super) struct Plane<T, D> {
    pub(super) service: DataPlaneServer<T>,
    pub(super) drain: D,
}

/// Builds the data plane with the operations of the tool.
pub(super) fn build(
    sections: &Sections,
) -> anyhow::Result<Plane<impl DataPlane, impl FnOnce() + Send + 'static>> {
    let service = StandIn::default();
    let draining = service.draining.clone();
    // The drain has its own thread of events: whoever sees the flag late accepts one message more.
    let drain = move || draining.store(true, Ordering::SeqCst);
    let mut service = DataPlaneServer::new(service).accept_compressed(CompressionEncoding::Gzip);
    if sections.plane.enable_stream_compression {
        service = service.send_compressed(CompressionEncoding::Gzip);
    }
    Ok(Plane { service, drain })
}

#[derive(Default, Clone)]
struct StandIn {
    draining: Arc<AtomicBool>,
}

impl StandIn {
    fn answer(&self, request: StreamRequest) -> StreamResponse {
        let outcome = match self.result(&request) {
            Ok(result) => Outcome::Result(result),
            Err(status) => Outcome::Error(tonic_types::Status {
                code: status.code() as i32,
                message: status.message().to_owned(),
                details: Vec::new(),
            }),
        };
        StreamResponse {
            id: request.id,
            outcome: Some(outcome),
            timing: Some(Timing::default()),
            ..Default::default()
        }
    }

    fn result(&self, request: &StreamRequest) -> Result<Bytes, Status> {
        if self.draining.load(Ordering::SeqCst) {
            return Err(Status::unavailable("the server is shutting down"));
        }
        match request.operation.as_str() {
            "echo" => Ok(request.payload.clone()),
            "digest" => Ok(blake3::hash(&request.payload).as_bytes().to_vec().into()),
            "compress" => Ok(zstd::bulk::compress(&request.payload, 3).unwrap_or_default().into()),
            "validate" => serde_json_canonicalizer::to_vec(
                &serde_json::from_slice::<serde_json::Value>(&request.payload)
                    .map_err(|error| Status::invalid_argument(error.to_string()))?,
            )
            .map(Into::into)
            .map_err(|error| Status::internal(error.to_string())),
            other => Err(Status::unimplemented(format!("there is no operation `{other}`"))),
        }
    }
}

#[tonic::async_trait]
impl DataPlane for StandIn {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<StreamResponse, Status>> + Send>>;
    type WatchStatsStream = Pin<Box<dyn Stream<Item = Result<GetStatsResponse, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let this = self.clone();
        Ok(Response::new(Box::pin(
            request.into_inner().map(move |request| request.map(|request| this.answer(request))),
        )))
    }

    async fn process(&self, request: Request<StreamRequest>) -> Result<Response<StreamResponse>, Status> {
        let request = request.into_inner();
        let result = self.result(&request)?;
        Ok(Response::new(StreamResponse {
            id: request.id,
            outcome: Some(Outcome::Result(result)),
            ..Default::default()
        }))
    }

    async fn list_operations(
        &self,
        _: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        let algorithm =
            Parameter { name: "algorithm".into(), default_value: "blake3".into(), ..Default::default() };
        let operations = ["compress", "digest", "echo", "validate"]
            .map(|name| Operation {
                name: name.into(),
                parameters: vec![algorithm.clone()],
                ..Default::default()
            })
            .to_vec();
        Ok(Response::new(ListOperationsResponse { operations }))
    }

    async fn get_stats(&self, _: Request<GetStatsRequest>) -> Result<Response<GetStatsResponse>, Status> {
        Ok(Response::new(GetStatsResponse::default()))
    }

    async fn watch_stats(
        &self,
        _: Request<WatchStatsRequest>,
    ) -> Result<Response<Self::WatchStatsStream>, Status> {
        let looks = tokio_stream::iter([Ok(GetStatsResponse::default())]).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(looks)))
    }
}
