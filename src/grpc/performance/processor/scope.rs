//! What a handler may ask for while it works on a message.

use std::time::Instant;

use crate::grpc::performance::{
    error::Interruption,
    resource_pool::{BufferPool, PooledBuffer},
    worker_pool::JobContext,
};

/// The surroundings of one message in work: its deadline, its cancellation, and pooled buffers.
pub struct JobScope<'a> {
    context: JobContext<'a>,
    buffers: &'a BufferPool,
}

impl<'a> JobScope<'a> {
    /// The scope of a message that runs in `context`; also what a test of a handler by itself builds, from
    /// [`JobContext::detached`] and a pool of its own.
    #[must_use]
    pub fn new(context: JobContext<'a>, buffers: &'a BufferPool) -> Self {
        Self { context, buffers }
    }

    /// Notices that the answer is not wanted any more. One load and one store; call it every few microseconds. A message
    /// that overstays is reported with the place of the last call.
    ///
    /// # Errors
    /// Why the message was withdrawn. It has been answered; return as soon as possible, with `?`.
    #[inline]
    #[track_caller]
    pub fn checkpoint(&mut self) -> Result<(), Interruption> {
        self.context.checkpoint()
    }

    /// When the answer stops being of use.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.context.deadline()
    }

    /// An empty buffer from the pool; it goes back when it is dropped.
    #[must_use]
    pub fn buffer(&self) -> PooledBuffer {
        self.buffers.checkout()
    }
}
