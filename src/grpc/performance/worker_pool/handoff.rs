//! A value on its way from one owner to the next, where a state machine elsewhere says whose turn it is.
//!
//! The lock inside is never contended: [`JobState`](super::state::JobState) and [`Post`](super::post::Post) give the
//! right to touch the value to one thread at a time. It is only ever tried, so nobody waits for a preempted thread;
//! were the protocol broken, the `expect` would say so at once, where an unchecked cell would be undefined behaviour.
//!
//! A message changes hands this way some ten times. So the lock is no general one: nobody ever queues at it, and then it
//! can be opened with a plain store, where a mutex has to look whether somebody waits, with a second read-modify-write.

use std::{
    cell::UnsafeCell,
    fmt,
    sync::atomic::Ordering::{Acquire, Release},
};

use crate::platform::atomic::AtomicU8;

const FREE: u8 = 0;
const HELD: u8 = 1;

/// Room for one value that changes owners. The lock lies before the value: with a small one in a large place, in the same
/// cache line.
#[repr(C)]
pub(crate) struct Handoff<T> {
    lock: AtomicU8,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is touched only by who holds the lock (see `with`), so by one thread at a time, and goes from thread
// to thread with it: `Send` is what that takes.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Handoff<T> {}

impl<T> Handoff<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { lock: AtomicU8::new(FREE), value: UnsafeCell::new(Some(value)) }
    }

    pub(crate) fn empty() -> Self {
        Self { lock: AtomicU8::new(FREE), value: UnsafeCell::new(None) }
    }

    /// Leaves a value for the next owner; what was there before is dropped.
    ///
    /// # Panics
    /// When another thread is at the value in this moment: the protocol that the caller follows is broken.
    pub(crate) fn put(&self, value: T) {
        let before = self.with(|place| place.replace(value));
        drop(before);
    }

    /// Takes the value, if it is there.
    ///
    /// # Panics
    /// Like [`put`](Self::put).
    pub(crate) fn take(&self) -> Option<T> {
        self.with(Option::take)
    }

    /// Touches the value; `touch` runs no code of strangers, and does not panic.
    #[allow(unsafe_code)]
    fn with<R>(&self, touch: impl FnOnce(&mut Option<T>) -> R) -> R {
        // Acquire pairs with the Release below: what the last owner left is seen.
        let before = self.lock.swap(HELD, Acquire);
        assert_eq!(before, FREE, "one owner at a time");
        // SAFETY: the lock was free and is held now, by this thread; everybody else who comes before the store below
        // finds it held, and stops at the assertion. So this is the only reference to the value.
        let result = touch(unsafe { &mut *self.value.get() });
        self.lock.store(FREE, Release);
        result
    }
}

impl<T> fmt::Debug for Handoff<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handoff").finish_non_exhaustive()
    }
}
