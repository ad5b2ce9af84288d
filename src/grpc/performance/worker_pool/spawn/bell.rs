//! Who waits for a job, and is woken when it is over.
//!
//! ```text
//!             register                     ring
//!  NOBODY ──────────────▶ WAITING ──────────────────▶ RUNG
//!     ▲ │                    │                          ▲
//!     │ └────────────────────┼────────── ring ──────────┘
//!     └──── leave, or another waker ────
//! ```
//! One task at a time registers: that of the job's handle. Who has answered for the job, and there is one, rings.
//!
//! **The waker** belongs to the task while nobody is WAITING, and to who rings once it finds somebody WAITING: each step
//! from one to the other is an exchange, and after RUNG there is none. So a job takes one exchange on each side, where
//! `AtomicWaker`, which serves any number of wakes, takes two.
//!
//! **No wake is lost.** What is told is written before the ring. Of the two exchanges one comes first: either who rings
//! finds the waker, or the task finds that it has rung, and sees what was told.

#![allow(unsafe_code)]

use std::{
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    task::Waker,
};

use crate::platform::{atomic::AtomicU8, cell::UnsafeCell, contain::wake_logged, stage};

const NOBODY: u8 = 0;
const WAITING: u8 = 1;
const RUNG: u8 = 2;

/// See the module.
#[repr(C)]
pub(super) struct Bell {
    state: AtomicU8,
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: the waker is touched by one thread at a time: by who registers or leaves, of which there is one at a time as
// those say, while nobody is WAITING, and by the one who turned WAITING into RUNG. Each hands it on by an exchange that
// releases to one that acquires.
unsafe impl Sync for Bell {}

impl Bell {
    pub(super) fn new() -> Self {
        Self { state: AtomicU8::new(NOBODY), waker: UnsafeCell::new(None) }
    }

    /// Has `waker` woken by the ring; false when it has rung already, and what was told can be seen.
    ///
    /// # Safety
    /// No other call of `register` or `leave` is under way, and those before happened before.
    pub(super) unsafe fn register(&self, waker: &Waker) -> bool {
        // Acquire: pairs with `ring`, what was told before it is seen. NOBODY may be out of date, and is tried below.
        match self.state.load(Acquire) {
            NOBODY => {}
            WAITING if self.take_back() => {}
            _ => return false,
        }
        // SAFETY: nobody is WAITING since this call began, or who rings would have found it so: the waker is the caller's.
        self.waker.with_mut(|registered| match unsafe { &mut *registered } {
            Some(registered) => registered.clone_from(waker),
            none => *none = Some(waker.clone()),
        });
        stage::point();
        // Release: with it goes the waker. Acquire: as above.
        if self.state.compare_exchange(NOBODY, WAITING, Release, Acquire).is_ok() {
            return true;
        }
        // SAFETY: it has rung while nobody was WAITING, so the waker is still the caller's.
        drop(unsafe { self.take_waker() });
        false
    }

    /// Nobody waits any more.
    ///
    /// # Safety
    /// As for [`register`](Self::register).
    pub(super) unsafe fn leave(&self) {
        // Relaxed: WAITING is what this thread has left there, or one before it, and it is tried.
        if self.state.load(Relaxed) == WAITING && self.take_back() {
            // SAFETY: nobody is WAITING, so the waker is the caller's.
            drop(unsafe { self.take_waker() });
        }
    }

    /// The waker is the task's again; false when it has rung.
    fn take_back(&self) -> bool {
        // Acquire on failure: pairs with `ring`. Relaxed on success: the waker is what this thread left there, or one
        // before it.
        self.state.compare_exchange(WAITING, NOBODY, Relaxed, Acquire).is_ok()
    }

    /// The job is over, and it has been told how.
    pub(super) fn ring(&self) {
        stage::point();
        // AcqRel: acquires the waker from `register`, and releases what was told to who comes later.
        if self.state.swap(RUNG, AcqRel) == WAITING {
            // SAFETY: whoever was WAITING has left the waker to the one who finds it so, and nobody else does.
            if let Some(waker) = unsafe { self.take_waker() } {
                wake_logged(waker);
            }
        }
    }

    /// # Safety
    /// The waker is the caller's.
    unsafe fn take_waker(&self) -> Option<Waker> {
        // SAFETY: the caller says so.
        self.waker.with_mut(|registered| unsafe { (*registered).take() })
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
