//! The way to a server.

use std::time::Duration;

use anyhow::Context;
use tonic::transport::{Channel, Endpoint};

use super::BadUsage;
use crate::grpc::proto::data_plane_client::DataPlaneClient;

/// Answers that may be under way: one stream is all that a command opens, and it reads as fast as it can.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a server is asked whether it is still there, and how long it may take to say so: a message may take it long,
/// but its transport answers meanwhile.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to a server. What is asked of one that says nothing any more fails, and is not waited for.
pub(super) async fn connect(url: &str) -> anyhow::Result<DataPlaneClient<Channel>> {
    let endpoint = Endpoint::from_shared(complete(url)).map_err(|error| {
        BadUsage::new(format_args!("`{url}` is no URL of a server ({error}); write http://HOST:PORT"))
    })?;
    let channel = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect()
        .await
        .with_context(|| format!("cannot connect to {url}"))?;
    // Answers may be as large as the server makes them: it has a limit, and is trusted with it.
    Ok(DataPlaneClient::new(channel).max_decoding_message_size(usize::MAX))
}

/// `HOST:PORT` stands for `http://HOST:PORT`.
pub(super) fn complete(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}
