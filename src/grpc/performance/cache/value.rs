//! An answer as it lies in the cache: a copy of its own, plain or as an LZ4 block.

use std::{mem::offset_of, num::NonZeroUsize, time::Duration};

use bytes::Bytes;

use super::{
    classes::Place,
    invalidation::{Moment, Scopes},
    store::Uptime,
};

/// Bytes that an entry takes beside its value: its node, with the key (32), what is known of the answer (48), the bytes (24),
/// the handle on them (32) and its count, 152 in all; its part of a set (18, and more where sets are hardly filled); the
/// heap's own headers (about 32); and what waits to be freed. `store::tests` holds the table's part against what it really uses.
pub(super) const ENTRY_OVERHEAD: usize = 272;

/// The bytes of an answer, as they are to be stored.
#[derive(Debug)]
pub(super) struct Body {
    data: Box<[u8]>,
    /// Bytes when decompressed; `None`: `data` is the answer.
    inflated: Option<NonZeroUsize>,
}

impl Body {
    /// A copy of the answer. A copy, since a [`Bytes`] may be a few bytes cut from a large buffer, which it keeps
    /// alive: the budget could not be relied on.
    pub(super) fn plain(value: &[u8]) -> Self {
        Self { data: value.into(), inflated: None }
    }

    /// The answer as an LZ4 block, if that is smaller.
    pub(super) fn compressed(value: &[u8]) -> Option<Self> {
        let inflated = NonZeroUsize::new(value.len())?;
        let block = lz4_flex::block::compress(value);
        (block.len() < value.len()).then(|| Self { data: block.into_boxed_slice(), inflated: Some(inflated) })
    }

    /// Bytes that the entry will take, all told.
    pub(super) fn size(&self) -> u64 {
        size(self.data.len())
    }

    /// Bytes that compression saved; `None`: not compressed.
    pub(super) fn saved(&self) -> Option<u64> {
        self.inflated.map(|len| (len.get() - self.data.len()) as u64)
    }
}

/// An answer that was found, as it was stored.
#[derive(Debug)]
pub(super) struct Packed {
    data: Bytes,
    inflated: Option<NonZeroUsize>,
}

impl Packed {
    pub(super) fn is_compressed(&self) -> bool {
        self.inflated.is_some()
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
}

/// Bytes that an entry takes whose value is stored in so many.
pub(super) fn size(stored: usize) -> u64 {
    (stored + ENTRY_OVERHEAD) as u64
}

/// What is known of an answer beside its bytes. The store itself looks at `expires` only. In this order, what each hit looks
/// at comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Meta {
    /// From then on it is never served.
    pub(super) expires: Uptime,
    /// For so long before that it is stale: served while somebody computes it anew. Milliseconds.
    pub(super) stale: u32,
    /// Of its class.
    pub(super) place: Place,
    /// The bytes say why there is no answer.
    pub(super) failure: bool,
    /// What it depends on.
    pub(super) scopes: Scopes,
    /// When its computation began, by the clock of the invalidations.
    pub(super) begun: Moment,
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

/// An answer as it is stored. In this order, what each hit looks at comes first.
#[derive(Debug, Clone)]
#[repr(C)]
pub(super) struct Stored {
    brief: Brief,
    pub(super) meta: Meta,
    /// As in [`Body`].
    inflated: Option<NonZeroUsize>,
    data: Box<[u8]>,
}

/// What each hit looks at, and most look at nothing else: when the answer expires, up to 292 years, and in the highest bit
/// whether there is more to be known of it. One word, so that it lies in the cache lines that the key lies in.
#[derive(Debug, Clone, Copy)]
struct Brief(u64);

impl Brief {
    const MORE: u64 = 1 << 63;

    fn of(meta: &Meta, inflated: Option<NonZeroUsize>) -> Self {
        let more = inflated.is_some() || meta.failure || meta.stale > 0 || !meta.scopes.is_empty();
        let expires = meta.expires.nanoseconds().min(!Self::MORE);
        Self(if more { expires | Self::MORE } else { expires })
    }
}

impl Stored {
    /// Where what a hit looks at ends.
    pub(super) const BRIEF_END: usize = offset_of!(Self, brief) + size_of::<Brief>();

    pub(super) fn new(body: Body, meta: Meta) -> Self {
        let Body { data, inflated } = body;
        Self { brief: Brief::of(&meta, inflated), meta, inflated, data }
    }

    /// From then on it is never served.
    #[inline]
    pub(super) fn expires(&self) -> Uptime {
        Uptime::from_nanoseconds(self.brief.0 & !Brief::MORE)
    }

    /// Whether the bytes are an answer as it is, which is never stale, and depends on nothing.
    #[inline]
    pub(super) fn is_simple(&self) -> bool {
        self.brief.0 & Brief::MORE == 0
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Whether they are the answer as it is.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.inflated.is_none()
    }

    /// The answer as it lies there, by a handle on these bytes.
    pub(super) fn packed(&self, data: &Bytes) -> Packed {
        Packed { data: data.clone(), inflated: self.inflated }
    }

    /// Bytes that the entry takes, all told.
    pub(super) fn size(&self) -> u64 {
        size(self.data.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(body: Body) -> Bytes {
        let stored = Stored::new(body, Meta::until(Uptime::NEVER));
        stored.packed(&Bytes::copy_from_slice(stored.data())).open()
    }

    #[test]
    fn what_compresses_is_smaller_and_comes_back_whole() {
        let value = vec![7; 10_000];
        let body = Body::compressed(&value).unwrap();
        assert!(body.size() < size(value.len()));
        assert_eq!(body.saved(), Some(size(value.len()) - body.size()));
        assert_eq!(opened(body), value);
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
        assert_eq!(body.saved(), None);
        let stored = Stored::new(body, Meta::until(Uptime::NEVER));
        assert!(stored.is_plain());
        let handle = Bytes::copy_from_slice(stored.data());
        let read = stored.packed(&handle).open();
        assert_eq!(read, [7; 10][..]);
        assert_eq!(read.as_ptr(), handle.as_ptr());
    }

    #[test]
    fn what_is_known_in_brief_is_when_it_expires_and_whether_there_is_more_to_know() {
        let meta = Meta::until(Uptime::from_nanoseconds(1_000_000));
        let mut scopes = Scopes::default();
        scopes.add_tag("prices");
        assert!(Stored::new(Body::plain(&[7; 10]), meta).is_simple());
        let others = [
            Stored::new(Body::compressed(&[7; 10_000]).unwrap(), meta),
            Stored::new(Body::plain(&[7; 10]), Meta { failure: true, ..meta }),
            Stored::new(Body::plain(&[7; 10]), Meta { stale: 1, ..meta }),
            Stored::new(Body::plain(&[7; 10]), Meta { scopes, ..meta }),
        ];
        for stored in others {
            assert!(!stored.is_simple(), "{stored:?}");
            assert_eq!(stored.expires(), meta.expires);
        }
        assert!(Stored::new(Body::plain(&[]), Meta::until(Uptime::NEVER)).expires() > meta.expires);
    }
}
