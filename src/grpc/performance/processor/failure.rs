//! A handler's error as the cache keeps it: its kind and its message. The error behind it is for the log of the one who
//! computed.

use bytes::Bytes;

use crate::grpc::performance::error::{FailureKind, HandlerError};

/// All kinds; the position of one is its code.
const KINDS: [FailureKind; 10] = [
    FailureKind::InvalidArgument,
    FailureKind::NotFound,
    FailureKind::FailedPrecondition,
    FailureKind::PermissionDenied,
    FailureKind::Unimplemented,
    FailureKind::ResourceExhausted,
    FailureKind::DeadlineExceeded,
    FailureKind::Cancelled,
    FailureKind::Unavailable,
    FailureKind::Internal,
];

/// `None`: a kind that has no code, and is not kept.
pub(super) fn pack(error: &HandlerError) -> Option<Bytes> {
    let code = KINDS.iter().position(|kind| *kind == error.kind())?;
    let message = error.message().bytes();
    Some(std::iter::once(code as u8).chain(message).collect())
}

/// The error, if the bytes are what [`pack`] made.
pub(super) fn unpack(packed: &[u8]) -> Option<HandlerError> {
    let (code, message) = packed.split_first()?;
    let kind = KINDS.get(usize::from(*code))?;
    Some(HandlerError::new(*kind, std::str::from_utf8(message).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_back_with_its_kind_and_its_message() {
        for kind in KINDS {
            let error = HandlerError::new(kind, "5 is not a größe").caused_by("something");
            let back = unpack(&pack(&error).unwrap()).unwrap();
            assert_eq!((back.kind(), back.message()), (kind, error.message()));
        }
    }

    #[test]
    fn what_is_no_error_is_none() {
        assert!(unpack(&[]).is_none());
        assert!(unpack(&[200, b'a']).is_none());
        assert!(unpack(&[0, 0xff]).is_none());
    }
}
