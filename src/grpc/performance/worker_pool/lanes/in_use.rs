//! Which lanes were ever used: workers look at no others.
//!
//! A bit for each line says that something was queued there once, and another that a rest was left there. It is set before
//! the first push, and both are SeqCst: who has registered as sleeping and then finds a lane out of use comes, in the one
//! order of all, before its first push, and is seen by the submitter that looks for sleepers after it.

use std::sync::atomic::Ordering::SeqCst;

use super::Line;
use crate::platform::{atomic::AtomicU32, stage};

#[derive(Default)]
pub(super) struct InUse(AtomicU32);

/// What was in use, a moment ago.
#[derive(Clone, Copy)]
pub(super) struct Uses(u32);

const fn line(rank: usize) -> u32 {
    1 << rank
}

const fn rests(rank: usize) -> u32 {
    1 << (Line::COUNT + rank)
}

impl InUse {
    /// Before something is queued in a line.
    pub(super) fn add_line(&self, rank: usize) {
        self.add(line(rank));
    }

    /// Before a rest of a line is left at a seat.
    pub(super) fn add_rests(&self, rank: usize) {
        self.add(rests(rank));
    }

    fn add(&self, bit: u32) {
        if self.0.load(SeqCst) & bit == 0 {
            self.0.fetch_or(bit, SeqCst);
            stage::point();
        }
    }

    pub(super) fn look(&self) -> Uses {
        Uses(self.0.load(SeqCst))
    }
}

impl Uses {
    #[inline]
    pub(super) fn has_line(self, rank: usize) -> bool {
        self.0 & line(rank) != 0
    }

    #[inline]
    pub(super) fn has_rests(self, rank: usize) -> bool {
        self.0 & rests(rank) != 0
    }

    /// Of any line.
    #[inline]
    pub(super) fn has_any_rests(self) -> bool {
        self.0 >= rests(0)
    }
}
