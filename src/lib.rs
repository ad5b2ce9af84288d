//! A data plane for CPU-heavy gRPC services.

pub mod grpc;
mod platform;

pub use grpc::performance::*;
