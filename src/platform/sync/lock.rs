//! A lock that model checkers can see into.

use std::{
    ops::{Deref, DerefMut},
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

use parking_lot::{Mutex as Cell, MutexGuard as CellGuard};

use crate::platform::{atomic::AtomicU8, stage};

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
            stage::give_way();
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
