//! Room for values that wait. Each cell has a number, and whoever has the number has the cell.
//!
//! This is the room of the lanes that needs `unsafe`. With a lock in each cell that is only ever tried
//! ([`Handoff`](super::super::handoff::Handoff)) a push and a pop take 58 ns in place of 24, and a queue passes a third
//! of the elements: each of the four steps on the lock costs as much as the exchange that hands the number on.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use crate::platform::cell::UnsafeCell;

pub(super) struct Cells<T>(Box<[UnsafeCell<MaybeUninit<T>>]>);

// SAFETY: a cell is touched by `put` and `take` only, whose callers have it to themselves: nothing is shared, and values
// move from one thread to another, which `T: Send` allows.
unsafe impl<T: Send> Sync for Cells<T> {}

impl<T> Cells<T> {
    /// So many empty cells. A value that lies in one is not dropped with it: it has to be taken out.
    pub(super) fn new(cells: usize) -> Self {
        Self((0..cells).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect())
    }

    /// Fills a cell.
    ///
    /// # Safety
    /// The caller has the cell: no other call is at it, and those before happened before.
    #[inline]
    pub(super) unsafe fn put(&self, cell: u32, value: T) {
        // SAFETY: the pointer is that of a cell which, says the caller, nobody else touches meanwhile.
        self.0[cell as usize].with_mut(|room| unsafe { (*room).write(value) });
    }

    /// Empties a cell.
    ///
    /// # Safety
    /// As for [`put`](Self::put), and the cell was filled since it was emptied last.
    #[inline]
    pub(super) unsafe fn take(&self, cell: u32) -> T {
        // SAFETY: nobody else touches it meanwhile, and there is a value, which nobody else takes, says the caller.
        self.0[cell as usize].with_mut(|room| unsafe { (*room).assume_init_read() })
    }
}
