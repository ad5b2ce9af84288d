//! A place for one boxed value, from which any thread may take it.
//!
//! `crossbeam`'s `AtomicCell` would do for most of it, but Miri objects to how that moves a pointer, by way of an integer.

#![allow(unsafe_code)]

use std::{
    marker::PhantomData,
    ptr,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crossbeam::atomic::AtomicCell;

use crate::platform::atomic::AtomicPtr;

/// Null; or a value that the berth owns: it came out of a `Box`, and whoever takes the pointer away owns it. Release and
/// Acquire, wherever one is stored and taken, are for what is in the box.
pub(super) struct Berth<T> {
    value: AtomicPtr<T>,
    /// Shared between threads on the same terms: values that may be sent.
    owns: PhantomData<AtomicCell<Option<Box<T>>>>,
}

impl<T> Berth<T> {
    pub(super) fn new(value: Option<Box<T>>) -> Self {
        let value = value.map_or(ptr::null_mut(), Box::into_raw);
        Self { value: AtomicPtr::new(value), owns: PhantomData }
    }

    /// Whether nothing is there, a moment ago.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        // Relaxed: a hint.
        self.value.load(Relaxed).is_null()
    }

    /// Takes what is there.
    pub(super) fn take(&self) -> Option<Box<T>> {
        let old = self.value.swap(ptr::null_mut(), AcqRel);
        // SAFETY: the exchange has taken it out.
        unsafe { owned(old) }
    }

    /// Leaves a value, and takes what is there.
    pub(super) fn displace(&self, value: Box<T>) -> Option<Box<T>> {
        let old = self.value.swap(Box::into_raw(value), AcqRel);
        // SAFETY: the exchange has taken it out.
        unsafe { owned(old) }
    }

    /// Leaves a value, if nothing is there. Others may take meanwhile; if they leave anything, that is leaked.
    #[inline]
    pub(super) fn leave(&self, value: Box<T>) -> Result<(), Box<T>> {
        if !self.is_free() {
            return Err(value);
        }
        self.value.store(Box::into_raw(value), Release);
        Ok(())
    }

    /// Takes what is there, without an exchange.
    ///
    /// # Safety
    /// Nobody else takes or leaves anything meanwhile.
    #[inline]
    pub(super) unsafe fn take_alone(&self) -> Option<Box<T>> {
        let there = self.value.load(Acquire);
        // Relaxed: null brings nothing along.
        self.value.store(ptr::null_mut(), Relaxed);
        // SAFETY: it is taken out, and by the caller's promise nobody else has done the same.
        unsafe { owned(there) }
    }
}

impl<T> Drop for Berth<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// # Safety
/// `value` was taken out of a berth, by this caller alone.
#[inline]
unsafe fn owned<T>(value: *mut T) -> Option<Box<T>> {
    // SAFETY: what lies in a berth came from `Box::into_raw`, and by the caller's promise this is the one call that makes
    // a `Box` of it again.
    (!value.is_null()).then(|| unsafe { Box::from_raw(value) })
}
