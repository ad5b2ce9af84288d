//! The reports of a handler that does not come back: at once what is known of it, and later the stack of its thread, which
//! that thread has to tell itself, if it can. Nobody waits for it but a thread that is made for that.

use std::{
    panic::Location,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    forecast::Forecast,
    post::{Occupation, Post},
};
use crate::{
    grpc::performance::monitor::Class,
    platform::{
        scheduling::give_way,
        stack, stage,
        whereabouts::{ThreadNumber, Whereabouts},
    },
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

/// How much the thread that looks for a stack gives way: it reads the tables of the whole binary.
const NICENESS: u8 = 10;
/// Stacks that are looked for in a [`WINDOW`]: as many as tell what a deadlock is about. Where more overstay than that,
/// nothing is stuck for ever, and looking would cost more than it tells.
const MOST_LOOKS: usize = 4;
const WINDOW: Duration = Duration::from_secs(60);

/// Has the stack of an overstaying thread told of once it is known, where there are such; not if many were
/// looked for lately, nor if the system gives no thread.
pub(super) fn report_stack(Occupation { task, life, .. }: &Occupation, post: &Arc<Post>, now: Instant) {
    if !stack::is_available() || !may_look(now) {
        return;
    }
    let (what, post) = (task.job.describe(task.unit, *life), Arc::clone(post));
    let look = move || {
        // Where the platform refuses it is in the way of others for a moment.
        let _ = give_way(NICENESS);
        tell(what.as_ref(), post.thread(), post.stack().as_deref());
    };
    if let Err(error) = stage::spawn("millstream-stack".into(), look) {
        tracing::debug!(%error, "no thread to look for a stack");
    }
}

fn tell(what: Option<&Description>, thread: Option<ThreadNumber>, stack: Option<&str>) {
    let thread = thread.map(tracing::field::display);
    let Some(stack) = stack else {
        return tracing::debug!(thread, "a thread that overstays does not tell its stack");
    };
    tracing::warn!(
        class = what.map(|what| what.class.name()),
        stream = what.map(|what| what.stream.as_str()),
        number = what.map(|what| what.number),
        thread,
        stack,
        "the stack of what overstays worker_timeout, innermost function first"
    );
}

/// Whether another stack may be looked for: not more than [`MOST_LOOKS`] in a [`WINDOW`], in the process. Nobody waits: if
/// another pool is asking in this moment, it is not.
fn may_look(now: Instant) -> bool {
    static WINDOW_BEGUN: Mutex<Option<(Instant, usize)>> = Mutex::new(None);
    let Some(mut window) = WINDOW_BEGUN.try_lock() else { return false };
    let (begun, looks) = window.filter(|(begun, _)| now < *begun + WINDOW).unwrap_or((now, 0));
    *window = Some((begun, looks + 1));
    looks < MOST_LOOKS
}
