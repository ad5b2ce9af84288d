//! What a handler may ask for while it works on a message.

use std::time::{Duration, Instant};

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

    /// Notices that the answer is not wanted any more, and lets shorter messages run first, there and then, if some wait
    /// while nobody is free for them ([`is_undivided`](super::MessageHandler::is_undivided) says whether it may). Two loads
    /// and a store; call it every few microseconds. A message that overstays is reported with the place of the last call.
    ///
    /// # Errors
    /// Why the message was withdrawn. It has been answered; return as soon as possible, with `?`.
    #[inline]
    #[track_caller]
    pub fn checkpoint(&mut self) -> Result<(), Interruption> {
        self.context.checkpoint()
    }

    /// Whether the message was withdrawn, or its deadline has passed.
    pub(super) fn is_unwanted(&self) -> bool {
        self.context.is_unwanted()
    }

    /// How long other messages have run in this one's checkpoints, for who measures its own time.
    #[must_use]
    pub fn lent(&self) -> Duration {
        self.context.lent()
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
