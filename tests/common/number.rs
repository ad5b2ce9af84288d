//! Answers that are numbers, as a cache keeps them.

use bytes::Bytes;

pub(crate) fn to_cache(number: &u64) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(&number.to_le_bytes()))
}

pub(crate) fn from_cache(stored: Bytes) -> Option<u64> {
    Some(u64::from_le_bytes(stored.as_ref().try_into().ok()?))
}
