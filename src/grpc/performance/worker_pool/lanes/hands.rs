//! What a thread brings to a lane: a cell of its own, and where in the ring it was last.
//!
//! **A cell of one's own** goes into the ring with what is pushed, and the one that is got for it is the thread's from
//! then on; a pop likewise. So nobody asks for a free cell, and a thread that is stopped keeps the one that it has anyway.
//! It is kept where the thread alone reads and writes, and costs no locked instruction. When a thread ends its hand goes
//! to a thread that starts later, see [`thread_local`].
//!
//! **A cell on loan.** There is a cell for so many threads; those that come later borrow one for each push and pop. Who
//! borrows leaves its place empty, and is the one to fill it again; a thread that is stopped meanwhile keeps one place
//! from the others.

use std::{
    cell::Cell,
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

use crossbeam::utils::CachePadded;
use thread_local::ThreadLocal;

use crate::platform::{
    atomic::{AtomicU32, AtomicUsize},
    contain::contain,
};

/// Stands for no cell.
const NONE: u32 = u32::MAX;

/// A thread's, for one lane.
pub(super) struct Hand {
    /// `None`: it has to borrow.
    pub(super) cell: Cell<Option<u32>>,
    /// Where to begin a take.
    pub(super) head: Cell<u64>,
    /// Where to begin a put.
    pub(super) tail: Cell<u64>,
}

/// All threads', for one lane.
pub(super) struct Hands {
    own: ThreadLocal<CachePadded<Hand>>,
    /// Cells that were not given to a thread yet, and the number of the first cell.
    left: AtomicUsize,
    first: u32,
    loans: Box<[CachePadded<AtomicU32>]>,
    has_own: bool,
}

impl Hands {
    /// So many threads with a cell of their own, and so many cells to lend, with numbers from `first` on.
    pub(super) fn new(first: usize, own: usize, loans: usize) -> Self {
        let loan = |cell| CachePadded::new(AtomicU32::new(cell));
        let first_loan = (first + own) as u32;
        Self {
            own: ThreadLocal::new(),
            left: AtomicUsize::new(own),
            first: first as u32,
            loans: (first_loan..first_loan + loans as u32).map(loan).collect(),
            has_own: own > 0,
        }
    }

    /// The hand of this thread, if it has been here.
    #[inline]
    pub(super) fn known(&self) -> Option<&Hand> {
        if self.has_own { self.own.get().map(|hand| &**hand) } else { None }
    }

    /// The hand of this thread. `None`: in this lane nobody has a cell, or the thread is about to end, past the point
    /// where it can be told from others.
    #[inline]
    pub(super) fn mine(&self) -> Option<&Hand> {
        self.known().or_else(|| if self.has_own { self.set_up() } else { None })
    }

    #[cold]
    #[inline(never)]
    fn set_up(&self) -> Option<&Hand> {
        contain(|| &**self.own.get_or(|| CachePadded::new(self.new_hand()))).ok()
    }

    pub(super) fn new_hand(&self) -> Hand {
        let mut left = self.left.load(Relaxed);
        // Relaxed: a count; the cell that it stands for was touched by nobody.
        while left > 0 {
            match self.left.compare_exchange(left, left - 1, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(now) => left = now,
            }
        }
        let cell = left.checked_sub(1).map(|number| self.first + number as u32);
        Hand { cell: Cell::new(cell), head: Cell::new(0), tail: Cell::new(0) }
    }

    /// A cell on loan, and the place it is from. `None`: others are in the midst of a push or a pop with each of them.
    pub(super) fn borrow(&self) -> Option<(&AtomicU32, u32)> {
        self.loans.iter().find_map(|place| {
            // Acquire pairs with the Release of `give_back`: whoever had the cell before is done with it.
            let cell = place.swap(NONE, Acquire);
            (cell != NONE).then_some((&**place, cell))
        })
    }

    /// Ends a loan, with that cell or the one that was got for it.
    pub(super) fn give_back(place: &AtomicU32, cell: u32) {
        // Nobody else fills an empty place. By an exchange, not by a store, which those who find the place empty meanwhile
        // might go before again and again: so each comes after the one before, and nobody finds every place empty in vain.
        place.swap(cell, Release);
    }
}
