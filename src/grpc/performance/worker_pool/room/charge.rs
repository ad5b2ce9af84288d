//! The bytes of one message, on their way through the data plane with it.

use std::sync::Arc;

use super::Room;

/// Bytes in flight, given back when this is dropped: with the message, or with its answer.
pub(crate) struct Charge {
    room: Arc<Room>,
    bytes: usize,
}

impl Charge {
    /// Takes over bytes that were acquired. What weighs nothing has nothing to give back.
    pub(crate) fn new(room: &Arc<Room>, bytes: usize) -> Option<Self> {
        (bytes > 0).then(|| Self { room: Arc::clone(room), bytes })
    }

    /// A message has become an answer that weighs more: that is charged as well, even beyond the limit, since the answer
    /// is in memory already. Until it has left nothing more is accepted.
    pub(crate) fn raise_to(charge: &mut Option<Self>, room: &Arc<Room>, bytes: usize) {
        let charged = charge.as_ref().map_or(0, |charge| charge.bytes);
        if bytes > charged {
            room.usage.overdraw(bytes - charged);
            match charge {
                Some(charge) => charge.bytes = bytes,
                None => *charge = Self::new(room, bytes),
            }
        }
    }

    /// Leaves the bytes taken, for who gives them back by itself.
    pub(crate) fn let_go(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.room.release(0, self.bytes);
        }
    }
}
