//! What messages are told apart by.

use std::{
    any::{TypeId, type_name},
    hash::{Hash, Hasher},
};

/// What kind of work a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    name: &'static str,
    detail: u32,
    /// Of the name, or of the type: each message asks for it several times.
    fingerprint: u64,
}

/// FNV-1a.
const fn fingerprint(bytes: &[u8]) -> u64 {
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

/// Takes the number that a [`TypeId`] hashes itself as, which is a hash already: a closure's class is asked for each time
/// that one is spawned.
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= fingerprint(bytes);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Class {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Class {
    /// The class of messages that name none.
    pub const DEFAULT: Self = Self::new("default");

    /// Where the times of classes go for which a recorder has no room.
    pub(super) const OTHER: Self = Self::new("other");

    /// A class by its name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, detail: 0, fingerprint: fingerprint(name.as_bytes()) }
    }

    /// The class of all that is of this type, by its name. Two types of one name (two closures in one function, say) are
    /// two classes.
    pub(crate) fn of_type<T: 'static>() -> Self {
        let mut hasher = AsItIs(0);
        TypeId::of::<T>().hash(&mut hasher);
        Self { name: type_name::<T>(), detail: 0, fingerprint: hasher.finish() }
    }

    /// The same kind of work in another size or shape: its times are kept apart.
    #[must_use]
    pub const fn refined(self, detail: u32) -> Self {
        Self { detail, ..self }
    }

    /// The name, without the refinement.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The refinement.
    #[must_use]
    pub const fn detail(self) -> u32 {
        self.detail
    }

    /// Two classes have the same once in 2^64.
    pub(crate) const fn hash(self) -> u64 {
        // Fibonacci hashing: neighbouring refinements go far apart, in the upper bits above all.
        let spread = (self.detail as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = self.fingerprint ^ spread;
        hash ^ hash >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of<T: 'static>(_: &T) -> Class {
        Class::of_type::<T>()
    }

    #[test]
    fn a_type_is_a_class_and_each_closure_is_a_type_of_its_own() {
        let classes = [class_of(&|| 1), class_of(&|| 2)];
        assert_ne!(classes[0], classes[1]);
        assert_ne!(classes[0].hash(), classes[1].hash());
        assert!(classes[0].name().contains("each_closure_is_a_type"), "{classes:?}");
        let again = || 3;
        assert_eq!(class_of(&again), class_of(&again));
    }
}
