//! What a running job can ask about itself.

use std::{
    panic::Location,
    time::{Duration, Instant},
};

use super::{interlude::Interlude, state::JobState};
use crate::{grpc::performance::error::Interruption, platform::clock};

/// Checkpoints between two that look at the clock. Whoever waits for the job has a timer, and withdraws the job at its
/// deadline; where nobody looks at that timer (a client that does not read its answers), the job notices by itself.
const LOOKS_AT_THE_CLOCK: u32 = 64;

/// The running job's own view: when it is due, whether it is still wanted, and whether something shorter waits.
///
/// It stays on the thread of its worker, for there its checkpoints may run other jobs.
pub struct JobContext<'a> {
    state: Option<&'a JobState>,
    deadline: Option<Instant>,
    checkpoints: u32,
    /// Where its checkpoints let shorter work run.
    interlude: Option<&'a Interlude<'a>>,
}

impl<'a> JobContext<'a> {
    pub(crate) fn new(state: &'a JobState, deadline: Option<Instant>) -> Self {
        Self { state: Some(state), deadline, checkpoints: 0, interlude: None }
    }

    /// The same, for a job whose checkpoints let shorter work run there.
    pub(crate) fn lending(self, interlude: &'a Interlude<'a>) -> Self {
        Self { interlude: Some(interlude), ..self }
    }

    /// The same, for a job that runs where nobody could withdraw it.
    pub(crate) fn unattended(deadline: Option<Instant>) -> Self {
        Self { deadline, ..Self::detached() }
    }

    /// A context that nobody cancels: for calling a handler outside a pool, in its tests.
    #[must_use]
    pub fn detached() -> Self {
        Self { state: None, deadline: None, checkpoints: 0, interlude: None }
    }

    /// Notices that the job was withdrawn, or that its deadline has passed. Lets shorter work run first, there and then,
    /// if that waits while nobody is free for it, and this job has run for longer than anything short (and is not
    /// [undivided](super::JobOptions::undivided)). Two relaxed loads, one store that says which checkpoint it was, and
    /// now and then a look at the clock.
    ///
    /// # Errors
    /// Why it is to stop; nobody waits for an outcome any more.
    #[inline]
    #[track_caller]
    pub fn checkpoint(&mut self) -> Result<(), Interruption> {
        if let Some(state) = self.state {
            state.pass(Location::caller());
            if let Some(why) = state.withdrawn() {
                return Err(why);
            }
        }
        if let Some(interlude) = self.interlude
            && interlude.is_wanted()
            && interlude.play()
        {
            return self.look_up();
        }
        self.check_deadline()
    }

    /// Time has passed that was not the job's: whether it is still wanted, and in time.
    #[cold]
    fn look_up(&self) -> Result<(), Interruption> {
        match self.state.and_then(JobState::withdrawn) {
            Some(why) => Err(why),
            None if self.is_late() => Err(Interruption::DeadlineExceeded),
            None => Ok(()),
        }
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| clock::now() >= deadline)
    }

    /// Whether the job was withdrawn, or its deadline has passed.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.is_late() || self.state.is_some_and(|state| state.withdrawn().is_some())
    }

    #[inline]
    fn check_deadline(&mut self) -> Result<(), Interruption> {
        let Some(deadline) = self.deadline else { return Ok(()) };
        self.checkpoints = self.checkpoints.wrapping_add(1);
        if self.checkpoints.is_multiple_of(LOOKS_AT_THE_CLOCK) && clock::now() >= deadline {
            return Err(Interruption::DeadlineExceeded);
        }
        Ok(())
    }

    /// How long other jobs have run in this one's checkpoints, for who measures its own time.
    #[must_use]
    pub fn lent(&self) -> Duration {
        self.interlude.map_or(Duration::ZERO, Interlude::lent)
    }

    /// When the answer stops being of use.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}
