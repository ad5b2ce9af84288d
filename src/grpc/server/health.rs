//! `grpc.health.v1.Health`: SERVING until the drain begins, NOT_SERVING from then on.
//!
//! A watcher is told of the change, and its call ends with that: a watcher that stays would hold up the drain.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

use crate::grpc::status::brief;

type Next = Pin<Box<dyn Future<Output = ServingStatus> + Send>>;

/// The service; it knows `service`, and the server as a whole, which is called "".
pub(super) fn service(service: &'static str, draining: watch::Receiver<bool>) -> HealthServer<impl Health> {
    HealthServer::new(Readiness { service, draining })
}

struct Readiness {
    service: &'static str,
    draining: watch::Receiver<bool>,
}

impl Readiness {
    fn knows(&self, name: &str) -> bool {
        name.is_empty() || name == self.service
    }

    fn status(&self) -> ServingStatus {
        if *self.draining.borrow() { ServingStatus::NotServing } else { ServingStatus::Serving }
    }
}

#[tonic::async_trait]
impl Health for Readiness {
    type WatchStream = Changes;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        if !self.knows(&name) {
            return Err(Status::not_found(format!("`{}` is not a service of this server", brief(&name))));
        }
        Ok(Response::new(response(self.status())))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        // A watcher of an unknown service is told so and waits for it, says the protocol.
        let (first, last) = if self.knows(&request.into_inner().service) {
            (self.status(), ServingStatus::NotServing)
        } else {
            (ServingStatus::ServiceUnknown, ServingStatus::ServiceUnknown)
        };
        let mut draining = self.draining.clone();
        let next = Box::pin(async move {
            // An error: the server is gone, which is as good as draining.
            draining.wait_for(|draining| *draining).await.ok();
            last
        });
        let ends = first == ServingStatus::NotServing;
        Ok(Response::new(Changes { now: Some(first), next: (!ends).then_some(next as Next) }))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// The status now, and the one that it changes to.
pub(super) struct Changes {
    now: Option<ServingStatus>,
    next: Option<Next>,
}

impl Stream for Changes {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(now) = self.now.take() {
            return Poll::Ready(Some(Ok(response(now))));
        }
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let status = ready!(next.as_mut().poll(cx));
        self.next = None;
        Poll::Ready(Some(Ok(response(status))))
    }
}
