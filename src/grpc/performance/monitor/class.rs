//! What messages are told apart by.

/// What kind of work a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    name: &'static str,
    detail: u32,
    /// Of the name: each message asks for it several times.
    fingerprint: u64,
}

/// FNV-1a.
const fn fingerprint(name: &str) -> u64 {
    let (bytes, mut hash, mut at) = (name.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
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
        Self { name, detail: 0, fingerprint: fingerprint(name) }
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
