//! What the server around the service can be told.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::windows;
use crate::grpc::performance::config::{ConfigError, count, time};

/// The settings of a [`Server`](super::Server). In a file they stand in the table `[server]`.
///
/// | field | meaning | unit | default | range |
/// |---|---|---|---|---|
/// | `listen` | where connections are accepted; port 0 picks a free one | address | 127.0.0.1:50051 | – |
/// | `max_connections` | connections that may be open; further ones wait until one of them closes | connections | 1024 | 1 to 1,000,000 |
/// | `handshake_timeout` | how long a new connection may take until it has spoken HTTP/2; then it is closed | time | 10 s | 1 ms to 1 h |
/// | `read_timeout` | how long a message that was begun, or the one of a unary call, may take for each 64 KiB of it; then its call ends with DEADLINE_EXCEEDED | time | 30 s | 1 ms to 1 h |
/// | `write_timeout` | how long a client may leave its answers unread: a call is then ended, and a connection that takes no bytes at all is closed | time | 30 s | 1 ms to 1 h |
/// | `max_message_size` | the largest request; a larger one ends its call with RESOURCE_EXHAUSTED | bytes | 4 MiB | 1 KiB to 2 GiB |
/// | `max_receiving_bytes` | bytes of large messages (above 64 KiB) that are under way to the data plane and not accepted yet, all calls together; at more their calls are not read on | bytes | 64 MiB | `max_message_size` to 1 TiB |
/// | `max_concurrent_streams` | calls that one connection may have open; further ones wait in the client, or are refused if they do not | calls | 128 | 1 to 100,000 |
/// | `max_header_list_size` | the largest headers of one call; larger ones are answered with 431, vast ones (four times the limit) and endless ones end the connection | bytes | 16 KiB | 1 KiB to 16 MiB |
/// | `max_frame_size` | the largest HTTP/2 frame that a client may send; a larger one ends the connection | bytes | 16 KiB | 16 KiB to 16 MiB − 1 |
/// | `max_pending_reset_streams` | calls that one connection may take back before they were looked at; one more ends it | calls | 20 | 1 to 1,000,000 |
/// | `max_local_error_reset_streams` | calls of one connection that may break the protocol before it is ended | calls | 1024 | 1 to 1,000,000 |
/// | `max_control_frames_per_second` | frames that carry nothing (PING, SETTINGS, WINDOW_UPDATE, RST_STREAM, empty DATA, …) of one connection, beyond what its calls need; at more the connection is closed | frames | 1000 | 10 to 1,000,000 |
/// | `stream_window` | bytes of one call that may be under way, unread | bytes | 64 KiB | 1 KiB to 2 GiB |
/// | `connection_window` | the same for all calls of a connection: a credit, not memory | bytes | 1 GiB | 64 KiB to 2 GiB |
/// | `keepalive_interval` | how often a silent connection is pinged; 0: never | time | 1 min | 0, or 1 s to 1 day |
/// | `keepalive_timeout` | how long the answer to a ping may take before the connection is ended | time | 20 s | 1 ms to 1 h |
/// | `drain_timeout` | how long open calls may go on once the server is to end | time | 10 s | 0 to 1 h |
///
/// `max_concurrent_streams`, `stream_window` and `connection_window` must go together, or clients that trickle small
/// messages lose their connection: [`validate`](Self::validate) says so, with the figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerOptions {
    /// Where connections are accepted.
    pub listen: SocketAddr,
    /// Connections that may be open.
    pub max_connections: usize,
    /// How long a new connection may take until it has spoken HTTP/2.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// How long a message that was begun, or the one of a unary call, may take for each 64 KiB of it.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// How long a client may leave its answers unread.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// Bytes of the largest request.
    pub max_message_size: usize,
    /// Bytes of large messages that are under way and not accepted yet, all calls together.
    pub max_receiving_bytes: usize,
    /// Calls that one connection may have open.
    pub max_concurrent_streams: u32,
    /// Bytes of the largest headers that a call may have.
    pub max_header_list_size: u32,
    /// Bytes of the largest HTTP/2 frame that a client may send.
    pub max_frame_size: u32,
    /// Calls that one connection may take back before they were looked at.
    pub max_pending_reset_streams: usize,
    /// Calls of one connection that may break the protocol before it is ended.
    pub max_local_error_reset_streams: usize,
    /// Frames that carry nothing that one connection may send, beyond what its calls need.
    pub max_control_frames_per_second: u32,
    /// Bytes of one call that may be under way, unread.
    pub stream_window: u32,
    /// Bytes of all calls of one connection that may be under way, unread.
    pub connection_window: u32,
    /// How often a silent connection is pinged; zero: never.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// How long the answer to a ping may take.
    #[serde(with = "humantime_serde")]
    pub keepalive_timeout: Duration,
    /// How long open calls may go on once the server is to end.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 50_051)),
            max_connections: 1024,
            handshake_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            max_message_size: 4 << 20,
            max_receiving_bytes: 64 << 20,
            max_concurrent_streams: 128,
            max_header_list_size: 16 << 10,
            max_frame_size: 16 << 10,
            max_pending_reset_streams: 20,
            max_local_error_reset_streams: 1024,
            max_control_frames_per_second: 1000,
            stream_window: 64 << 10,
            connection_window: 1 << 30,
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl ServerOptions {
    /// Checks every field and how they go together.
    ///
    /// # Errors
    /// The first field that cannot work, with its value and what would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let hour = Duration::from_secs(3600);
        let moment = Duration::from_millis(1);
        count("server.max_connections", self.max_connections, 1..=1_000_000)?;
        time("server.handshake_timeout", self.handshake_timeout, moment..=hour)?;
        time("server.read_timeout", self.read_timeout, moment..=hour)?;
        time("server.write_timeout", self.write_timeout, moment..=hour)?;
        count("server.max_message_size", self.max_message_size, 1024..=(1 << 31) - 1)?;
        count("server.max_receiving_bytes", self.max_receiving_bytes, self.max_message_size..=1 << 40)?;
        count("server.max_concurrent_streams", self.max_concurrent_streams, 1..=100_000)?;
        count("server.max_header_list_size", self.max_header_list_size, 1024..=16 << 20)?;
        // The bounds of RFC 9113, 4.2.
        count("server.max_frame_size", self.max_frame_size, 16_384..=(1 << 24) - 1)?;
        count("server.max_pending_reset_streams", self.max_pending_reset_streams, 1..=1_000_000)?;
        let resets = self.max_local_error_reset_streams;
        count("server.max_local_error_reset_streams", resets, 1..=1_000_000)?;
        let control = self.max_control_frames_per_second;
        // A handshake takes a handful.
        count("server.max_control_frames_per_second", control, 10..=1_000_000)?;
        let largest = windows::LARGEST_WINDOW;
        count("server.stream_window", self.stream_window, 1024..=largest)?;
        // HTTP/2 starts every connection with 65,535 bytes, and the window can only be raised from there.
        count("server.connection_window", self.connection_window, 65_535..=largest)?;
        if !self.keepalive_interval.is_zero() {
            let day = Duration::from_secs(24 * 3600);
            time("server.keepalive_interval", self.keepalive_interval, Duration::from_secs(1)..=day)?;
        }
        time("server.keepalive_timeout", self.keepalive_timeout, moment..=hour)?;
        time("server.drain_timeout", self.drain_timeout, Duration::ZERO..=hour)?;
        windows::check(self.max_concurrent_streams, self.stream_window, self.connection_window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut ServerOptions)) -> ConfigError {
        let mut options = ServerOptions::default();
        change(&mut options);
        options.validate().unwrap_err()
    }

    #[test]
    fn the_defaults_work() {
        assert_eq!(ServerOptions::default().validate(), Ok(()));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let refused = [
            refusal(|o| o.max_connections = 0),
            refusal(|o| o.handshake_timeout = Duration::ZERO),
            refusal(|o| o.read_timeout = Duration::ZERO),
            refusal(|o| o.write_timeout = Duration::ZERO),
            refusal(|o| o.max_message_size = 0),
            refusal(|o| o.max_receiving_bytes = o.max_message_size - 1),
            refusal(|o| o.max_concurrent_streams = 0),
            refusal(|o| o.max_header_list_size = 0),
            refusal(|o| o.max_frame_size = 0),
            refusal(|o| o.max_frame_size = 1 << 24),
            refusal(|o| o.max_pending_reset_streams = 0),
            refusal(|o| o.max_local_error_reset_streams = 0),
            refusal(|o| o.max_control_frames_per_second = 0),
            refusal(|o| o.max_control_frames_per_second = 9),
            refusal(|o| o.max_receiving_bytes = 0),
            refusal(|o| o.stream_window = 0),
            refusal(|o| o.stream_window = 1 << 31),
            refusal(|o| o.connection_window = 0),
            refusal(|o| o.connection_window = 65_534),
            refusal(|o| o.connection_window = 1 << 31),
            refusal(|o| o.keepalive_interval = Duration::from_millis(1)),
            refusal(|o| o.keepalive_timeout = Duration::ZERO),
            refusal(|o| o.drain_timeout = Duration::MAX),
        ];
        let fields: Vec<_> = refused.iter().map(|error| error.field).collect();
        assert_eq!(
            fields,
            [
                "server.max_connections",
                "server.handshake_timeout",
                "server.read_timeout",
                "server.write_timeout",
                "server.max_message_size",
                "server.max_receiving_bytes",
                "server.max_concurrent_streams",
                "server.max_header_list_size",
                "server.max_frame_size",
                "server.max_frame_size",
                "server.max_pending_reset_streams",
                "server.max_local_error_reset_streams",
                "server.max_control_frames_per_second",
                "server.max_control_frames_per_second",
                "server.max_receiving_bytes",
                "server.stream_window",
                "server.stream_window",
                "server.connection_window",
                "server.connection_window",
                "server.connection_window",
                "server.keepalive_interval",
                "server.keepalive_timeout",
                "server.drain_timeout",
            ]
        );
    }

    #[test]
    fn windows_that_would_cut_off_a_trickling_client_are_refused_with_the_figures() {
        let error = refusal(|o| o.stream_window = 1 << 20);
        assert!(
            error.to_string().contains("128 streams (max_concurrent_streams) of 1048576 bytes"),
            "{error}"
        );
        let error = refusal(|o| o.connection_window = 64 << 20);
        assert!(error.to_string().contains("above its budget of 33554432"), "{error}");
    }
}
