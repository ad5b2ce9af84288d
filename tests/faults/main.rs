//! The real server, and what can happen to it: one answer for each message, nothing hung, the capacity back.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod drain;
mod hostile;
#[cfg(target_os = "linux")]
mod pressure;
mod rolling;
#[cfg(target_os = "linux")]
mod scarcity;
#[path = "../serving/mod.rs"]
mod serving;
#[cfg(target_os = "linux")]
mod soak;
mod unread_log;

use std::{collections::HashMap, pin::pin, time::Duration};

use millstream::grpc::proto::{
    GetStatsRequest, GetStatsResponse, StreamRequest, StreamResponse, data_plane_client::DataPlaneClient,
    stream_response::Outcome,
};
use tokio::time::{Instant, timeout};
use tonic::{Code, transport::Channel};

use self::serving::{PATIENCE, Serving};

type Client = DataPlaneClient<Channel>;

async fn client(server: &Serving) -> Client {
    Client::connect(server.url()).await.unwrap()
}

fn request(
    id: u64,
    operation: &str,
    payload: impl Into<bytes::Bytes>,
    parameters: &[(&str, &str)],
) -> StreamRequest {
    let parameters: HashMap<_, _> =
        parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    StreamRequest {
        id,
        operation: operation.into(),
        payload: payload.into(),
        parameters,
        ..Default::default()
    }
}

/// How a message on a stream ended.
fn code(response: &StreamResponse) -> Code {
    match &response.outcome {
        Some(Outcome::Result(_)) => Code::Ok,
        Some(Outcome::Error(error)) => error.code.into(),
        None => panic!("neither a result nor an error: {response:?}"),
    }
}

/// What something comes to within so much time, counted in steps: a machine that holds everybody up holds up the steps as
/// well, and gives more time.
async fn within<T>(time: Duration, what: impl Future<Output = T>) -> Option<T> {
    const STEP: Duration = Duration::from_millis(20);
    let mut what = pin!(what);
    for _ in 0..time.as_millis() / STEP.as_millis() {
        if let Ok(outcome) = timeout(STEP, what.as_mut()).await {
            return Some(outcome);
        }
    }
    None
}

/// Asks for the figures until they are as they should be.
async fn until(
    client: &mut Client,
    what: &str,
    holds: impl Fn(&GetStatsResponse) -> bool,
) -> GetStatsResponse {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    loop {
        looks.tick().await;
        let stats =
            timeout(PATIENCE, client.get_stats(GetStatsRequest {})).await.unwrap().unwrap().into_inner();
        if holds(&stats) {
            return stats;
        }
        assert!(Instant::now() < deadline, "never came: {what}: {stats:?}");
    }
}
