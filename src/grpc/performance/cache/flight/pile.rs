//! A pile that anybody may put something on, and one at a time takes from, until it is closed.
//!
//! One word: the topmost node, nothing, or that the pile is closed. Putting on and closing are one exchange of it each, so
//! of the two one comes first: what is put on is either taken by somebody, or given back to who brought it. A thread that
//! is stopped in between holds nobody up.
//!
//! **Nodes** are written by who puts them on, before it does, and read by who has taken them all. Nobody follows a node's
//! pointer while it lies on the pile, so that one may be freed, and its address be used again, at any time.

#![allow(unsafe_code)]

use std::{
    iter, ptr,
    sync::atomic::Ordering::{AcqRel, Acquire, Release},
};

use crate::platform::atomic::AtomicPtr;

struct Node<T> {
    value: T,
    below: *mut Node<T>,
}

/// See the module.
pub(super) struct Pile<T> {
    top: AtomicPtr<Node<T>>,
}

// SAFETY: the pile owns its values, and gives each to one thread, which need not be the one that brought it: `T: Send`.
// No reference to a value on the pile is ever given to anybody.
unsafe impl<T: Send> Send for Pile<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Pile<T> {}

impl<T> Pile<T> {
    pub(super) fn new() -> Self {
        Self { top: AtomicPtr::new(ptr::null_mut()) }
    }

    /// No node has this address: it is below the first page that there can be.
    fn closed() -> *mut Node<T> {
        ptr::dangling_mut()
    }

    /// Acquire: pairs with `close`. What its caller wrote before that is seen by who finds the pile closed.
    pub(super) fn is_closed(&self) -> bool {
        self.top.load(Acquire) == Self::closed()
    }

    /// Puts the value on the pile.
    ///
    /// # Errors
    /// The pile is closed; the value comes back, and what was written before it was closed is seen.
    pub(super) fn put(&self, value: T) -> Result<(), T> {
        let node = Box::into_raw(Box::new(Node { value, below: ptr::null_mut() }));
        // Acquire, here and on failure: as in `is_closed`.
        let mut top = self.top.load(Acquire);
        loop {
            if top == Self::closed() {
                // SAFETY: it came from a box above, and was not put on the pile.
                return Err(unsafe { Box::from_raw(node) }.value);
            }
            // SAFETY: nobody else knows of the node before the exchange goes through.
            unsafe { (*node).below = top };
            // Release: pairs with `take`, which reads the node.
            match self.top.compare_exchange(top, node, Release, Acquire) {
                Ok(_) => return Ok(()),
                Err(now) => top = now,
            }
        }
    }

    /// Takes all there is, what was put on first first. For one thread at a time, which does not come here once it has
    /// closed the pile.
    pub(super) fn take(&self) -> impl Iterator<Item = T> + use<T> {
        // Acquire: pairs with every `put`, each of which continues the release sequences of the others.
        let top = self.top.swap(ptr::null_mut(), Acquire);
        debug_assert!(top != Self::closed(), "taken from a pile that was closed");
        // SAFETY: by the exchange the nodes are ours.
        let mut values: Vec<T> = unsafe { unpile(top) }.collect();
        values.reverse();
        values.into_iter()
    }

    /// Closes the pile for good, if nothing lies on it. For who may take.
    #[must_use]
    pub(super) fn close(&self) -> bool {
        // Release: pairs with `is_closed` and `put`.
        self.top.compare_exchange(ptr::null_mut(), Self::closed(), AcqRel, Acquire).is_ok()
    }
}

impl<T> Drop for Pile<T> {
    fn drop(&mut self) {
        let top = self.top.load(Acquire);
        if top != Self::closed() {
            // SAFETY: nobody else has the pile any more.
            unsafe { unpile(top) }.for_each(drop);
        }
    }
}

/// The values below a node, with it, from the top on.
///
/// # Safety
/// The nodes came from boxes, and are the caller's.
unsafe fn unpile<T>(mut top: *mut Node<T>) -> impl Iterator<Item = T> {
    iter::from_fn(move || {
        if top.is_null() {
            return None;
        }
        // SAFETY: by the caller; each node is met once.
        let Node { value, below } = *unsafe { Box::from_raw(top) };
        top = below;
        Some(value)
    })
}

#[cfg(all(test, not(millstream_loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_was_put_on_first_is_taken_first_and_a_closed_pile_gives_back() {
        let pile = Pile::new();
        assert!((0..3).all(|value| pile.put(value).is_ok()));
        assert!(!pile.close(), "something lies on it");
        assert_eq!(pile.take().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(pile.take().count(), 0);
        assert!(!pile.is_closed());
        assert!(pile.close());
        assert!(pile.is_closed() && !pile.close());
        assert_eq!(pile.put(3), Err(3));
    }

    #[test]
    fn what_nobody_takes_is_freed_with_the_pile() {
        let value = Arc::new(());
        let pile = Pile::new();
        assert!((0..1000).all(|_| pile.put(Arc::clone(&value)).is_ok()));
        drop(pile.take().take(10));
        assert!(pile.put(Arc::clone(&value)).is_ok());
        drop(pile);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
