//! The bytes of one message, on their way through the data plane with it.

use std::sync::Arc;

use super::Room;

/// Bytes in flight, given back when this is dropped: with the message, or with its answer.
pub(crate) struct Charge {
    room: Arc<Room>,
    bytes: usize,
}

impl Charge {
    /// Takes over bytes that were acquired.
    pub(crate) fn new(room: &Arc<Room>, bytes: usize) -> Self {
        Self { room: Arc::clone(room), bytes }
    }

    /// The message has become an answer that weighs more: that is charged as well, even beyond the limit, since the
    /// answer is in memory already. Until it has left nothing more is accepted.
    pub(crate) fn raise_to(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.room.usage.overdraw(bytes - self.bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.room.release(0, self.bytes);
        }
    }
}
