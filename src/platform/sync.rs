//! What the concurrent parts take from other crates: themselves, or, with `--cfg millstream_loom`, stand-ins that loom
//! can see into.

#[cfg(millstream_loom)]
mod model;

#[cfg(millstream_loom)]
pub(crate) use self::model::{AtomicWaker, Mutex, SegQueue};
#[cfg(not(millstream_loom))]
pub(crate) use {atomic_waker::AtomicWaker, crossbeam::queue::SegQueue, parking_lot::Mutex};
