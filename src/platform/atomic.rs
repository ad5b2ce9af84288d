//! The atomics of the concurrent parts: the standard library's, or loom's when the crate is built with
//! `--cfg millstream_loom`, so that what the model checker runs is the real code. [`sync`](super::sync) does the same
//! for what is built on atomics elsewhere.
//!
//! The models stand beside the code that they run, in modules named `loom_tests`. All of them, as `.ci/run` has it:
//! ```sh
//! RUSTFLAGS="--cfg millstream_loom" LOOM_MAX_PREEMPTIONS=2 CARGO_TARGET_DIR=target/loom \
//!     cargo test --release --lib --no-default-features loom_tests
//! ```
//! That looks at every run in which a thread is stopped against its will twice at most; with 3 it takes minutes, and
//! without a bound hours. A model that fails says in which order things happened when it is run alone, with `LOOM_LOG=trace LOOM_LOCATION=1`.

#[cfg(millstream_loom)]
mod model;

#[cfg(millstream_loom)]
pub(crate) use self::model::{
    AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence,
};
#[cfg(not(millstream_loom))]
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence,
};
