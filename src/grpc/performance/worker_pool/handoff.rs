//! A value on its way from one owner to the next, where a state machine elsewhere says whose turn it is.
//!
//! The lock inside is never contended: [`JobState`](super::state::JobState) and [`Post`](super::post::Post) give the
//! right to touch the value to one thread at a time. It is only ever tried, so nobody waits for a preempted thread;
//! were the protocol broken, the `expect` would say so at once, where an unchecked cell would be undefined behaviour.

use crate::platform::sync::Mutex;

/// Room for one value that changes owners.
#[derive(Debug)]
pub(crate) struct Handoff<T>(Mutex<Option<T>>);

impl<T> Handoff<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(Some(value)))
    }

    pub(crate) fn empty() -> Self {
        Self(Mutex::new(None))
    }

    /// Leaves a value for the next owner; what was there before is dropped.
    ///
    /// # Panics
    /// When another thread is at the value in this moment: the protocol that the caller follows is broken.
    pub(crate) fn put(&self, value: T) {
        let before = self.0.try_lock().expect("one owner at a time").replace(value);
        drop(before);
    }

    /// Takes the value, if it is there.
    ///
    /// # Panics
    /// Like [`put`](Self::put).
    pub(crate) fn take(&self) -> Option<T> {
        self.0.try_lock().expect("one owner at a time").take()
    }
}
