//! Stand-ins for loom: as much of each as the crate uses.

use std::{collections::VecDeque, task::Waker};

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

    pub(crate) fn take(&self) -> Option<Waker> {
        self.0.take_waker()
    }
}
