//! The connections that the streams share.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use super::{LoadError, LoadOptions};
use crate::grpc::proto::data_plane_client::DataPlaneClient;

/// Answers of one stream that may be under way. The streams read at once, so only what travels counts: at a round trip
/// of 1 ms this is 4 GB/s, and the server is not held back by us.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Answers of one connection that may be under way.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the connections, each handshake done.
pub(super) async fn connect(options: &LoadOptions) -> Result<Vec<DataPlaneClient<Channel>>, LoadError> {
    let endpoint = Endpoint::from_shared(options.server.clone())
        .map_err(|source| LoadError::Address { server: options.server.clone(), source })?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let mut clients = Vec::with_capacity(options.connections());
    for _ in 0..options.connections() {
        let channel = endpoint
            .connect()
            .await
            .map_err(|source| LoadError::Connect { server: options.server.clone(), source })?;
        // What an answer may weigh is for the server to decide.
        clients.push(DataPlaneClient::new(channel).max_decoding_message_size(usize::MAX));
    }
    Ok(clients)
}
