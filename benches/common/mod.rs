//! What the benches share: their arguments, the caches that they compare, and how they judge.

pub(crate) mod arguments;
pub(crate) mod contenders;
mod lru;
mod s3fifo;
pub(crate) mod verdict;

use std::hash::{BuildHasherDefault, Hasher};

/// Places keys by the bits that they bring along, for every contender that can be told so: a `CacheKey` is a digest,
/// and hashing it again would only blur what is compared.
pub(crate) type Placement = BuildHasherDefault<PlacementHasher>;

/// Hands on the one `u64` that a `CacheKey` hashes as.
#[derive(Default, Clone, Copy)]
pub(crate) struct PlacementHasher(u64);

impl Hasher for PlacementHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a CacheKey hashes as one u64");
    }

    fn write_u64(&mut self, bits: u64) {
        self.0 = bits;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
