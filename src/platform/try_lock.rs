//! A lock that is only ever tried: nobody queues at it. So it is opened with a plain store, where a mutex has to look whether
//! somebody waits, with a second read-modify-write.

#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    sync::atomic::Ordering::{Acquire, Release},
};

use super::atomic::AtomicU8;

const FREE: u8 = 0;
const HELD: u8 = 1;

/// The lock lies before the value: with a small one in a large place, in the same cache line.
#[repr(C)]
pub(crate) struct TryLock<T> {
    lock: AtomicU8,
    value: UnsafeCell<T>,
}

// SAFETY: the value is touched by who holds the lock (see `Held`), so by one thread at a time, and goes from thread to
// thread with it: `Send` is what that takes.
unsafe impl<T: Send> Sync for TryLock<T> {}

/// The lock is held for as long as this lives. It goes to other threads where a `&mut T` may.
pub(crate) struct Held<'a, T> {
    lock: &'a TryLock<T>,
    value: PhantomData<&'a mut T>,
}

impl<T> TryLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { lock: AtomicU8::new(FREE), value: UnsafeCell::new(value) }
    }

    /// The value, unless somebody is at it.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Held<'_, T>> {
        // Acquire pairs with the Release below: what the last one left is seen.
        (self.lock.swap(HELD, Acquire) == FREE).then(|| Held { lock: self, value: PhantomData })
    }
}

impl<T> Drop for Held<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.lock.store(FREE, Release);
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock was free and is held now, by the one `Held` that there is until that is dropped, and everybody
        // else who comes before finds it held, and leaves. References to the value live no longer than it.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed for as long as the reference lives.
        unsafe { &mut *self.lock.value.get() }
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread,
    };

    use super::*;

    #[test]
    fn who_comes_while_it_is_held_leaves_and_who_has_it_has_it_alone() {
        let lock = TryLock::new(0);
        let held = lock.try_lock().unwrap();
        assert!(lock.try_lock().is_none());
        drop(held);
        let entered = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if let Some(mut held) = lock.try_lock() {
                            *held += 1;
                            entered.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(*lock.try_lock().unwrap(), entered.load(SeqCst));
    }
}
