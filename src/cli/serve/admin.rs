//! The admin pages of `millstream serve`, and the recorder behind `/metrics`.
//!
//! The recorder is installed only when there are pages to show it: without one, nobody keeps what is published.

use std::{convert::Infallible, future, net::SocketAddr};

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::grpc::{
    performance::{MessageHandler, OptimizedStreamProcessor},
    server::{AdminPages, Server},
};

/// Listens for whoever runs the server.
pub(super) async fn bind<H: MessageHandler>(
    listen: SocketAddr,
    server: &Server,
    processor: &OptimizedStreamProcessor<H>,
) -> anyhow::Result<AdminPages> {
    let recorder = PrometheusBuilder::new().install_recorder().context("cannot keep figures")?;
    let processor = processor.clone();
    let metrics = move || {
        processor.publish_metrics();
        recorder.render()
    };
    AdminPages::bind(listen, server, metrics).await.with_context(|| format!("cannot listen on {listen}"))
}

/// Answers for as long as it is polled; without pages it does nothing, for as long.
pub(super) async fn serve(pages: Option<AdminPages>) -> Infallible {
    match pages {
        Some(pages) => pages.serve().await,
        None => future::pending().await,
    }
}
