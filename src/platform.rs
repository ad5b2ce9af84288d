//! The one door to the operating system, with a portable fallback beside each call.

pub(crate) mod affinity;
pub(crate) mod atomic;
pub(crate) mod barrier;
pub(crate) mod cell;
pub(crate) mod clock;
pub(crate) mod coarse_clock;
pub(crate) mod contain;
pub(crate) mod cpu_clock;
pub(crate) mod memory;
pub(crate) mod park;
pub(crate) mod per_thread;
pub(crate) mod prefetch;
pub(crate) mod scheduling;
#[cfg(feature = "server")]
pub(crate) mod socket;
#[cfg(test)]
#[cfg(not(millstream_loom))]
pub(crate) mod sources;
pub(crate) mod stack;
pub(crate) mod stage;
pub(crate) mod sync;
pub(crate) mod topology;
pub(crate) mod try_lock;
pub(crate) mod usage;
pub(crate) mod whereabouts;
