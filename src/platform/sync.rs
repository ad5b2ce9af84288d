//! What the concurrent parts take from other crates: themselves, or, with `cfg(millstream_loom)`, stand-ins that loom
//! can see into. To shuttle what does not wait is one step; so that it needs a stand-in for the lock only.

#[cfg(any(millstream_loom, millstream_shuttle))]
mod lock;
#[cfg(millstream_loom)]
mod model;

#[cfg(any(millstream_loom, millstream_shuttle))]
pub(crate) use self::lock::Mutex;
#[cfg(millstream_loom)]
pub(crate) use self::model::{AtomicWaker, SegQueue};
#[cfg(not(any(millstream_loom, millstream_shuttle)))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(millstream_loom))]
pub(crate) use {atomic_waker::AtomicWaker, crossbeam::queue::SegQueue};
