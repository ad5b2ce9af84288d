//! The atomics of the concurrent parts: the standard library's, or loom's when the crate is built with `--cfg millstream_loom`,
//! so that what the model checker runs is the real code.

#[cfg(millstream_loom)]
pub(crate) use loom::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence};
#[cfg(not(millstream_loom))]
pub(crate) use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence};
