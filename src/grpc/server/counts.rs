//! What the server counts: connections, and how often each of its limits was hit.
//!
//! Plain counters, each independent of the others, so every access is relaxed. They go to the `metrics` facade as they
//! are counted: a connection is a rare event beside its messages.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// What a peer, or the system, has run into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// A connection came while `max_connections` were open, and had to wait until one of them closed.
    Connections,
    /// The system gave no descriptor for a connection.
    Descriptors,
    /// The system gave no connection that had come for another reason, such as want of memory.
    Accept,
    /// A connection did not speak HTTP/2 within `handshake_timeout`, and was closed.
    Handshake,
    /// A connection took no bytes for `write_timeout`, and was closed.
    Write,
    /// A call's answers were not read for `write_timeout`, and it was ended.
    Unread,
    /// A ping was not answered within `keepalive_timeout`, and the connection was closed.
    Keepalive,
    /// A connection broke HTTP/2, or one of the limits that guard it from floods, and was ended with GOAWAY.
    Protocol,
    /// A connection sent more control frames than `max_control_frames_per_second`, and was closed.
    ControlFrames,
    /// A call broke HTTP/2, such as by sending more than `stream_window` unread, and was reset; its connection went on.
    CallProtocol,
    /// A call was above the `max_concurrent_streams` of its connection, and was refused.
    ConcurrentStreams,
    /// The headers of a call were above `max_header_list_size`, and it was answered with 431.
    HeaderListSize,
    /// A request was above `max_message_size`.
    MessageSize,
    /// A large message waited until there was room in `max_receiving_bytes`.
    Receiving,
    /// A message took more than `read_timeout` for 64 KiB, and its call was ended.
    Read,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Connections,
        Self::Descriptors,
        Self::Accept,
        Self::Handshake,
        Self::Write,
        Self::Unread,
        Self::Keepalive,
        Self::Protocol,
        Self::ControlFrames,
        Self::CallProtocol,
        Self::ConcurrentStreams,
        Self::HeaderListSize,
        Self::MessageSize,
        Self::Receiving,
        Self::Read,
    ];

    /// Its label in the metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Descriptors => "descriptors",
            Self::Accept => "accept",
            Self::Handshake => "handshake",
            Self::Write => "write",
            Self::Unread => "unread",
            Self::Keepalive => "keepalive",
            Self::Protocol => "protocol",
            Self::ControlFrames => "control_frames",
            Self::CallProtocol => "call_protocol",
            Self::ConcurrentStreams => "concurrent_streams",
            Self::HeaderListSize => "header_list_size",
            Self::MessageSize => "message_size",
            Self::Receiving => "receiving",
            Self::Read => "read",
        }
    }
}

/// The counters of one server. A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct ServerCounts {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    accepted: AtomicU64,
    open: AtomicU64,
    hits: [AtomicU64; Limit::ALL.len()],
}

impl ServerCounts {
    /// Connections that were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.inner.accepted.load(Relaxed)
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.inner.open.load(Relaxed)
    }

    /// How often a limit was hit.
    #[must_use]
    pub fn hits(&self, limit: Limit) -> u64 {
        self.inner.hits[limit as usize].load(Relaxed)
    }

    pub(super) fn hit(&self, limit: Limit) {
        self.inner.hits[limit as usize].fetch_add(1, Relaxed);
        counter!("millstream_limit_hits_total", "limit" => limit.name()).increment(1);
    }

    /// Counts a connection as open for as long as the guard lives.
    pub(super) fn connected(&self) -> Open {
        self.inner.accepted.fetch_add(1, Relaxed);
        self.inner.open.fetch_add(1, Relaxed);
        counter!("millstream_connections_total").increment(1);
        gauge!("millstream_open_connections").increment(1);
        Open(self.clone())
    }
}

/// A connection that is open.
pub(super) struct Open(ServerCounts);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.inner.open.fetch_sub(1, Relaxed);
        gauge!("millstream_open_connections").decrement(1);
    }
}

/// Tells the recorder what the figures mean.
pub(super) fn describe() {
    describe_counter!(
        "millstream_limit_hits_total",
        Unit::Count,
        "How often each limit of the server was hit"
    );
    describe_counter!("millstream_connections_total", Unit::Count, "Connections that were accepted");
    describe_gauge!("millstream_open_connections", Unit::Count, "Connections that are open");
}
