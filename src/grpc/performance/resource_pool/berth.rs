//! A place for one boxed value, from which any thread may take it: one exchange in, one exchange out.
//!
//! `crossbeam`'s `AtomicCell` would do but for four things. The pool's [`desks`](super::desks) need a berth that can be
//! closed, at which one can look without writing to it, and at which a value that holds the berth alive can be left
//! without holding on to it twice; the last is measured: to count references with each checkout costs more than all the
//! rest, once two threads do it. And Miri objects to how `AtomicCell` moves a pointer, by way of an integer.

#![allow(unsafe_code)]

use std::{marker::PhantomData, ptr, sync::atomic::Ordering::SeqCst};

use crossbeam::atomic::AtomicCell;

use crate::platform::atomic::AtomicPtr;

/// Null; or [`closed`]; or a value that the berth owns: it came out of a `Box`, and whoever exchanges it for something
/// else owns it. SeqCst throughout, see [`desks`](super::desks).
pub(super) struct Berth<T> {
    value: AtomicPtr<T>,
    /// Shared between threads on the same terms: values that may be sent.
    owns: PhantomData<AtomicCell<Option<Box<T>>>>,
}

/// Stands in a berth at which nothing is left any more. Nothing can lie at the last address there is.
fn closed<T>() -> *mut T {
    ptr::without_provenance_mut(usize::MAX)
}

impl<T> Berth<T> {
    pub(super) fn new(value: Option<Box<T>>) -> Self {
        let value = value.map_or(ptr::null_mut(), Box::into_raw);
        Self { value: AtomicPtr::new(value), owns: PhantomData }
    }

    /// Takes what is there.
    #[inline]
    pub(super) fn take(&self) -> Option<Box<T>> {
        let there = self.value.load(SeqCst);
        if there.is_null() || there == closed() {
            return None;
        }
        // By swap, where another value may have come meanwhile, not by a comparison that this would upset.
        self.replace(ptr::null_mut())
    }

    /// Takes what is there, and lets nothing in from now on.
    pub(super) fn close(&self) -> Option<Box<T>> {
        self.replace(closed())
    }

    fn replace(&self, new: *mut T) -> Option<Box<T>> {
        let old = self.value.swap(new, SeqCst);
        // SAFETY: what is neither null nor `closed` came from `Box::into_raw`, and the exchange has taken it out, so
        // that this is the one call that makes a `Box` of it again.
        (!old.is_null() && old != closed()).then(|| unsafe { Box::from_raw(old) })
    }

    /// Whether nothing is there, and something may be left, a moment ago.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        self.value.load(SeqCst).is_null()
    }

    /// Leaves a value if nothing is there.
    pub(super) fn put(&self, value: Box<T>) -> Result<(), Box<T>> {
        self.put_over(ptr::null_mut(), value)
    }

    /// Leaves a value, and takes what is there.
    ///
    /// # Errors
    /// The value, if the berth is closed.
    pub(super) fn displace(&self, value: Box<T>) -> Result<Option<Box<T>>, Box<T>> {
        let mut value = value;
        loop {
            let there = self.value.load(SeqCst);
            if there == closed() {
                return Err(value);
            }
            match self.put_over(there, value) {
                // SAFETY: `there` is not `closed`, so if it is not null it came from `Box::into_raw`, and the exchange
                // has taken it out.
                Ok(()) => return Ok((!there.is_null()).then(|| unsafe { Box::from_raw(there) })),
                Err(back) => value = back,
            }
        }
    }

    fn put_over(&self, there: *mut T, value: Box<T>) -> Result<(), Box<T>> {
        let value = Box::into_raw(value);
        // SAFETY: the exchange failed, so the value is still this call's.
        let back = |_| unsafe { Box::from_raw(value) };
        self.value.compare_exchange(there, value, SeqCst, SeqCst).map(drop).map_err(back)
    }

    /// Leaves a value at the berth to which `way` leads from it, if it leads to one that is empty. The value may be what
    /// keeps the berth alive.
    #[inline]
    pub(super) fn leave(value: Box<T>, way: impl FnOnce(&T) -> Option<&Self>) -> Result<(), Box<T>> {
        let Some(berth) = way(&value).map(|berth| &raw const berth.value) else {
            return Err(value);
        };
        let value = Box::into_raw(value);
        // SAFETY: the berth was borrowed from the value, which this call owns until the exchange: so the berth lives
        // until then, too. Once the exchange has succeeded, another thread may take the value and drop it, and with it
        // the berth; nothing here looks at either again.
        match unsafe { (*berth).compare_exchange(ptr::null_mut(), value, SeqCst, SeqCst) } {
            Ok(_) => Ok(()),
            // SAFETY: the exchange failed, so the value is still this call's.
            Err(_) => Err(unsafe { Box::from_raw(value) }),
        }
    }
}

impl<T> Drop for Berth<T> {
    fn drop(&mut self) {
        drop(self.close());
    }
}
