//! Pages for whoever runs the server: its figures for Prometheus, whether it lives, whether it is ready.
//!
//! | page | answer |
//! |---|---|
//! | `/metrics` | 200, the figures as they are at that moment, in Prometheus' text format |
//! | `/healthz` | 200 for as long as the process answers at all |
//! | `/readyz` | 200; 503 from the moment on at which the drain begins |
//!
//! They have a socket of their own, since clients are not to see figures, and since `/readyz` has something to say just
//! when the server's own socket closes. The figures are merged when somebody asks, on a thread that may block, so that a
//! scrape costs messages nothing.
//!
//! HTTP/1.1, for that is what scrapers and probes speak. What a peer can hold is bounded: [`MOST_CONNECTIONS`], further
//! ones wait in the kernel; a request whose headers do not come within [`HEADERS`], and a connection that is older than
//! [`LIFETIME`], are cut off, so a peer that never reads its answer is too.

use std::{convert::Infallible, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::timeout,
};
use tonic::codegen::http::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};

use super::{Server, accept};

/// Connections that are open at a time.
const MOST_CONNECTIONS: usize = 16;
/// How long the headers of a request may take.
const HEADERS: Duration = Duration::from_secs(10);
/// How long a connection may be used before its peer has to come again.
const LIFETIME: Duration = Duration::from_secs(600);
/// The text format that every Prometheus understands.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// A listening socket for the pages.
pub struct AdminPages {
    listener: TcpListener,
    local_addr: SocketAddr,
    pages: Pages,
}

/// What the pages say.
#[derive(Clone)]
struct Pages {
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
    draining: watch::Receiver<bool>,
}

impl AdminPages {
    /// Listens on `listen`, with pages about `server`; `metrics` renders the figures. It may block.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn bind(
        listen: SocketAddr,
        server: &Server,
        metrics: impl Fn() -> String + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let local_addr = listener.local_addr()?;
        let pages = Pages { metrics: Arc::new(metrics), draining: server.drain.subscribe() };
        Ok(Self { listener, local_addr, pages })
    }

    /// Where the pages are, with the port that was picked if none was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers for as long as it is polled, through the drain as well. Dropped, it closes what is open.
    pub async fn serve(self) -> Infallible {
        let Self { listener, pages, .. } = self;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADERS);
        let mut connections = JoinSet::new();
        loop {
            let room = connections.len() < MOST_CONNECTIONS;
            tokio::select! {
                Some(_) = connections.join_next() => {}
                (socket, _) = accept::next(|| listener.accept(), |error| {
                    tracing::warn!(%error, "cannot accept connections to the admin pages");
                }), if room => {
                    connections.spawn(connection(http.clone(), socket, pages.clone()));
                }
            }
        }
    }
}

async fn connection(http: http1::Builder, socket: TcpStream, pages: Pages) {
    let service = service_fn(move |request: Request<Incoming>| {
        let pages = pages.clone();
        async move { Ok::<_, Infallible>(pages.answer(request.method(), request.uri().path()).await) }
    });
    match timeout(LIFETIME, http.serve_connection(TokioIo::new(socket), service)).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the admin pages failed"),
    }
}

impl Pages {
    async fn answer(self, method: &Method, path: &str) -> Response<String> {
        if ![Method::GET, Method::HEAD].contains(method) {
            let mut refused = page(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "pages are read with GET\n");
            refused
                .headers_mut()
                .insert(ALLOW, const { tonic::codegen::http::HeaderValue::from_static("GET, HEAD") });
            return refused;
        }
        match path {
            "/metrics" => match spawn_blocking(move || (self.metrics)()).await {
                Ok(figures) => page(StatusCode::OK, PROMETHEUS, figures),
                Err(error) => {
                    tracing::error!(%error, "the figures cannot be rendered");
                    page(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "the figures cannot be rendered\n")
                }
            },
            "/healthz" => page(StatusCode::OK, PLAIN, "alive\n"),
            "/readyz" if *self.draining.borrow() => {
                page(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "draining\n")
            }
            "/readyz" => page(StatusCode::OK, PLAIN, "ready\n"),
            _ => page(StatusCode::NOT_FOUND, PLAIN, "there are /metrics, /healthz and /readyz\n"),
        }
    }
}

fn page(status: StatusCode, content_type: &'static str, text: impl Into<String>) -> Response<String> {
    let page = Response::builder().status(status).header(CONTENT_TYPE, content_type).body(text.into());
    page.expect("status and header are constants")
}

impl fmt::Debug for AdminPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminPages").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}
