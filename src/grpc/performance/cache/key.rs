//! What an answer depends on, as 32 bytes.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

/// A hash of everything that an answer depends on: equal keys mean equal answers.
///
/// Each part is hashed with its length, so that parts cannot run into each other: `["ab", "c"]` and `["a", "bc"]` are
/// different keys.
///
/// ```
/// use millstream::CacheKey;
///
/// let mut key = CacheKey::builder("thumbnail");
/// key.part(b"image bytes").part(&320_u32.to_le_bytes());
/// assert_eq!(key.finish(), key.finish());
/// assert_ne!(CacheKey::of(&[b"ab", b"c"]), CacheKey::of(&[b"a", b"bc"]));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The key of these parts, in this order.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut builder = CacheKeyBuilder(blake3::Hasher::new());
        for part in parts {
            builder.part(part);
        }
        builder.finish()
    }

    /// Builds a key part by part. Keys of different domains (operations, say) differ even when their parts are equal.
    #[must_use]
    pub fn builder(domain: &str) -> CacheKeyBuilder {
        CacheKeyBuilder(blake3::Hasher::new_derive_key(domain))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bits that tables place the key by: any 64 of a BLAKE3 digest are as good as a hash.
    pub(super) fn placement(&self) -> u64 {
        let (first, _) = self.0.split_first_chunk().expect("32 bytes begin with 8");
        u64::from_le_bytes(*first)
    }
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.placement());
    }
}

/// The first four bytes, in hex: enough to tell keys apart in a log.
impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "CacheKey({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// A [`CacheKey`] in the making; see [`CacheKey::builder`].
#[derive(Debug, Clone)]
pub struct CacheKeyBuilder(blake3::Hasher);

impl CacheKeyBuilder {
    /// Adds a part, with its length.
    pub fn part(&mut self, part: &[u8]) -> &mut Self {
        self.0.update(&(part.len() as u64).to_le_bytes());
        // BLAKE3 works on several chunks of its input at once if they are whole; a part that begins in the midst of one has
        // its first chunk hashed block by block. So a long part goes in as its hash; the length says which it is.
        if part.len() > blake3::CHUNK_LEN {
            self.0.update(blake3::hash(part).as_bytes());
        } else {
            self.0.update(part);
        }
        self
    }

    /// The key of the parts so far.
    #[must_use]
    pub fn finish(&self) -> CacheKey {
        CacheKey(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let keys = [
            CacheKey::of(&[b"ab", b"c"]),
            CacheKey::of(&[b"a", b"bc"]),
            CacheKey::of(&[b"abc"]),
            CacheKey::of(&[]),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(i));
        }
        assert_eq!(CacheKey::of(&[b"ab", b"c"]), keys[0]);
    }

    #[test]
    fn a_part_of_many_chunks_is_told_by_every_byte_and_from_its_own_hash() {
        let key = |part: &[u8]| CacheKey::of(&[b"before", part, b"after"]);
        for length in [blake3::CHUNK_LEN, blake3::CHUNK_LEN + 1, 4 * blake3::CHUNK_LEN] {
            let part = vec![7; length];
            assert_eq!(key(&part), key(&part.clone()));
            assert_ne!(key(&part), key(&part[1..]));
            assert_ne!(key(&part), key(blake3::hash(&part).as_bytes()));
            for changed in [0, length / 2, length - 1] {
                let mut other = part.clone();
                other[changed] ^= 1;
                assert_ne!(key(&part), key(&other), "byte {changed} of {length}");
            }
        }
    }

    #[test]
    fn domains_keep_equal_parts_apart() {
        let key = |domain| {
            let mut builder = CacheKey::builder(domain);
            builder.part(b"the same");
            builder.finish()
        };
        assert_eq!(key("digest"), key("digest"));
        assert_ne!(key("digest"), key("compress"));
        assert_ne!(key("digest"), CacheKey::of(&[b"the same"]));
    }

    #[test]
    fn a_key_is_placed_by_its_first_eight_bytes_and_told_by_its_first_four() {
        let key = CacheKey(std::array::from_fn(|i| i as u8));
        assert_eq!(key.placement(), 0x0706_0504_0302_0100);
        assert_eq!(format!("{key:?}"), "CacheKey(00010203…)");
    }
}
