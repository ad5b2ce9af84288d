//! One connection, from the handshake to its last call.
//!
//! ```text
//! handshake ──► serving ── drain ──► finishing ──► closed
//!     │            │                    │
//!     └────────────┴────────────────────┴── a limit is hit, the peer leaves, or the server aborts the task
//! ```
//! It is one task, which reads frames, begins calls and sweeps over the unread ones; each call is a task of its own. When
//! the connection ends, however it does, HTTP/2 resets its calls, and what they had in work is cancelled.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, MissedTickBehavior},
};
use tonic::{
    body::Body,
    codegen::{Service, http::Request},
    service::Routes,
    transport::server::TcpConnectInfo,
};

use super::{
    ServerOptions,
    counts::{Limit, ServerCounts},
    metered_io::MeteredIo,
    paced_io::{PacedIo, Swamped},
    timed_io::{BrokenOff, TimedIo},
    unread::Calls,
};

/// Sweeps over the unread calls during one `write_timeout`: it is kept to a quarter.
const SWEEPS: u32 = 4;
/// No need to look more often.
const SHORTEST_SWEEP: Duration = Duration::from_millis(1);

/// What all connections of a server have in common. Cheap to clone.
#[derive(Clone)]
pub(super) struct Transport {
    http: http2::Builder<TokioExecutor>,
    routes: Routes,
    handshake_timeout: Duration,
    write_timeout: Duration,
    control_frames: u32,
    draining: watch::Receiver<bool>,
    swamped: Swamped,
    counts: ServerCounts,
}

impl Transport {
    pub(super) fn new(
        options: &ServerOptions,
        routes: Routes,
        draining: watch::Receiver<bool>,
        swamped: Swamped,
        counts: ServerCounts,
    ) -> Self {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(options.max_concurrent_streams)
            // h2 refuses what is not below its limit.
            .max_header_list_size(options.max_header_list_size + 1)
            .max_frame_size(options.max_frame_size)
            .max_pending_accept_reset_streams(options.max_pending_reset_streams)
            .max_local_error_reset_streams(options.max_local_error_reset_streams)
            .initial_stream_window_size(options.stream_window)
            .initial_connection_window_size(options.connection_window)
            .keep_alive_interval(Some(options.keepalive_interval).filter(|interval| !interval.is_zero()))
            .keep_alive_timeout(options.keepalive_timeout);
        let (handshake_timeout, write_timeout) = (options.handshake_timeout, options.write_timeout);
        let control_frames = options.max_control_frames_per_second;
        Self { http, routes, handshake_timeout, write_timeout, control_frames, draining, swamped, counts }
    }

    /// How long a handshake may take.
    fn patience(&self) -> impl Future<Output = BrokenOff> + Send + use<> {
        let (mut draining, timeout) = (self.draining.clone(), self.handshake_timeout);
        async move {
            tokio::select! {
                // An error: the server is gone, which is as good as draining.
                _ = draining.wait_for(|draining| *draining) => BrokenOff::Draining,
                () = tokio::time::sleep(timeout) => BrokenOff::Timeout,
            }
        }
    }

    /// The connection's whole life.
    pub(super) async fn serve(self, socket: TcpStream, peer: SocketAddr) {
        let _open = self.counts.connected();
        // Small answers are not to wait for company. A socket on which that cannot be set is about to fail anyway.
        socket.set_nodelay(true).ok();
        let info = TcpConnectInfo { local_addr: socket.local_addr().ok(), remote_addr: Some(peer) };
        let socket = PacedIo::new(socket, Arc::clone(&self.swamped));
        let socket = MeteredIo::new(socket, self.control_frames, self.counts.clone());
        let io = TimedIo::new(socket, self.patience(), self.write_timeout, self.counts.clone());
        // Only this task takes the lock: the service is called by the connection, which is polled here.
        let calls = Mutex::new(Calls::new(self.write_timeout, self.counts.clone()));
        let service = service_fn(|request: Request<Incoming>| {
            let (opened, mut routes) = (calls.lock().open(), self.routes.clone());
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(info.clone());
            async move {
                let response = routes.call(request).await?;
                Ok::<_, <Routes as Service<Request<Body>>>::Error>(response.map(|body| opened.answers(body)))
            }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(io), service));
        let mut draining = self.draining.clone();
        let mut drain = pin!(draining.wait_for(|draining| *draining));
        let mut told = false;
        let mut sweeps = tokio::time::interval((self.write_timeout / SWEEPS).max(SHORTEST_SWEEP));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                _ = &mut drain, if !told => {
                    told = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = sweeps.tick() => calls.lock().sweep(Instant::now()),
            }
        };
        if let Err(error) = ended {
            self.count(&error);
            tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a connection failed");
        }
    }

    fn count(&self, error: &hyper::Error) {
        if error.is_timeout() {
            self.counts.hit(Limit::Keepalive);
        } else if went_away(error) {
            self.counts.hit(Limit::Protocol);
        }
    }
}

/// Whether the HTTP/2 implementation gave up the peer.
fn went_away(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_go_away() && error.is_library();
        }
        source = error.source();
    }
    false
}
