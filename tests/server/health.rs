//! `grpc.health.v1`, and reflection.

use std::time::Duration;

use millstream::grpc::server::Drained;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::{PATIENCE, start};

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

async fn channel(addr: std::net::SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn the_server_and_its_service_are_serving_and_others_are_unknown() {
    let server = start(|_| {}).await;
    let mut client = HealthClient::new(channel(server.addr).await);
    for known in ["", "millstream.v1.DataPlane"] {
        let checked = client.check(of(known)).await.unwrap().into_inner();
        assert_eq!(checked.status(), ServingStatus::Serving, "{known}");
    }
    assert_eq!(client.check(of("coffee")).await.unwrap_err().code(), Code::NotFound);
    let mut unknown = client.watch(of("coffee")).await.unwrap().into_inner();
    assert_eq!(unknown.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn a_watcher_is_told_of_the_drain_and_does_not_hold_it_up() {
    let server = start(|options| options.drain_timeout = Duration::from_secs(3600)).await;
    let mut client = HealthClient::new(channel(server.addr).await);
    let mut watched = client.watch(of("")).await.unwrap().into_inner();
    assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut unknown = client.watch(of("coffee")).await.unwrap().into_inner();
    unknown.next().await.unwrap().unwrap();
    server.stop.send(()).unwrap();
    let told = timeout(PATIENCE, watched.next()).await.expect("the watcher is told");
    assert_eq!(told.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(timeout(PATIENCE, watched.next()).await.expect("the watch ends").is_none());
    assert_eq!(timeout(PATIENCE, server.serving).await.unwrap().unwrap(), Drained::Clean);
}

#[tokio::test]
async fn the_services_describe_themselves() {
    let server = start(|_| {}).await;
    let mut client = ServerReflectionClient::new(channel(server.addr).await);
    let request = |message_request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    };
    let requests = [
        request(MessageRequest::ListServices(String::new())),
        request(MessageRequest::FileContainingSymbol("millstream.v1.DataPlane.Stream".into())),
    ];
    let answers = client.server_reflection_info(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().message_response.unwrap()).collect().await;
    let MessageResponse::ListServicesResponse(services) = &answers[0] else { panic!("{answers:?}") };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    assert!(
        names.contains(&"millstream.v1.DataPlane") && names.contains(&"grpc.health.v1.Health"),
        "{names:?}"
    );
    let MessageResponse::FileDescriptorResponse(file) = &answers[1] else { panic!("{answers:?}") };
    assert!(!file.file_descriptor_proto.is_empty());
}
