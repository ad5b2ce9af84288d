//! `millstream serve`: the server, from the configuration to the last answer.
//!
//! The first SIGINT or SIGTERM begins the drain: the socket closes, messages that arrive on open streams are refused
//! with UNAVAILABLE, and what was accepted is answered, for as long as `server.drain_timeout` allows. The second ends
//! the process at once. Signals are listened for before the socket is, so that none is missed.
//!
//! **Threads.** The server's I/O has `server.io_threads`, by default half as many as there are cores, for the work is done by
//! others. With as many as cores, tokio wakes a second one for most messages, which looks for a task and sleeps again: on two
//! cores 1.4 system calls and 0.9 switches for each, which cost 10 µs of CPU time, and as many in the median of 4 KiB digests.

mod admin;
mod lean;

use std::io::{self, Write};

use anyhow::Context;
use tokio::{runtime::Builder, sync::oneshot};

use super::{
    Exit,
    config::Sections,
    config_flags::{ConfigFlags, ServerFlags},
    on_runtime, plane,
    signals::Signals,
};
use crate::grpc::server::{AdminPages, Drained, Server};

/// What the system calls the threads that do the server's I/O.
const IO_THREADS: &str = "millstream-io";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    server: ServerFlags,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let sections = self.config.load(&self.server)?.sections;
        let mut io = Builder::new_multi_thread();
        io.worker_threads(sections.server.io_threads).thread_name(IO_THREADS);
        on_runtime(io, serve(sections))
    }
}

async fn serve(sections: Sections) -> anyhow::Result<Exit> {
    let mut signals = Signals::listen()?;
    let options = sections.server.transport.clone();
    let (wanted, drain_timeout) = (options.listen, options.drain_timeout);
    let server = Server::bind(options).await.with_context(|| format!("cannot listen on {wanted}"))?;
    let plane = plane::build(&sections)?;
    let admin = match sections.server.admin_listen {
        Some(listen) => Some(admin::bind(listen, &server, &plane.processor).await?),
        None => None,
    };
    announce(&server, admin.as_ref()).context("cannot write to stdout")?;

    let server = server.on_drain(plane.begin_drain(drain_timeout)).swamped_when(plane.swamped());
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        // An error: nobody is left to say stop, because the command has ended.
        stopped.await.ok();
    };
    let signalled = async {
        signals.next().await;
        // Somebody listens for as long as this is polled.
        stop.send(()).ok();
        signals.next().await;
    };
    tokio::select! {
        drained = server.serve(plane.service.clone(), shutdown) => {
            match drained {
                Drained::Clean => tracing::info!("drained"),
                Drained::Deadline => tracing::warn!("the drain deadline has passed, connections are cut"),
            }
            Ok(Exit::Done)
        }
        () = signalled => {
            tracing::warn!("second signal, ending at once");
            Ok(Exit::Failed)
        }
        never = lean::keep_lean(&plane.processor) => match never {},
        never = admin::serve(admin) => match never {},
    }
}

/// Whoever started the server waits for these lines.
fn announce(server: &Server, admin: Option<&AdminPages>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on {}", server.local_addr())?;
    if let Some(admin) = admin {
        writeln!(stdout, "admin on {}", admin.local_addr())?;
    }
    stdout.flush()
}
