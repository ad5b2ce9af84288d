//! Stand-ins for loom: as much of each as the crate uses.

use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
    task::Waker,
};

use parking_lot::{Mutex as Cell, MutexGuard as CellGuard};

use crate::platform::atomic::AtomicU8;

const FREE: u8 = 0;
const LOCKED: u8 = 1;

/// A lock as parking_lot's is: one word, tried with a relaxed load first. So who tries a lock that is free, without
/// having synchronised with who had it last, may find it locked: just what a protocol that makes do with `try_lock` has
/// to exclude.
#[derive(Debug)]
pub(crate) struct Mutex<T> {
    word: AtomicU8,
    value: Cell<T>,
}

impl<T> Mutex<T> {
    #[track_caller]
    pub(crate) fn new(value: T) -> Self {
        Self { word: AtomicU8::new(FREE), value: Cell::new(value) }
    }

    #[track_caller]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        if self.word.load(Relaxed) == LOCKED {
            return None;
        }
        // Acquire pairs with the Release of the guard that is dropped.
        self.word.compare_exchange(FREE, LOCKED, Acquire, Relaxed).ok()?;
        Some(MutexGuard { word: &self.word, value: self.value.try_lock() })
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            loom::thread::yield_now();
        }
    }
}

#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    word: &'a AtomicU8,
    value: Option<CellGuard<'a, T>>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("who has the word has the value")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("who has the word has the value")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        self.word.store(FREE, Release);
    }
}

/// A queue whose operations each happen at one moment, as crossbeam's do.
pub(crate) struct SegQueue<T>(loom::sync::Mutex<VecDeque<T>>);

impl<T> SegQueue<T> {
    pub(crate) fn new() -> Self {
        Self(loom::sync::Mutex::new(VecDeque::new()))
    }

    pub(crate) fn push(&self, value: T) {
        self.0.lock().expect("loom's locks are not poisoned").push_back(value);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.0.lock().expect("loom's locks are not poisoned").pop_front()
    }
}

/// Loom's, with the face of the crate `atomic-waker`.
#[derive(Debug)]
pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self(loom::future::AtomicWaker::new())
    }

    pub(crate) fn register(&self, waker: &Waker) {
        self.0.register_by_ref(waker);
    }

    pub(crate) fn wake(&self) {
        self.0.wake();
    }

    pub(crate) fn take(&self) -> Option<Waker> {
        self.0.take_waker()
    }
}
