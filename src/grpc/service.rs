//! The tonic service: `millstream.v1.DataPlane` over a processor. A few lines a method; what the wire says is translated
//! in `wire`, what the figures are in `stats`, and when they are read in `readings`.

mod readings;
mod request;
mod stats;
mod wire;

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_core::Stream;
use tonic::{Request, Response, Status, Streaming, codec::CompressionEncoding};

pub use self::request::{DataPlaneHandler, DataPlaneRequest, OperationInfo, ParameterInfo, PeerIdentity};
use self::{
    stats::{Stats, StatsStream},
    wire::{Requests, Responses},
};
use super::{
    performance::{OptimizedStreamProcessor, processor::StreamOptions},
    proto::{
        self, GetStatsRequest, GetStatsResponse, ListOperationsRequest, ListOperationsResponse,
        StreamRequest, StreamResponse, WatchStatsRequest, data_plane_server::DataPlaneServer,
    },
};

type BoxedStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Between two looks of `WatchStats`, when the client does not say.
const USUAL_INTERVAL: Duration = Duration::from_secs(1);

/// The data plane on the wire.
pub struct DataPlaneService<H: DataPlaneHandler> {
    processor: OptimizedStreamProcessor<H>,
    max_message_size: usize,
    stats: Arc<Stats<H>>,
}

impl<H: DataPlaneHandler> DataPlaneService<H> {
    /// Serves what the processor's handler can do. A result of more than `max_message_size` bytes is answered with
    /// RESOURCE_EXHAUSTED in its place: the transport could only end the whole stream for it.
    #[must_use]
    pub fn new(processor: OptimizedStreamProcessor<H>, max_message_size: usize) -> Self {
        let stats = Arc::new(Stats::new(processor.clone()));
        Self { processor, max_message_size, stats }
    }

    /// What the transport compresses, if it does at all, while there is CPU time for it.
    fn response<T>(&self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        if !self.processor.has_time_to_spare() {
            response.disable_compression();
        }
        response
    }

    /// The service as the transport serves it: requests may come compressed (gzip), and answers leave so, for clients
    /// that accept it, where `enable_stream_compression` says so.
    #[must_use]
    pub fn into_server(self) -> DataPlaneServer<Self> {
        let compress = self.processor.config().enable_stream_compression;
        let server = DataPlaneServer::new(self).accept_compressed(CompressionEncoding::Gzip);
        if compress { server.send_compressed(CompressionEncoding::Gzip) } else { server }
    }
}

#[tonic::async_trait]
impl<H: DataPlaneHandler> proto::data_plane_server::DataPlane for DataPlaneService<H> {
    type StreamStream = BoxedStream<StreamResponse>;
    type WatchStatsStream = BoxedStream<GetStatsResponse>;

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let options = StreamOptions {
            order: wire::order(request.metadata())?,
            deadline: wire::call_deadline(request.metadata())?,
            peer: request::peer(&request),
        };
        let answers = self.processor.stream(Requests::new(request.into_inner()), options)?;
        Ok(self.response(Box::pin(Responses::new(answers, self.max_message_size))))
    }

    async fn process(&self, request: Request<StreamRequest>) -> Result<Response<StreamResponse>, Status> {
        let deadline = wire::call_deadline(request.metadata())?;
        let options = StreamOptions { deadline, peer: request::peer(&request), ..StreamOptions::default() };
        let answer = self.processor.answer_with(wire::message(request.into_inner()), options).await;
        wire::unary(answer, self.max_message_size).map(|response| self.response(response))
    }

    async fn list_operations(
        &self,
        _request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        let operations = H::operations().into_iter().map(proto::Operation::from).collect();
        Ok(Response::new(ListOperationsResponse { operations }))
    }

    async fn get_stats(
        &self,
        _request: Request<GetStatsRequest>,
    ) -> Result<Response<GetStatsResponse>, Status> {
        self.stats.once().await.map(Response::new)
    }

    async fn watch_stats(
        &self,
        request: Request<WatchStatsRequest>,
    ) -> Result<Response<Self::WatchStatsStream>, Status> {
        let interval = match request.into_inner().interval {
            Some(interval) => stats::interval(interval)?,
            None => USUAL_INTERVAL,
        };
        Ok(Response::new(Box::pin(StatsStream::new(Arc::clone(&self.stats), interval))))
    }
}
