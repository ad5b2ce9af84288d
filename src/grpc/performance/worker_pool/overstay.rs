//! The report of a handler that does not come back.

use std::{panic::Location, time::Duration};

use super::{forecast::Forecast, post::Occupation};
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

/// Of a thousand messages of a class, those that count as usual for a report.
const USUAL: f64 = 0.999;

/// Tells of what occupies a post, and has run for so long at a seat (none, where it has sunk), on a thread; and how long those of its
/// class run at most, but for one in a thousand: whether it is stuck, or `worker_timeout` too short. It may end just now:
/// then it is told once too often.
pub(super) fn report(
    Occupation { task, life, beneath }: &Occupation,
    seat: Option<usize>,
    thread: Option<ThreadNumber>,
    ran: Duration,
    forecast: &Forecast,
) {
    let whereabouts = thread.map(Whereabouts::of).unwrap_or_default();
    let thread = thread.map(tracing::field::display);
    let interrupts =
        beneath.as_ref().map(|beneath| beneath.task.job.describe(beneath.task.unit, beneath.life));
    let interrupts = interrupts.flatten().map(|beneath| tracing::field::display(beneath.class.name()));
    match task.job.describe(task.unit, *life) {
        Some(Description { class, stream, number, passed }) => tracing::warn!(
            class = class.name(),
            detail = class.detail(),
            stream,
            number,
            checkpoint = passed.map(tracing::field::display),
            interrupts,
            seat,
            thread,
            ?ran,
            usual = forecast.quantile(class, USUAL).map(tracing::field::debug),
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
