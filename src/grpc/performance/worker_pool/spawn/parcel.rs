//! A value of whatever type, in a place of fixed size.
//!
//! A job's place serves closures of every type, one after the other, and their outcomes ([`stash`](super::stash)): so it
//! may not depend on the type, and for small values it needs no heap. What is larger than [`ROOM`], or wants more than
//! the alignment of a pointer, is boxed.
//!
//! This is the room of `spawn` that needs `unsafe`. It is safe to use whatever its callers do: the parcel says itself what
//! is in it, and who asks for anything else gets nothing.

#![allow(unsafe_code)]

use std::{any::TypeId, mem::MaybeUninit};

/// Words that lie in the parcel itself: a closure with a handful of captures, or a result with a string or two.
const WORDS: usize = 12;
/// The same in bytes.
const ROOM: usize = size_of::<[usize; WORDS]>();

/// What the value lies in.
type Place = MaybeUninit<[usize; WORDS]>;

/// A value, what it is, and how it is dropped. The place is last: what a small value leaves free of it is in cache lines
/// that nobody touches.
#[repr(C)]
pub(super) struct Parcel {
    content: TypeId,
    /// Drops what lies in the place, which is not used afterwards.
    drop: unsafe fn(*mut Place),
    place: Place,
}

// SAFETY: a parcel is its value, which was `Send` when it was packed (see `new`); the rest are plain words.
unsafe impl Send for Parcel {}

/// Whether a value lies in the place itself.
const fn fits<V>() -> bool {
    size_of::<V>() <= ROOM && align_of::<V>() <= align_of::<usize>()
}

/// Drops a value in place.
///
/// # Safety
/// There is a `V` in the place, and nobody uses it afterwards.
unsafe fn drop_in<V>(place: *mut Place) {
    // SAFETY: the caller says so; `write` has seen to the alignment.
    unsafe { place.cast::<V>().drop_in_place() }
}

impl Parcel {
    /// Packs a value.
    pub(super) fn new<V: Send + 'static>(value: V) -> Self {
        if fits::<V>() { Self::around(value) } else { Self::around(Box::new(value)) }
    }

    /// The value that was packed, if it is of this type.
    pub(super) fn open<V: Send + 'static>(self) -> Option<V> {
        if fits::<V>() { self.take() } else { self.take::<Box<V>>().map(|value| *value) }
    }

    /// Packs a value that fits.
    fn around<P: Send + 'static>(value: P) -> Self {
        assert!(fits::<P>(), "what does not fit is boxed");
        let mut place = Place::uninit();
        // SAFETY: `P` fits into the place, in size and alignment, as asserted above.
        unsafe { place.as_mut_ptr().cast::<P>().write(value) };
        Self { content: TypeId::of::<P>(), drop: drop_in::<P>, place }
    }

    /// Takes out a value that was packed as it is.
    fn take<P: Send + 'static>(self) -> Option<P> {
        if self.content != TypeId::of::<P>() {
            return None;
        }
        let parcel = std::mem::ManuallyDrop::new(self);
        // SAFETY: `around` put a `P` there, since only then the type is noted; and it is read once, for the parcel is
        // gone with this call, without being dropped.
        Some(unsafe { parcel.place.as_ptr().cast::<P>().read() })
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        // SAFETY: the place holds the value that `around` put there together with its way of being dropped: `take`, which
        // takes it out, leaves no parcel to be dropped. Nobody uses the place after this.
        unsafe { (self.drop)(&raw mut self.place) }
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[repr(align(64))]
    #[derive(Debug, PartialEq)]
    struct Aligned(u8);

    #[test]
    fn what_is_packed_comes_out_small_or_large_or_aligned() {
        assert_eq!(Parcel::new(()).open::<()>(), Some(()));
        assert_eq!(Parcel::new(String::from("small")).open::<String>().as_deref(), Some("small"));
        assert_eq!(Parcel::new([7_u8; 4 * ROOM]).open::<[u8; 4 * ROOM]>(), Some([7; 4 * ROOM]));
        assert_eq!(Parcel::new(Aligned(7)).open::<Aligned>(), Some(Aligned(7)));
    }

    #[test]
    fn a_value_of_another_type_is_not_given_out_and_dropped_once() {
        let value = Arc::new(());
        assert!(Parcel::new(Arc::clone(&value)).open::<u64>().is_none());
        assert_eq!(Arc::strong_count(&value), 1);
        assert!(Parcel::new((Arc::clone(&value), [0_u8; ROOM])).open::<Box<u64>>().is_none());
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn what_is_not_taken_out_is_dropped_with_the_parcel() {
        let value = Arc::new(());
        drop(Parcel::new(Arc::clone(&value)));
        drop(Parcel::new((Arc::clone(&value), [0_u8; ROOM])));
        let moved = [Parcel::new(Arc::clone(&value)), Parcel::new(())];
        assert_eq!(Arc::strong_count(&value), 2);
        drop(moved);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
