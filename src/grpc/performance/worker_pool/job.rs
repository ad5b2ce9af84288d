//! What lanes carry: handles to work that lives elsewhere.

use std::{sync::Arc, time::Instant};

use super::{
    forecast::{Forecast, Share},
    interlude::Interlude,
    line::Line,
    overstay::Description,
    state::Life,
};
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

    /// What a queued unit adds to the work that waits.
    fn share(&self, unit: u32) -> &Share;

    /// Runs one unit, on a worker thread, from `started`, and answers for it, whatever the handler does. The forecast is
    /// that of the worker's pool: it learns how long the unit ran, without what that lent to others in its checkpoints.
    fn run(&self, unit: u32, started: Instant, forecast: &Forecast, interlude: &Interlude<'_>);

    /// Answers for a unit that no worker will bring to an end: it never starts, or its thread is dead.
    fn refuse(&self, unit: u32, why: Interruption);

    /// Whether a unit that nobody has taken out of its lane was withdrawn. A hint: it may be withdrawn right afterwards.
    fn is_withdrawn(&self, unit: u32) -> bool;

    /// Answers for a unit that was not started yet, to make room for another; false when it has been started, or stands
    /// for another message by now.
    fn displace(&self, unit: u32, life: Life) -> bool;

    /// Which message a unit stands for, asked by the worker that is about to run it.
    fn life(&self, unit: u32) -> Life;

    /// What a unit is, for a report; `None` when that is not known, or it stands for another message by now.
    fn describe(&self, unit: u32, life: Life) -> Option<Description>;

    /// Answers for a unit that a worker runs, or is about to, from another thread, and lets it run on unheard. False if it
    /// has its answer already, be it that it stands for another message by now.
    fn abandon(&self, unit: u32, life: Life, why: Interruption) -> bool;
}

/// A place in a lane: a unit, and whatever is chained behind it.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) job: Arc<dyn Job>,
    pub(crate) unit: u32,
    pub(crate) line: Line,
}

#[cfg(test)]
pub(super) mod stand_in;
