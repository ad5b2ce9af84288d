//! The atomics of the concurrent parts: the standard library's, or loom's when the crate is built with
//! `cfg(millstream_loom)`, so that what the model checker runs is the real code. [`sync`](super::sync) does the same
//! for what is built on atomics elsewhere. With `cfg(millstream_shuttle)` they are shuttle's, see below.
//!
//! The models stand beside the code that they run, in modules named `loom_tests`. All of them, as `.ci/run` has it:
//! ```sh
//! tests/model loom
//! ```
//! That looks at every run in which a thread is stopped against its will twice at most; with `LOOM_MAX_PREEMPTIONS=3` it
//! takes minutes, and without a bound hours. A model that fails says in which order things happened when it is run alone, with `LOOM_LOG=trace LOOM_LOCATION=1`.

//!
//! **Shuttle** runs what is too large for loom: more threads, and several parts together. It does not look at every run,
//! but at many that are drawn at random, and takes every access for a SeqCst one: that orderings suffice is loom's to say,
//! that a protocol holds with six threads is shuttle's. Its tests are in modules named `shuttle_tests`:
//! ```sh
//! tests/model shuttle
//! ```
//! A run that fails prints its schedule, which `shuttle::replay` runs again. With `MILLSTREAM_SHUTTLE_RUNS` each test looks
//! at as many runs as that says.

#[cfg(millstream_loom)]
mod model;
#[cfg(all(test, millstream_shuttle))]
mod random_runs;

#[cfg(all(test, millstream_shuttle))]
pub(crate) use self::random_runs::random_runs;

#[cfg(millstream_loom)]
pub(crate) use self::model::{
    AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence,
};
#[cfg(millstream_shuttle)]
pub(crate) use shuttle::sync::atomic::{
    AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence,
};
#[cfg(not(any(millstream_loom, millstream_shuttle)))]
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence,
};
