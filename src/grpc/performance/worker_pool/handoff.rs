//! A value on its way from one owner to the next, where a state machine elsewhere says whose turn it is.
//!
//! The lock inside is never contended: [`JobState`](super::state::JobState) and [`Post`](super::post::Post) give the
//! right to touch the value to one thread at a time. It is only ever tried, so nobody waits for a preempted thread;
//! were the protocol broken, the `expect` would say so at once, where an unchecked cell would be undefined behaviour.
//!
//! A message changes hands this way some ten times, and nobody ever queues at the lock: so it is a
//! [`TryLock`](crate::platform::try_lock), which costs half of what a mutex does.

use std::fmt;

use crate::platform::try_lock::TryLock;

/// Room for one value that changes owners.
#[repr(transparent)]
pub(crate) struct Handoff<T>(TryLock<Option<T>>);

impl<T> Handoff<T> {
    #[cfg(all(test, millstream_loom))]
    pub(crate) fn new(value: T) -> Self {
        Self(TryLock::new(Some(value)))
    }

    pub(crate) fn empty() -> Self {
        Self(TryLock::new(None))
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

    /// Touches the value; `touch` runs no code of strangers.
    fn with<R>(&self, touch: impl FnOnce(&mut Option<T>) -> R) -> R {
        touch(&mut self.0.try_lock().expect("one owner at a time"))
    }
}

impl<T> fmt::Debug for Handoff<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handoff").finish_non_exhaustive()
    }
}
