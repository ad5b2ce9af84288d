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
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.room.release(0, self.bytes);
        }
    }
}
