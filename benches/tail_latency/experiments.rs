//! What is measured: one room for each question, each of one contender for one time. [`crate::round`] says how often, in
//! which order, and what does not count.

pub(crate) mod fairness;
pub(crate) mod idle;
pub(crate) mod open_loop;
pub(crate) mod probe;
pub(crate) mod round_trip;
pub(crate) mod spawning;
pub(crate) mod tiny_jobs;
