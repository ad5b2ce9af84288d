//! The report of a handler that does not come back.

use std::{panic::Location, time::Duration};

use super::{job::Task, state::Life};
use crate::{
    grpc::performance::monitor::Class,
    platform::whereabouts::{ThreadNumber, Whereabouts},
};

/// What a unit is, for a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    /// What kind of work.
    pub(crate) class: Class,
    /// The stream that it came on; empty for a call of its own.
    pub(crate) stream: String,
    /// Its position in that stream.
    pub(crate) number: u64,
    /// The checkpoint that it came by last.
    pub(crate) passed: Option<&'static Location<'static>>,
}

/// Tells of a task that has run for so long at a seat, on a thread. It may end just now: then it is told once too often.
pub(super) fn report(task: &Task, life: Life, seat: usize, thread: Option<ThreadNumber>, ran: Duration) {
    let whereabouts = thread.map(Whereabouts::of).unwrap_or_default();
    let thread = thread.map(tracing::field::display);
    match task.job.describe(task.unit, life) {
        Some(Description { class, stream, number, passed }) => tracing::warn!(
            class = class.name(),
            detail = class.detail(),
            stream,
            number,
            checkpoint = passed.map(tracing::field::display),
            seat,
            thread,
            ?ran,
            %whereabouts,
            "a message overstays worker_timeout: it is answered for, and its thread is replaced"
        ),
        None => tracing::warn!(
            seat,
            thread,
            ?ran,
            %whereabouts,
            "a job overstays worker_timeout: it is answered for, and its thread is replaced"
        ),
    }
}
