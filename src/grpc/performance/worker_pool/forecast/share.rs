//! What one queued message adds to the work that waits, and by whom that is taken off: one word, which goes from core to
//! core with the message.

use std::{cell::Cell, sync::atomic::Ordering::Relaxed};

use super::{
    super::{crew::Level, line::Line},
    service_times::{BRIEF, ENTRY_BITS, ONE_IN},
};
use crate::platform::atomic::AtomicU64;

/// Work that one queued message stands for, until it is taken off; and with it, the right to give its place back, which
/// goes to whoever takes it off.
#[derive(Debug, Default)]
pub(crate) struct Share(AtomicU64);

/// Bits of a share that name the lane: its rank, and above it whether it is one of the background. Then the entry of the
/// class, counted from 1, or 0 where it has none, and a bit that says that there is a share; the rest are nanoseconds.
const LANE_BITS: u32 = 5;
const LANE: u64 = (1 << LANE_BITS) - 1;
const HELD: u64 = 1 << (LANE_BITS + ENTRY_BITS + 1);
const LOW_BITS: u32 = LANE_BITS + ENTRY_BITS + 2;
pub(super) const RANKS: usize = Line::COUNT;

/// The number of a lane among those of both levels.
pub(super) fn lane(level: Level, rank: usize) -> usize {
    match level {
        Level::Short => rank,
        Level::Long => RANKS + rank,
    }
}

impl Share {
    pub(super) fn put(&self, lane: usize, entry: Option<usize>, nanoseconds: u64) {
        let nanoseconds = nanoseconds.min(u64::MAX >> LOW_BITS);
        let entry = entry.map_or(0, |entry| entry as u64 + 1) << LANE_BITS;
        self.0.store(nanoseconds << LOW_BITS | HELD | entry | lane as u64, Relaxed);
    }

    /// In which lanes the message waits, or has waited.
    pub(crate) fn level(&self) -> Level {
        if lane_of(self.0.load(Relaxed)) < RANKS { Level::Short } else { Level::Long }
    }

    /// The entry of its class, if it had one when it was queued.
    pub(super) fn entry(&self) -> Option<usize> {
        entry_of(self.0.load(Relaxed))
    }

    /// What was put, once: lane, entry, nanoseconds. The first two can still be asked for. Relaxed: a read-modify-write, so
    /// that one of many gets it, and what it carries are numbers.
    pub(super) fn take(&self) -> Option<(usize, Option<usize>, u64)> {
        let share = self.0.fetch_and(HELD - 1, Relaxed);
        (share & HELD != 0).then_some((lane_of(share), entry_of(share), share >> LOW_BITS))
    }
}

fn lane_of(share: u64) -> usize {
    (share & LANE) as usize
}

fn entry_of(share: u64) -> Option<usize> {
    ((share & (HELD - 1)) >> LANE_BITS).checked_sub(1).map(|entry| entry as usize)
}

/// What a message that is expected to run for so long adds to the work that waits: one in [`ONE_IN`] of those that are
/// brief stands for as many, the others for nothing. There are many of them, and what all threads write for each is passed
/// from core to core.
pub(super) fn one_for_many(expected: u64) -> u64 {
    thread_local! {
        static BRIEF_ONES: Cell<u64> = const { Cell::new(0) };
    }
    if expected >= BRIEF {
        return expected;
    }
    let number = BRIEF_ONES.get().wrapping_add(1);
    BRIEF_ONES.set(number);
    if number.is_multiple_of(ONE_IN) { ONE_IN * expected } else { 0 }
}
