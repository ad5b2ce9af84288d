//! The service `millstream.v1.DataPlane`.

mod request;

pub use request::{DataPlaneHandler, DataPlaneRequest, OperationInfo, ParameterInfo};
