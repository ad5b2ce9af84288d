//! Between the words of the wire and those of the data plane.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_core::Stream;
use tonic::{Status, metadata::MetadataMap};

use super::{DataPlaneRequest, OperationInfo};
use crate::grpc::{
    performance::{
        FailureKind, HandlerError, OptimizationError, OverloadLevel, Priority,
        processor::{Answer, Message, Order, Timing},
    },
    proto::{self, StreamRequest, StreamResponse, stream_response},
    status::brief,
};

/// The call metadata that chooses the order of the answers.
const ORDER: &str = "millstream-order";
/// The call metadata by which gRPC tells how long the client waits.
const TIMEOUT: &str = "grpc-timeout";

/// The order that the client wants.
pub(super) fn order(metadata: &MetadataMap) -> Result<Order, Status> {
    match metadata.get(ORDER).map(|value| value.as_bytes()) {
        None | Some(b"request") => Ok(Order::Request),
        Some(b"completion") => Ok(Order::Completion),
        Some(other) => Err(Status::invalid_argument(format!(
            "{ORDER}: `{}` is not an order: it must be `request` or `completion`",
            brief(&String::from_utf8_lossy(other))
        ))),
    }
}

/// When the client stops waiting for the call.
pub(super) fn call_deadline(metadata: &MetadataMap) -> Result<Option<Instant>, Status> {
    let Some(value) = metadata.get(TIMEOUT) else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(parse_timeout).ok_or_else(|| {
        Status::invalid_argument(format!(
            "{TIMEOUT}: {} must be at most 8 digits and one of H M S m u n",
            brief(&format!("{value:?}"))
        ))
    })?;
    // A timeout beyond what the clock can tell is none.
    Ok(Instant::now().checked_add(timeout))
}

/// The `Timeout` of gRPC's HTTP/2 mapping: at most 8 digits, and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// A request as a message, tagged with its id; what is wrong with its envelope is its answer.
pub(super) fn message(request: StreamRequest) -> Message<DataPlaneRequest, u64> {
    let StreamRequest { id, operation, payload, parameters, priority, timeout, no_cache } = request;
    let mut rejected = None;
    let priority = match proto::Priority::try_from(priority) {
        Ok(proto::Priority::Low) => Priority::Low,
        Ok(proto::Priority::Unspecified | proto::Priority::Normal) => Priority::Normal,
        Ok(proto::Priority::High) => Priority::High,
        Err(_) => {
            rejected = Some(format!("priority = {priority}: it must be from 0 (unspecified) to 3 (high)"));
            Priority::Normal
        }
    };
    let timeout = timeout.and_then(|timeout| {
        let valid = Duration::try_from(timeout);
        if valid.is_err() {
            rejected = Some(format!("timeout = {timeout}: it must be 0 or more"));
        }
        valid.ok()
    });
    let request = DataPlaneRequest { operation, payload, parameters, priority, timeout };
    let message = Message::new(request).tag(id).cached(!no_cache);
    match rejected {
        Some(why) => message.rejected(HandlerError::invalid_argument(why)),
        None => message,
    }
}

/// Bytes of a response beside its result: tags, lengths, id and times, at their longest.
const ENVELOPE: usize = 128;

/// The result, if it fits into a message.
fn fitting(result: Result<Bytes, OptimizationError>, limit: usize) -> Result<Bytes, OptimizationError> {
    let result = result?;
    if result.len() + ENVELOPE <= limit {
        return Ok(result);
    }
    let text =
        format!("a result of {} bytes is above what server.max_message_size = {limit} allows", result.len());
    Err(HandlerError::new(FailureKind::ResourceExhausted, text).into())
}

/// An answer on a stream: its failure is its outcome.
fn response(answer: Answer<Bytes, u64>, limit: usize) -> StreamResponse {
    let outcome = match fitting(answer.result, limit) {
        Ok(result) => stream_response::Outcome::Result(result),
        Err(error) => stream_response::Outcome::Error(status_message(error)),
    };
    StreamResponse {
        id: answer.tag,
        outcome: Some(outcome),
        cache_hit: answer.cache_hit,
        timing: answer.timing.map(proto::Timing::from),
    }
}

/// An answer to a call of its own: its failure is the status of the call.
pub(super) fn unary(mut answer: Answer<Bytes, u64>, limit: usize) -> Result<StreamResponse, Status> {
    answer.result = Ok(fitting(answer.result, limit)?);
    Ok(response(answer, limit))
}

/// A status as a message, with its details.
fn status_message(error: OptimizationError) -> tonic_types::Status {
    let status = Status::from(error);
    prost::Message::decode(status.details()).unwrap_or_else(|_| tonic_types::Status {
        code: status.code() as i32,
        message: status.message().to_string(),
        details: Vec::new(),
    })
}

impl From<Timing> for proto::Timing {
    fn from(timing: Timing) -> Self {
        Self { queue_wait: duration(timing.queue_wait), service_time: duration(timing.service_time) }
    }
}

/// A duration of the wire; absent where it is too long for it (292 billion years).
pub(super) fn duration(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}

impl From<OverloadLevel> for proto::OverloadLevel {
    fn from(level: OverloadLevel) -> Self {
        match level {
            OverloadLevel::Normal => Self::Normal,
            OverloadLevel::Warning => Self::Warning,
            OverloadLevel::Critical => Self::Critical,
            OverloadLevel::Emergency => Self::Emergency,
        }
    }
}

impl From<OperationInfo> for proto::Operation {
    fn from(info: OperationInfo) -> Self {
        let parameters = info.parameters.into_iter().map(|parameter| proto::Parameter {
            name: parameter.name.to_string(),
            description: parameter.description.to_string(),
            default_value: parameter.default.to_string(),
        });
        Self {
            name: info.name.to_string(),
            description: info.description.to_string(),
            parameters: parameters.collect(),
            cacheable: info.cacheable,
        }
    }
}

/// The requests of a call, as messages.
pub(super) struct Requests<S>(S);

impl<S> Requests<S> {
    pub(super) fn new(requests: S) -> Self {
        Self(requests)
    }
}

impl<S> Stream for Requests<S>
where
    S: Stream<Item = Result<StreamRequest, Status>> + Unpin,
{
    type Item = Result<Message<DataPlaneRequest, u64>, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map(|next| next.map(|request| request.map(message)))
    }
}

/// The answers of a call, as responses.
pub(super) struct Responses<S> {
    answers: S,
    limit: usize,
}

impl<S> Responses<S> {
    pub(super) fn new(answers: S, limit: usize) -> Self {
        Self { answers, limit }
    }
}

impl<S> Stream for Responses<S>
where
    S: Stream<Item = Result<Answer<Bytes, u64>, Status>> + Unpin,
{
    type Item = Result<StreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let limit = self.limit;
        Pin::new(&mut self.answers)
            .poll_next(cx)
            .map(|next| next.map(|answer| answer.map(|answer| response(answer, limit))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_timeout_is_read_and_nonsense_is_refused() {
        assert_eq!(parse_timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(parse_timeout("0n"), Some(Duration::ZERO));
        for nonsense in ["", "m", "100", "100x", "-1m", "123456789m", "1é", "+1m"] {
            assert_eq!(parse_timeout(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_order_that_is_none_is_refused_by_name() {
        let mut metadata = MetadataMap::new();
        assert_eq!(order(&metadata).unwrap(), Order::Request);
        metadata.insert(ORDER, "completion".parse().unwrap());
        assert_eq!(order(&metadata).unwrap(), Order::Completion);
        metadata.insert(ORDER, "random".parse().unwrap());
        assert!(order(&metadata).unwrap_err().message().contains("`random`"));
    }

    #[test]
    fn a_status_on_a_stream_carries_code_text_and_details() {
        let error = OptimizationError::from(HandlerError::invalid_argument("`level` = 99"));
        let status = status_message(error);
        assert_eq!((status.code, status.message.as_str()), (3, "`level` = 99"));
        assert_eq!(status.details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
        let plain = status_message(OptimizationError::Interrupted(crate::Interruption::Cancelled));
        assert_eq!((plain.code, plain.details.len()), (1, 0));
    }
}
