//! What lanes carry: handles to work that lives elsewhere.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use super::priority::Priority;
use crate::grpc::performance::error::Interruption;

/// Work that a worker can run. One object may stand for many units (the messages of a stream), told apart by an index,
/// so that queueing a message allocates nothing.
///
/// Units form chains (a batch): the worker that takes the first unit cuts the rest off with [`split`](Self::split)
/// before it runs the first, and offers it to everybody else. So a batch travels as one, and nobody in it waits for a
/// slow neighbour while a worker is free.
pub(crate) trait Job: Send + Sync {
    /// Ends the chain behind a unit that is about to run: nothing can be appended to the unit any more. Gives the unit
    /// that followed.
    fn split(&self, unit: u32) -> Option<u32>;

    /// Runs one unit, on a worker thread, from `started`, and answers for it, whatever the handler does. Gives the time
    /// when it was finished; `started` itself when there was nothing to do.
    fn run(&self, unit: u32, started: Instant) -> Instant;

    /// Answers for a unit that no worker will bring to an end: it never starts, or its thread is dead.
    fn refuse(&self, unit: u32, why: Interruption);

    /// Answers for a unit that is running, from another thread, and lets it run on unheard.
    fn abandon(&self, unit: u32, why: Interruption);
}

/// A place in a lane: a unit, and whatever is chained behind it.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) job: Arc<dyn Job>,
    pub(crate) unit: u32,
    pub(crate) priority: Priority,
}

/// Runs what a user wrote. A panic becomes its words.
pub(crate) fn contained<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(panic_text)
}

/// Drops what a user wrote: a panic in there is his, and ends here.
pub(crate) fn drop_contained<T>(value: T) {
    if let Err(text) = contained(|| drop(value)) {
        tracing::warn!(panic = text, "a value panicked while it was dropped");
    }
}

/// The words of a panic, where it has any.
fn panic_text(payload: Box<dyn Any + Send>) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no message)".to_string());
    // A payload that panics in its drop, again with a payload: leaked, since there is no end to that.
    if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(again);
    }
    text
}
