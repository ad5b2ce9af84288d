//! gRPC: the data plane, its service, and the server around it.

pub mod performance;
#[cfg(feature = "server")]
pub mod proto;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "tonic")]
mod status;
