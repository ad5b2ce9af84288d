//! What is learnt of the answers of each class: whether they are worth storing, and worth compressing.
//!
//! A fixed table: classes that fall into one place are one class here. An entry keeps its place, so a hit need not know
//! its class.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use bytes::Bytes;

use super::{
    admission::{Followed, Reuse},
    compression::Balance,
    key::CacheKey,
    value::{Body, Packed},
};
use crate::grpc::performance::{config::OptimizationConfig, monitor::Class};

/// Beyond a few tens of classes some share what is learnt. Each takes about half a kilobyte.
const PLACES: u64 = 64;

/// What is learnt of one class, or of several.
#[derive(Debug, Default)]
struct Book {
    reuse: Reuse,
    balance: Balance,
}

/// Where a class is in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place(u8);

impl From<Class> for Place {
    fn from(class: Class) -> Self {
        Self((BuildHasherDefault::<DefaultHasher>::default().hash_one(class) % PLACES) as u8)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Classes {
    books: Box<[Book]>,
    followed: Followed,
    compression: bool,
    /// Whether there is CPU time for it. Relaxed wherever it is touched: a hint.
    spare_time: AtomicBool,
}

impl Classes {
    pub(super) fn new(config: &OptimizationConfig) -> Self {
        Self {
            books: (0..PLACES).map(|_| Book::default()).collect(),
            followed: Followed::of(config.cache_capacity),
            compression: config.enable_cache_compression,
            spare_time: AtomicBool::new(true),
        }
    }

    fn book(&self, place: Place) -> &Book {
        &self.books[usize::from(place.0)]
    }

    /// Whether a computed answer is to be stored. If so it counts as stored.
    pub(super) fn admit(&self, place: Place, key: &CacheKey) -> bool {
        let reuse = &self.book(place).reuse;
        let admitted = reuse.admits(key);
        if admitted {
            reuse.stored(key, &self.followed);
        }
        admitted
    }

    /// The cache has room for so many answers from now on.
    pub(super) fn resize(&self, entries: usize) {
        self.followed.resize(entries);
    }

    /// The answer as LZ4, if that is wanted and worth while.
    pub(super) fn compress(&self, place: Place, value: &[u8]) -> Option<Body> {
        let wanted = self.compression && self.spare_time.load(Relaxed);
        wanted.then(|| self.book(place).balance.compress(value)).flatten()
    }

    /// Whether compression may take CPU time from now on.
    pub(super) fn spare_time(&self, spare: bool) {
        self.spare_time.store(spare, Relaxed);
    }

    /// Somebody asked for an answer, and got it.
    #[inline]
    pub(super) fn hit(&self, key: &CacheKey, place: impl FnOnce() -> Place) {
        if let Some(mark) = self.followed.mark(key) {
            self.book(place()).reuse.hit(mark);
        }
    }

    /// The answer that the bytes are.
    pub(super) fn unpack(&self, place: Place, packed: Packed) -> Bytes {
        self.book(place).balance.open(packed)
    }
}
