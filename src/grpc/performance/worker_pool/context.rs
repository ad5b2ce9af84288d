//! What a running job can ask about itself.

use std::time::Instant;

use super::state::JobState;
use crate::grpc::performance::error::Interruption;

/// The running job's own view: when it is due, and whether it is still wanted.
pub struct JobContext<'a> {
    state: Option<&'a JobState>,
    deadline: Option<Instant>,
}

impl<'a> JobContext<'a> {
    pub(crate) fn new(state: &'a JobState, deadline: Option<Instant>) -> Self {
        Self { state: Some(state), deadline }
    }

    /// A context that nobody cancels: for calling a handler outside a pool, in its tests.
    #[must_use]
    pub fn detached() -> Self {
        Self { state: None, deadline: None }
    }

    /// Notices that the job was withdrawn. One relaxed load.
    ///
    /// # Errors
    /// Why it was withdrawn; whoever waited has been answered.
    #[inline]
    pub fn checkpoint(&mut self) -> Result<(), Interruption> {
        match self.state.and_then(JobState::withdrawn) {
            None => Ok(()),
            Some(why) => Err(why),
        }
    }

    /// When the answer stops being of use.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}
