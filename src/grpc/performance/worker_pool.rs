//! Pinned OS threads that pull jobs from bounded lanes.

mod context;
mod priority;
mod state;

pub use context::JobContext;
pub use priority::Priority;
