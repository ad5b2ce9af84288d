//! The server in this process.

use anyhow::Context;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    cli::{config::Sections, plane},
    grpc::server::{Drained, Server},
};

/// A server on a free port of the loopback interface.
pub(super) struct Embedded {
    port: u16,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Drained>,
}

impl Embedded {
    pub(super) async fn start(sections: Sections) -> anyhow::Result<Self> {
        let mut options = sections.server.transport.clone();
        options.listen = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(options).await.context("cannot listen on the loopback interface")?;
        let port = server.local_addr().port();
        let drain_timeout = sections.server.transport.drain_timeout;
        let plane = plane::build(&sections)?;
        let service = plane.service.clone();
        let server = server.on_drain(plane.begin_drain(drain_timeout)).swamped_when(plane.swamped());
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            // An error is a command that ended without `stop`: then the server ends as well.
            stopped.await.ok();
        };
        let serving = tokio::spawn(server.serve(service, shutdown));
        Ok(Self { port, stop, serving })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Drains, once the client has hung up.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        // Not received only when the server has panicked, which comes next.
        self.stop.send(()).ok();
        if self.serving.await.context("the embedded server panicked")? == Drained::Deadline {
            tracing::warn!("the embedded server did not drain in time");
        }
        Ok(())
    }
}
