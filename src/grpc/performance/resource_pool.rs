//! Things that are dear to make, kept for the next message.

/// Byte buffers.
#[derive(Debug)]
pub struct BufferPool;

/// A buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub struct PooledBuffer;

impl BufferPool {
    /// An empty buffer.
    #[must_use]
    pub fn checkout(&self) -> PooledBuffer {
        PooledBuffer
    }
}
