//! An answer as it lies in the cache: a copy of its own, plain or as an LZ4 block.

use std::{num::NonZeroUsize, time::Duration};

use bytes::Bytes;

use super::{
    classes::Place,
    invalidation::{Moment, Scopes},
    store::Uptime,
};

/// Bytes that an entry takes beside its value: its node, with the key (32), what is known of the answer (40) and the handle
/// on the bytes (40), 128 in all; its part of a set (18, and more where sets are hardly filled); the heap's and [`Bytes`]'
/// own headers (about 64); and what waits to be freed. `store::tests` holds the table's part against what it really uses.
pub(super) const ENTRY_OVERHEAD: usize = 272;

/// The bytes of a stored answer.
#[derive(Debug, Clone)]
pub(super) struct Body {
    data: Bytes,
    /// Bytes when decompressed; `None`: `data` is the answer.
    inflated: Option<NonZeroUsize>,
}

impl Body {
    /// A copy of the answer. A copy, since a [`Bytes`] may be a few bytes cut from a large buffer, which it keeps
    /// alive: the budget could not be relied on.
    pub(super) fn plain(value: &[u8]) -> Self {
        Self { data: owned(value.into()), inflated: None }
    }

    /// The answer as an LZ4 block, if that is smaller.
    pub(super) fn compressed(value: &[u8]) -> Option<Self> {
        let inflated = NonZeroUsize::new(value.len())?;
        let block = lz4_flex::block::compress(value);
        (block.len() < value.len())
            .then(|| Self { data: owned(block.into_boxed_slice()), inflated: Some(inflated) })
    }

    /// The answer, if it lies there as it is.
    #[inline]
    pub(super) fn as_plain(&self) -> Option<&Bytes> {
        self.inflated.is_none().then_some(&self.data)
    }

    /// The answer. Allocates only to decompress.
    pub(super) fn open(self) -> Bytes {
        match self.inflated {
            None => self.data,
            Some(len) => lz4_flex::block::decompress(&self.data, len.get())
                .expect("the block was made by `compressed`, and its length kept beside it")
                .into(),
        }
    }

    /// Bytes that the entry takes, all told.
    pub(super) fn size(&self) -> u64 {
        size(self.data.len())
    }

    /// Bytes that compression saved; `None`: not compressed.
    pub(super) fn saved(&self) -> Option<u64> {
        self.inflated.map(|len| (len.get() - self.data.len()) as u64)
    }
}

/// Bytes that an entry takes whose value is stored in so many.
pub(super) fn size(stored: usize) -> u64 {
    (stored + ENTRY_OVERHEAD) as u64
}

/// Counted from the start, so that no reader pays for turning it into a shared one, as the first clone of a copied
/// [`Bytes`] would.
fn owned(data: Box<[u8]>) -> Bytes {
    Bytes::from_owner(data)
}

/// What is known of an answer beside its bytes. The store itself looks at `expires` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    /// From then on it is never served.
    pub(super) expires: Uptime,
    /// For so long before that it is stale: served while somebody computes it anew. Milliseconds.
    pub(super) stale: u32,
    /// When its computation began, by the clock of the invalidations.
    pub(super) begun: Moment,
    /// What it depends on.
    pub(super) scopes: Scopes,
    /// Of its class.
    pub(super) place: Place,
    /// The bytes say why there is no answer.
    pub(super) failure: bool,
}

impl Meta {
    /// An answer of which nothing else is known.
    pub(super) fn until(expires: Uptime) -> Self {
        Self {
            expires,
            stale: 0,
            begun: Moment::default(),
            scopes: Scopes::default(),
            place: Place::default(),
            failure: false,
        }
    }

    /// Whether it should be computed anew.
    pub(super) fn is_stale(&self, now: Uptime) -> bool {
        self.stale > 0 && now + Duration::from_millis(u64::from(self.stale)) >= self.expires
    }
}

/// An answer that was found.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) body: Body,
    pub(super) meta: Meta,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compresses_is_smaller_and_comes_back_whole() {
        let value = vec![7; 10_000];
        let body = Body::compressed(&value).unwrap();
        assert!(body.size() < size(value.len()));
        assert_eq!(body.saved(), Some(size(value.len()) - body.size()));
        assert_eq!(body.open(), value);
    }

    #[test]
    fn what_does_not_compress_is_left_alone() {
        let noise: Vec<u8> =
            (0..64).flat_map(|i: u64| *crate::CacheKey::of(&[&i.to_le_bytes()]).as_bytes()).collect();
        assert!(Body::compressed(&noise).is_none());
        assert!(Body::compressed(&[]).is_none());
    }

    #[test]
    fn a_plain_body_is_a_copy_that_is_not_copied_again() {
        let whole = Bytes::from(vec![7; 10_000]);
        let body = Body::plain(&whole.slice(..10));
        assert!(whole.is_unique());
        let read = body.clone().open();
        assert_eq!(read, [7; 10][..]);
        assert_eq!(read.as_ptr(), body.data.as_ptr());
        assert_eq!(body.saved(), None);
    }
}
