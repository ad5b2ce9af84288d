//! What messages are told apart by.

/// What kind of work a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    name: &'static str,
    detail: u32,
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
        Self { name, detail: 0 }
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
}
