//! The rooms of `src/platform` that are measured here, compiled from their own files: they are private to the crate.

/// What [`park`] takes of the crate's own `atomic`.
pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::AtomicU32;
}

#[allow(
    unused_imports,
    reason = "what its tests import: cargo sets `cfg(test)` for a bench, and runs none of them"
)]
#[path = "../../src/platform/park.rs"]
pub(crate) mod park;
