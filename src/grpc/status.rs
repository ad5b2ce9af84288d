//! The one place that turns errors into gRPC statuses.
//!
//! What an error says may quote what the client has sent, which may be as long as a message. A status travels in headers,
//! which clients bound to 8 KiB or 16 KiB together, and on a stream within an answer that must not be above what a client
//! takes: a longer one costs the client its call, or its stream. So the text is cut to [`LONGEST_TEXT`].

use std::{borrow::Cow, collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::performance::{FailureKind, OptimizationError, Refusal};

/// What `ErrorInfo` names as the source of a reason.
const DOMAIN: &str = "millstream";

impl From<FailureKind> for Code {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::InvalidArgument => Self::InvalidArgument,
            FailureKind::NotFound => Self::NotFound,
            FailureKind::FailedPrecondition => Self::FailedPrecondition,
            FailureKind::PermissionDenied => Self::PermissionDenied,
            FailureKind::Unimplemented => Self::Unimplemented,
            FailureKind::ResourceExhausted => Self::ResourceExhausted,
            FailureKind::DeadlineExceeded => Self::DeadlineExceeded,
            FailureKind::Cancelled => Self::Cancelled,
            FailureKind::Unavailable => Self::Unavailable,
            FailureKind::Internal => Self::Internal,
        }
    }
}

/// What `ErrorInfo` calls the wait that was predicted, or gone through, in milliseconds.
const WAIT: &str = "wait_ms";

/// Bytes of the text of a status. It may take thrice as many, in `grpc-message`, where it is not ASCII, and travels once
/// more among the details.
const LONGEST_TEXT: usize = 1024;

/// A text that fits in a status: both ends of it, since the one says what is wrong, and the other what would be right.
pub(super) fn brief(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST_TEXT {
        return text.into();
    }
    let (begin, end) =
        (text.floor_char_boundary(LONGEST_TEXT / 2), text.ceil_char_boundary(text.len() - LONGEST_TEXT / 2));
    format!("{} [{} bytes] {}", &text[..begin], end - begin, &text[end..]).into()
}

/// What tells a gRPC client with a retry policy when to try again, in milliseconds (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// When a client may try again, where that is known.
fn retry_after(error: &OptimizationError) -> Option<Duration> {
    match error {
        OptimizationError::Refused(refusal) => refusal.retry_after(),
        _ => None,
    }
}

/// A word for programs: why it was refused or ended.
fn reason(error: &OptimizationError) -> Option<&'static str> {
    Some(match error {
        OptimizationError::Refused(Refusal::Overloaded { .. }) => "OVERLOADED",
        OptimizationError::Refused(Refusal::WouldBeLate { .. }) => "WOULD_BE_LATE",
        OptimizationError::Refused(Refusal::WaitedTooLong { .. }) => "WAITED_TOO_LONG",
        OptimizationError::Refused(Refusal::Displaced { .. }) => "DISPLACED",
        OptimizationError::Refused(Refusal::NotUrgent { .. }) => "NOT_URGENT",
        OptimizationError::Refused(Refusal::TooLarge { .. }) => "MESSAGE_TOO_LARGE",
        OptimizationError::Refused(Refusal::AnswersPileUp { .. }) => "ANSWERS_PILE_UP",
        OptimizationError::Refused(Refusal::TooManyStreams { .. }) => "TOO_MANY_STREAMS",
        OptimizationError::Refused(Refusal::Draining) => "DRAINING",
        OptimizationError::StreamIdle(_) => "STREAM_IDLE",
        OptimizationError::Panicked(_) => "HANDLER_PANICKED",
        _ => return None,
    })
}

impl From<OptimizationError> for Status {
    fn from(error: OptimizationError) -> Self {
        let code = error.kind().into();
        let text = brief(&error.to_string()).into_owned();
        let mut details = ErrorDetails::new();
        if let Some(delay) = retry_after(&error) {
            details.set_retry_info(Some(delay));
        }
        if let Some(reason) = reason(&error) {
            let wait = match &error {
                OptimizationError::Refused(refusal) => refusal.wait(),
                _ => None,
            };
            let facts = wait.map(|wait| (WAIT.to_string(), wait.as_millis().to_string()));
            details.set_error_info(reason, DOMAIN, facts.into_iter().collect::<HashMap<_, _>>());
        }
        if error.kind() == FailureKind::InvalidArgument {
            details.add_bad_request_violation("message", text.clone());
        }
        let mut status = Self::with_error_details(code, text, details);
        if let Some(delay) = retry_after(&error) {
            status.metadata_mut().insert(PUSHBACK, (delay.as_millis() as u64).max(1).into());
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::performance::{HandlerError, Interruption};

    #[test]
    fn each_failure_has_its_code() {
        let code = |error: OptimizationError| Status::from(error).code();
        assert_eq!(code(Interruption::Cancelled.into()), Code::Cancelled);
        assert_eq!(code(Interruption::DeadlineExceeded.into()), Code::DeadlineExceeded);
        assert_eq!(code(Interruption::Overstayed.into()), Code::DeadlineExceeded);
        assert_eq!(code(Interruption::ShutDown.into()), Code::Unavailable);
        assert_eq!(code(Refusal::Draining.into()), Code::Unavailable);
        let retry_after = Duration::from_millis(1);
        assert_eq!(code(Refusal::TooManyStreams { limit: 1, retry_after }.into()), Code::ResourceExhausted);
        assert_eq!(code(OptimizationError::Panicked("x".into())), Code::Internal);
        assert_eq!(code(HandlerError::invalid_argument("x").into()), Code::InvalidArgument);
        assert_eq!(code(HandlerError::new(FailureKind::Unimplemented, "x").into()), Code::Unimplemented);
    }

    #[test]
    fn a_refusal_for_load_says_when_to_try_again() {
        let retry_after = Duration::from_millis(250);
        let refusal = Refusal::Overloaded { waiting: 10, capacity: 10, retry_after };
        let status = Status::from(OptimizationError::from(refusal));
        let details = status.get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(retry_after));
        assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), "250");
        assert!(status.message().contains("worker_queue_capacity = 10"), "{}", status.message());
    }

    #[test]
    fn a_refusal_for_the_wait_says_how_long_it_is_for_programs_too() {
        let (wait, ms) = (Duration::from_millis(80), Duration::from_millis);
        let refusal = Refusal::WouldBeLate { wait, budget: ms(50), retry_after: ms(90) };
        let status = Status::from(OptimizationError::from(refusal));
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata["wait_ms"], "80");
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), "90");
    }

    #[test]
    fn a_text_as_long_as_a_message_is_cut_to_what_headers_carry_and_keeps_both_its_ends() {
        for filling in ["x", "\u{e9}", "\u{1f33e}"] {
            for length in [LONGEST_TEXT / filling.len(), 4 << 20] {
                let text = format!("it is {}; it has to be short", filling.repeat(length));
                let status = Status::from(OptimizationError::from(HandlerError::invalid_argument(text)));
                let said = status.message();
                assert!(said.contains("it is ") && said.ends_with("; it has to be short"), "{said}");
                let mut headers = tonic::codegen::http::HeaderMap::new();
                status.add_header(&mut headers).unwrap();
                let bytes: usize =
                    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
                assert!(bytes < 6 << 10, "{bytes} bytes of headers for {length} of {filling}");
            }
        }
        assert_eq!(brief("all of it"), "all of it");
    }

    #[test]
    fn what_cannot_be_right_says_what() {
        let error = HandlerError::invalid_argument("`width` = 0: it must be from 1 to 16384");
        let status = Status::from(OptimizationError::from(error));
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].description, status.message());
    }
}
