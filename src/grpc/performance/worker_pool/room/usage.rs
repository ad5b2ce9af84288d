//! Places and bytes in use, and whether the room is closed, in one atomic word.

use std::sync::atomic::Ordering::SeqCst;

use crate::platform::atomic::AtomicU64;

const MESSAGE_BITS: u32 = 20;
const MESSAGE_MASK: u64 = (1 << MESSAGE_BITS) - 1;
const CLOSED: u64 = 1 << 63;

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Somebody else has it; later, perhaps.
    Full,
    /// Never again.
    Closed,
}

/// The word, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) closed: bool,
}

/// Bits 0 to 19 count messages, 20 to 62 bytes (the configuration keeps both within), 63 is the closed bit. Everything
/// is SeqCst: it is one side of the handshake with waiters, and with workers that are about to leave.
#[derive(Debug)]
pub(super) struct Usage(AtomicU64);

impl Usage {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(super) fn read(&self) -> Reading {
        Self::unpack(self.0.load(SeqCst))
    }

    fn unpack(word: u64) -> Reading {
        Reading {
            messages: (word & MESSAGE_MASK) as usize,
            bytes: ((word & !CLOSED) >> MESSAGE_BITS) as usize,
            closed: word & CLOSED != 0,
        }
    }

    fn pack(messages: usize, bytes: usize) -> u64 {
        messages as u64 | (bytes as u64) << MESSAGE_BITS
    }

    /// Places and `bytes`, if afterwards neither is above its limit.
    pub(super) fn take(
        &self,
        places: usize,
        bytes: usize,
        message_limit: usize,
        byte_limit: usize,
    ) -> Result<(), NoRoom> {
        let mut word = self.0.load(SeqCst);
        loop {
            let now = Self::unpack(word);
            if now.closed {
                return Err(NoRoom::Closed);
            }
            let fits = places == 0 || now.messages + places <= message_limit;
            if !fits || now.bytes.saturating_add(bytes) > byte_limit {
                return Err(NoRoom::Full);
            }
            match self.0.compare_exchange_weak(word, word + Self::pack(places, bytes), SeqCst, SeqCst) {
                Ok(_) => return Ok(()),
                Err(current) => word = current,
            }
        }
    }

    /// Gives back what was taken; says what is left.
    pub(super) fn give(&self, messages: usize, bytes: usize) -> Reading {
        let Reading { messages: all, bytes: weight, closed } =
            Self::unpack(self.0.fetch_sub(Self::pack(messages, bytes), SeqCst));
        debug_assert!(all >= messages && weight >= bytes, "gives back more than was taken");
        Reading { messages: all - messages, bytes: weight - bytes, closed }
    }

    /// Takes more bytes whether there is room or not: they are in memory already.
    pub(super) fn overdraw(&self, bytes: usize) {
        self.0.fetch_add(Self::pack(0, bytes), SeqCst);
    }

    pub(super) fn close(&self) {
        self.0.fetch_or(CLOSED, SeqCst);
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_a_refusal_takes_nothing() {
        let usage = Usage::new();
        assert_eq!(usage.take(1, 60, 2, 100), Ok(()));
        assert_eq!(usage.take(1, 41, 2, 100), Err(NoRoom::Full));
        assert_eq!(usage.take(1, 30, 2, 100), Ok(()));
        assert_eq!(usage.take(1, 0, 2, 100), Err(NoRoom::Full));
        assert_eq!(usage.take(0, 10, 2, 100), Ok(()), "bytes alone need no place");
        assert_eq!(usage.take(0, 1, 2, 100), Err(NoRoom::Full));
        assert_eq!(usage.read(), Reading { messages: 2, bytes: 100, closed: false });
    }

    #[test]
    fn closing_keeps_the_counts() {
        let usage = Usage::new();
        usage.take(1, 1 << 40, 2, 1 << 40).unwrap();
        usage.close();
        assert_eq!(usage.take(1, 0, 2, 1 << 40), Err(NoRoom::Closed));
        usage.give(1, 0);
        usage.give(0, 1 << 40);
        assert_eq!(usage.read(), Reading { messages: 0, bytes: 0, closed: true });
    }
}
