//! The server around the service: listener, limits, drain.
//!
//! ```text
//! bind ─► accepting ── shutdown ──► draining ──┬─► Drained::Clean      every connection has closed
//!                                              └─► Drained::Deadline   drain_timeout has passed
//! ```
//! - **Who runs it**: the caller's tokio runtime. [`Server::serve`] is one future; each connection is a task of its
//!   own.
//! - **Accepting**: the socket listens as soon as [`Server::bind`] returns, so what connects between bind and serve
//!   waits, and is not refused. A failure to accept is not fatal, and not a busy loop.
//! - **Draining**: once `shutdown` is ready the socket closes, and each connection is told (GOAWAY) to begin no
//!   further calls; it closes when its last call has ended. A peer that never ends its call, or never even said
//!   hello, would hold that up for ever, so the server stops waiting half a second after `drain_timeout`. The tasks of the
//!   connections that are left end with the runtime: drop it, or end the process. What happens to messages that
//!   arrive on open calls meanwhile is the service's to say.
//! - **Limits**: every connection has a bound on its calls and on the calls that may break the protocol. The
//!   transport switches off hyper's own bounds where it is not told any (`None` means "no limit" there), so both are
//!   always set. Windows are sized so that clients that trickle small messages keep their connection; the sum is in
//!   `server/windows.rs`. A request above `max_message_size` is refused with RESOURCE_EXHAUSTED, before it is read.
//!   Answers are not bounded here: by the time that the transport can see how long an answer is, all that it can do
//!   is end the whole stream. The service answers for them, message by message.
//! - **h2** is named in `Cargo.toml` for its version alone: before 0.4.16 a peer can flood it with empty frames, and
//!   up to 0.4.19 honest streams of small messages were cut off.

mod accept;
mod message_limit;
mod options;
mod windows;

use std::{future::Future, io, net::SocketAddr, pin::pin, time::Duration};

use tokio::{net::TcpListener, sync::oneshot};
use tonic::transport::{self, server::TcpIncoming};

use self::{accept::Accept, message_limit::MessageLimit};
use super::proto::data_plane_server::{DataPlane, DataPlaneServer};

pub use options::ServerOptions;

/// What the drain deadline left unfinished is answered so; this long that may take to reach the clients.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// A listening socket, and how to serve on it.
///
/// ```no_run
/// # use millstream::grpc::{proto::data_plane_server::{DataPlane, DataPlaneServer}, server::{Server, ServerOptions}};
/// # async fn example(service: impl DataPlane) -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::bind(ServerOptions::default()).await?;
/// println!("listening on {}", server.local_addr());
/// let stop = async { tokio::signal::ctrl_c().await.expect("the runtime has I/O") };
/// server.serve(DataPlaneServer::new(service), stop).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    options: ServerOptions,
}

/// How a server came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Drained {
    /// Every connection had closed.
    Clean,
    /// `drain_timeout` (and the time for the last answers) passed first; the connections that were left end with the runtime.
    Deadline,
}

impl Server {
    /// Listens on `options.listen`; connections are taken up once [`serve`](Self::serve) runs.
    ///
    /// # Errors
    /// The address cannot be listened on, or, with [`io::ErrorKind::InvalidInput`], the options are not
    /// [valid](ServerOptions::validate).
    pub async fn bind(options: ServerOptions) -> io::Result<Self> {
        options.validate().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let listener = TcpListener::bind(options.listen).await?;
        let local_addr = listener.local_addr()?;
        Ok(Self { listener, local_addr, options })
    }

    /// Where the server listens, with the port that was picked if none was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` is ready, then drains.
    ///
    /// # Errors
    /// The transport has failed; a connection that fails is not an error.
    pub async fn serve<T: DataPlane>(
        self,
        service: DataPlaneServer<T>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Drained, transport::Error> {
        let Self { listener, options, .. } = self;
        let service = service.max_decoding_message_size(options.max_message_size);
        let incoming = Accept::new(TcpIncoming::from(listener).with_nodelay(Some(true)));
        let (draining, drain) = oneshot::channel();
        let shutdown = async {
            shutdown.await;
            // Nobody listens only when `serve` was dropped, and this with it.
            draining.send(()).ok();
        };
        let serving = transport(&options)
            .add_service(MessageLimit::new(service, options.max_message_size))
            .serve_with_incoming_shutdown(incoming, shutdown);
        let deadline = async {
            if drain.await.is_ok() {
                tokio::time::sleep(options.drain_timeout + LAST_ANSWERS).await;
            } else {
                std::future::pending().await
            }
        };
        let (serving, deadline) = (pin!(serving), pin!(deadline));
        tokio::select! {
            biased;
            ended = serving => ended.map(|()| Drained::Clean),
            () = deadline => Ok(Drained::Deadline),
        }
    }
}

fn transport(options: &ServerOptions) -> transport::Server {
    let keepalive = Some(options.keepalive_interval).filter(|interval| *interval > Duration::ZERO);
    transport::Server::builder()
        .max_concurrent_streams(options.max_concurrent_streams)
        .http2_max_local_error_reset_streams(Some(options.max_local_error_reset_streams))
        .initial_stream_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .http2_keepalive_interval(keepalive)
        .http2_keepalive_timeout(Some(options.keepalive_timeout))
}
