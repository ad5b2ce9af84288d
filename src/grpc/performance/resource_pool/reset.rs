//! A reset without its type, for who knows the type all the same.
//!
//! How an instance comes back is one function, compiled for the reset of its pool: a second call, of a closure whose type
//! is not known, would cost as much again. The pool keeps that function and the reset beside each other. The function may
//! not borrow the reset for as long as it runs, as the method of an object would: with the instance it may give away what
//! keeps the pool alive.

#![allow(unsafe_code)]

use std::any::Any;

/// See the module.
pub(super) struct Reset(Box<dyn Any + Send + Sync>);

impl Reset {
    pub(super) fn new<R: Send + Sync + 'static>(reset: R) -> Self {
        Self(Box::new(reset))
    }

    /// # Safety
    /// It was made of an `R`.
    #[inline]
    pub(super) unsafe fn of_type<R: 'static>(&self) -> &R {
        debug_assert!(self.0.is::<R>());
        // SAFETY: the box holds an `R`, as the caller says, and is borrowed for as long as what is given out.
        unsafe { &*(&raw const *self.0).cast() }
    }
}
