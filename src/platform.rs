//! The one door to the operating system, with a portable fallback beside each call.

pub(crate) mod affinity;
pub(crate) mod atomic;
pub(crate) mod park;
