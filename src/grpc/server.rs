//! The server around the service: listener, limits, health, drain.
//!
//! ```text
//! bind ─► accepting ── shutdown ──► draining ──┬─► Drained::Clean      every connection has closed
//!                                              └─► Drained::Deadline   drain_timeout has passed, the rest is cut off
//! ```
//! - **Who runs it**: the caller's tokio runtime. [`Server::serve`] is one future; each connection
//!   (`server/connection.rs`) is a task of its own, and none outlives it.
//! - **Accepting**: the socket listens as soon as [`Server::bind`] returns, so what connects between bind and serve
//!   waits, and is not refused. A failure to accept is not fatal, and not a busy loop (`server/accept.rs`). With
//!   `max_connections` open the next one is kept unserved until one of them has closed, and no more are accepted; they
//!   wait in the kernel.
//! - **Draining**: once `shutdown` is ready, health says NOT_SERVING, the socket closes, and each connection is told
//!   (GOAWAY) to begin no further calls; it closes when its last call has ended. A connection that has not even said
//!   hello is closed at once. A peer that never ends its call would hold that up for ever, so the server stops waiting
//!   half a second after `drain_timeout`, and cuts off what is left. What happens to messages that arrive on open calls
//!   meanwhile is the service's to say ([`Server::on_drain`]).
//! - **Limits**: nothing that a peer does, or leaves undone, holds anything for ever (`server/timed_io.rs`,
//!   `server/unread.rs`, `server/message_limit.rs`), and
//!   everything that it can pile up is bounded: connections, calls, headers, frames, messages, resets. Each limit that
//!   is hit is counted ([`ServerCounts`]). Frames that carry nothing have a budget (`server/floods.rs`); their
//!   answers do not pile up, since reading stops while one cannot be written; endless headers end the connection. What the
//!   HTTP/2 implementation declines by itself is counted by what it writes (`server/declined.rs`). Windows are sized so that clients that trickle small messages keep their connection; the sum is in
//!   `server/windows.rs`. A request above `max_message_size` is refused with RESOURCE_EXHAUSTED, before it is read;
//!   what large messages take until the data plane has accepted them has a budget (`server/reception.rs`).
//!   Answers are not bounded here: by the time that the transport can see how long an answer is, all that it can do
//!   is end the whole stream. The service answers for them, message by message.
//! - **In an overload** busy connections are read by the clock, so that saying no leaves the cores to the work
//!   (`server/paced_io.rs`, [`Server::swamped_when`]).
//! - **Who runs the process** has pages of their own (`server/admin.rs`), on a socket of its own.
//! - **hyper** is driven here, and not by tonic's own server, which neither counts nor ends what this one has to.
//! - **h2** is named in `Cargo.toml` for its version alone: before 0.4.16 a peer can flood it with empty frames, and
//!   up to 0.4.19 honest streams of small messages were cut off.

mod accept;
mod admin;
mod connection;
mod counts;
mod declined;
mod floods;
mod frames;
mod health;
mod message_limit;
mod metered_io;
mod options;
mod paced_io;
mod reception;
mod timed_io;
mod unread;
mod windows;

use std::{fmt, future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tonic::{server::NamedService, service::Routes};

use self::{
    connection::Transport,
    message_limit::{Bounds, MessageLimit},
    paced_io::Swamped,
};
use super::proto::{
    FILE_DESCRIPTOR_SET,
    data_plane_server::{DataPlane, DataPlaneServer},
};

pub use self::{
    admin::AdminPages,
    counts::{Limit, ServerCounts},
    options::ServerOptions,
};

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
/// let drained = server.serve(DataPlaneServer::new(service), stop).await;
/// println!("{drained:?}");
/// # Ok(())
/// # }
/// ```
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    options: ServerOptions,
    counts: ServerCounts,
    drain: watch::Sender<bool>,
    on_drain: Box<dyn FnOnce() + Send>,
    swamped: Swamped,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// How a server came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Drained {
    /// Every connection had closed.
    Clean,
    /// `drain_timeout` (and the time for the last answers) passed first; the connections that were left are cut off.
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
        let drain = watch::Sender::new(false);
        Ok(Self {
            listener,
            local_addr,
            options,
            counts: ServerCounts::default(),
            drain,
            on_drain: Box::new(|| ()),
            swamped: Arc::new(|| false),
        })
    }

    /// Where the server listens, with the port that was picked if none was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What the server counts, before, during and after [`serve`](Self::serve).
    #[must_use]
    pub fn counts(&self) -> ServerCounts {
        self.counts.clone()
    }

    /// What the service has to do for a drain, such as to accept nothing more. It is called once health says NOT_SERVING,
    /// and before the socket closes; it must not block.
    #[must_use]
    pub fn on_drain(mut self, begin: impl FnOnce() + Send + 'static) -> Self {
        self.on_drain = Box::new(begin);
        self
    }

    /// How the service says that it has more to do than it can, such as with
    /// [`is_swamped`](crate::OptimizedStreamProcessor::is_swamped). A connection on which one message follows the other is
    /// then read every other millisecond, and not at each of them. It is asked often; it must not block.
    #[must_use]
    pub fn swamped_when(mut self, swamped: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.swamped = Arc::new(swamped);
        self
    }

    /// Serves until `shutdown` is ready, then drains.
    pub async fn serve<T: DataPlane>(
        self,
        service: DataPlaneServer<T>,
        shutdown: impl Future<Output = ()>,
    ) -> Drained {
        let Self { listener, options, counts, drain, on_drain, swamped, .. } = self;
        counts::describe();
        let routes = routes(service, &options, drain.subscribe(), &counts);
        let transport = Transport::new(&options, routes, drain.subscribe(), swamped, counts.clone());
        let failed = |error: &io::Error| {
            counts.hit(accept::limit(error));
            tracing::warn!(%error, "cannot accept connections for a moment");
        };
        let mut shutdown = pin!(shutdown);
        let mut connections = JoinSet::new();
        let mut waiting = None;
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {
                    if let Some((socket, peer)) = waiting.take() {
                        connections.spawn(transport.clone().serve(socket, peer));
                    }
                }
                (socket, peer) = accept::next(|| listener.accept(), failed), if waiting.is_none() => {
                    if connections.len() < options.max_connections {
                        connections.spawn(transport.clone().serve(socket, peer));
                    } else {
                        counts.hit(Limit::Connections);
                        tracing::warn!(%peer, options.max_connections, "a connection waits until another closes");
                        waiting = Some((socket, peer));
                    }
                }
            }
        }
        drain.send_replace(true);
        on_drain();
        drop((listener, waiting));
        let closed = async { while connections.join_next().await.is_some() {} };
        match tokio::time::timeout(options.drain_timeout + LAST_ANSWERS, closed).await {
            Ok(()) => Drained::Clean,
            Err(_) => {
                connections.shutdown().await;
                Drained::Deadline
            }
        }
    }
}

fn routes<T: DataPlane>(
    service: DataPlaneServer<T>,
    options: &ServerOptions,
    draining: watch::Receiver<bool>,
    counts: &ServerCounts,
) -> Routes {
    let service = service.max_decoding_message_size(options.max_message_size);
    let name = <DataPlaneServer<T> as NamedService>::NAME;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    const DESCRIBED: &str = "the descriptors were made by the compiler of the protocol";
    let bounds = Bounds::new(options, counts.clone());
    Routes::new(MessageLimit::new(service, &bounds))
        .add_service(MessageLimit::new(health::service(name, draining), &bounds))
        .add_service(MessageLimit::new(reflection().build_v1().expect(DESCRIBED), &bounds))
        .add_service(MessageLimit::new(reflection().build_v1alpha().expect(DESCRIBED), &bounds))
        .prepare()
}
