//! A data plane for CPU-heavy gRPC services: streams of messages go through bounded lanes to pinned worker threads, and
//! come back in order, each exactly once, in time or with a status that says why.
//!
//! | to | begin with |
//! |---|---|
//! | serve a stream in your own tonic service | [`OptimizedStreamProcessor`] and [`MessageHandler`] |
//! | run single CPU-heavy jobs from async code | [`WorkerPool`] |
//! | tune it | [`OptimizationConfig`], with a table of every field in [`config`] |
//! | see where the time goes | [`StreamPerformanceMonitor`] |
//! | keep answers | [`StreamCache`] |
//!
//! The README shows a whole service in thirty lines, and the way of a message.
//!
//! # Features
//! Default: the data plane, `tonic`: [`OptimizationError`] as a `tonic::Status`, and `stacks`: on Linux (x86_64, aarch64) a
//! handler that overstays `worker_timeout` is reported with its stack. For that its thread is sent a signal: the highest
//! real-time one that had no handler when that was first needed. It is sent to no other thread, and its handler calls
//! nothing but `gettid` and `writev`; but a system call that the thread is in may end with EINTR. `server` adds the service
//! `millstream.v1.DataPlane` and its transport, `cli` the operations and the tool `millstream`. Without default features
//! nothing of tonic is left.

#[cfg(feature = "cli")]
pub mod cli;
pub mod grpc;
#[cfg(feature = "cli")]
pub mod load;
#[cfg(feature = "cli")]
pub mod operations;
mod platform;
#[cfg(feature = "proof")]
#[doc(hidden)]
pub mod proof;
pub mod simulation;

pub use grpc::performance::*;

/// The README's example compiles.
#[cfg(all(doctest, feature = "tonic"))]
#[doc = include_str!("../README.md")]
struct Readme;
