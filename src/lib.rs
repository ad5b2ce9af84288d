//! A data plane for CPU-heavy gRPC services.

#[cfg(feature = "cli")]
pub mod cli;
pub mod grpc;
#[cfg(feature = "cli")]
pub mod load;
#[cfg(feature = "cli")]
pub mod operations;
mod platform;
pub mod simulation;

pub use grpc::performance::*;
