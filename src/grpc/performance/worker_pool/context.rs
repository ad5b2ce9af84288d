//! What a running job can ask about itself.

use std::{panic::Location, time::Instant};

use super::state::JobState;
use crate::{grpc::performance::error::Interruption, platform::clock};

/// Checkpoints between two that look at the clock. Whoever waits for the job has a timer, and withdraws the job at its
/// deadline; where nobody looks at that timer (a client that does not read its answers), the job notices by itself.
const LOOKS_AT_THE_CLOCK: u32 = 64;

/// The running job's own view: when it is due, and whether it is still wanted.
pub struct JobContext<'a> {
    state: Option<&'a JobState>,
    deadline: Option<Instant>,
    checkpoints: u32,
}

impl<'a> JobContext<'a> {
    pub(crate) fn new(state: &'a JobState, deadline: Option<Instant>) -> Self {
        Self { state: Some(state), deadline, checkpoints: 0 }
    }

    /// A context that nobody cancels: for calling a handler outside a pool, in its tests.
    #[must_use]
    pub fn detached() -> Self {
        Self { state: None, deadline: None, checkpoints: 0 }
    }

    /// Notices that the job was withdrawn, or that its deadline has passed. One relaxed load, one store that says which
    /// checkpoint it was, and now and then a look at the clock.
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
        self.check_deadline()
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

    /// When the answer stops being of use.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}
