//! The tool `millstream`.

pub(crate) mod config;
pub(crate) mod units;
