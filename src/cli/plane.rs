//! The data plane of the tool, built from the configuration.

use std::time::{Duration, Instant};

use super::config::Sections;
use crate::{
    grpc::{
        performance::{OptimizationError, OptimizedStreamProcessor},
        proto::data_plane_server::{DataPlane, DataPlaneServer},
        service::DataPlaneService,
    },
    operations::{OperationsHandler, OperationsValidator, Settings},
};

/// A service, and the data plane behind it.
pub(super) struct Plane<T> {
    pub(super) service: DataPlaneServer<T>,
    pub(super) processor: OptimizedStreamProcessor<OperationsHandler>,
}

impl<T> Plane<T> {
    /// What begins the drain: accepts nothing more from then on, finishes what was accepted, and at the deadline answers
    /// for the rest.
    pub(super) fn begin_drain(&self, timeout: Duration) -> impl FnOnce() + Send + use<T> {
        let processor = self.processor.clone();
        move || {
            tracing::info!(?timeout, "draining");
            let draining = processor.drain(Instant::now() + timeout);
            tokio::spawn(async move {
                let drained = draining.await;
                if drained.unfinished > 0 {
                    tracing::warn!(drained.unfinished, "the drain deadline left messages without a result");
                }
            });
        }
    }

    /// Whether it has more to do than it can.
    pub(super) fn swamped(&self) -> impl Fn() -> bool + Send + Sync + use<T> {
        let processor = self.processor.clone();
        move || processor.is_swamped()
    }
}

/// Builds the data plane with the operations of the tool.
pub(super) fn build(sections: &Sections) -> Result<Plane<impl DataPlane + use<>>, OptimizationError> {
    let settings =
        Settings { allow_fault_injection: sections.server.allow_fault_injection, ..sections.operations };
    let processor = OptimizedStreamProcessor::with_validator(
        sections.plane.clone(),
        move || OperationsHandler::new(settings),
        move || OperationsValidator::new(settings),
    )?;
    let service = DataPlaneService::new(processor.clone(), sections.server.transport.max_message_size);
    Ok(Plane { service: service.into_server(), processor })
}
