//! Values that one can look at while another has them, and stacks of them.

#![allow(unsafe_code)]

use std::{
    cell::Cell,
    iter, mem,
    ptr::{self, NonNull},
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

use crate::platform::atomic::AtomicPtr;

/// A value, and a place in a stack for it.
pub(super) struct Node<T> {
    value: T,
    /// What lies below it; for its owner alone.
    below: Cell<*mut Self>,
}

impl<T> Node<T> {
    /// # Safety
    /// The node is there for as long as what is returned is used, and nobody has it [`Owned`] but to keep it.
    #[inline]
    pub(super) unsafe fn value<'a>(node: NonNull<Self>) -> &'a T {
        // SAFETY: by the caller's promise. Its owner may write the field beside it meanwhile.
        unsafe { &(*node.as_ptr()).value }
    }
}

/// A node whose owner one is: nobody else changes or frees it. Who only forgets it leaks it.
#[must_use]
pub(super) struct Owned<T>(NonNull<Node<T>>);

impl<T> Owned<T> {
    pub(super) fn new(value: T) -> Self {
        let node = Box::new(Node { value, below: Cell::new(ptr::null_mut()) });
        Self(NonNull::from(Box::leak(node)))
    }

    /// # Safety
    /// It is that of an owner who has forgotten it, and nobody else takes it over.
    pub(super) unsafe fn from_raw(node: NonNull<Node<T>>) -> Self {
        Self(node)
    }

    pub(super) fn as_raw(&self) -> NonNull<Node<T>> {
        self.0
    }

    pub(super) fn get(&self) -> &T {
        // SAFETY: it is ours.
        unsafe { Node::value(self.0) }
    }

    /// # Safety
    /// Nobody looks at it any more.
    pub(super) unsafe fn into_value(self) -> T {
        // SAFETY: it came from a box, in `new`, it is ours, and, by the caller's promise, nobody else's.
        unsafe { Box::from_raw(self.0.as_ptr()) }.value
    }

    /// Puts another value into it.
    ///
    /// # Safety
    /// Nobody looks at it any more.
    pub(super) unsafe fn renew(&mut self, value: T) -> T {
        // SAFETY: it is ours, and, by the caller's promise, nobody else's.
        mem::replace(unsafe { &mut (*self.0.as_ptr()).value }, value)
    }

    fn below(&self) -> &Cell<*mut Node<T>> {
        // SAFETY: it is ours, and nobody else has to do with this field.
        unsafe { &(*self.0.as_ptr()).below }
    }
}

/// Owned nodes, onto which one thread pushes, and of which whoever takes takes all.
pub(super) struct Stack<T>(AtomicPtr<Node<T>>);

impl<T> Default for Stack<T> {
    fn default() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }
}

impl<T> Stack<T> {
    /// By the one thread. Whether there was nothing before.
    pub(super) fn push(&self, node: Owned<T>) -> bool {
        // Relaxed: the exchange tells.
        let mut top = self.0.load(Relaxed);
        loop {
            node.below().set(top);
            // Release: pairs with `take_top`. Nothing comes back under a stale `top`: nobody else pushes.
            match self.0.compare_exchange(top, node.as_raw().as_ptr(), Release, Relaxed) {
                Ok(_) => return top.is_null(),
                Err(now) => top = now,
            }
        }
    }

    /// By the one thread: the last that was pushed.
    pub(super) fn pop(&self) -> Option<Owned<T>> {
        let top = self.take_top()?;
        // It is empty, and nobody else pushes. Release: as in `push`.
        self.0.store(top.below().get(), Release);
        Some(top)
    }

    /// All of them.
    pub(super) fn take(&self) -> impl Iterator<Item = Owned<T>> + use<T> {
        iter::successors(self.take_top(), |node| NonNull::new(node.below().get()).map(Owned))
    }

    fn take_top(&self) -> Option<Owned<T>> {
        // To spare the stacks of others an exchange. Relaxed: what one does not see yet others will.
        if self.0.load(Relaxed).is_null() {
            return None;
        }
        // Acquire: pairs with `push` and `pop`.
        NonNull::new(self.0.swap(ptr::null_mut(), Acquire)).map(Owned)
    }
}
