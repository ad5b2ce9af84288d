//! Room for a value of whatever type, in a place of fixed size.
//!
//! A job's place serves closures of every type, one after the other, and their outcomes ([`stash`](super::stash)): so it
//! may not depend on the type, and for small values it needs no heap. What is larger than its room, or wants more
//! than the alignment of a pointer, is boxed.
//!
//! **Values are moved by themselves**: into the place and out of it go as many bytes as the value has. Were the whole
//! parcel handed from one to the next, each step would copy all of its bytes, and with that fetch the cache lines that a
//! small value leaves alone.
//!
//! This is the room of `spawn` that needs `unsafe`. It is safe to use whatever its callers do: the parcel says itself what
//! is in it, and who asks for anything else gets nothing.

#![allow(unsafe_code)]

use std::{
    any::TypeId,
    mem::{self, MaybeUninit},
};

/// Words that lie in the parcel of a job itself: a closure with a handful of captures, or a result with a string or two, and
/// the word that tells an outcome from a panic.
const WORDS: usize = 13;

/// What a value is, and how it is dropped.
struct Kind {
    id: fn() -> TypeId,
    /// Drops what lies in the place, which is not used afterwards.
    drop: unsafe fn(*mut ()),
}

impl Kind {
    const fn of<P: 'static>() -> &'static Self {
        &Self { id: TypeId::of::<P>, drop: drop_in::<P> }
    }
}

/// A value, if there is one, with room for so many words. The place is last: what a small value leaves free of it is in cache
/// lines that nobody touches.
#[repr(C)]
pub(super) struct Parcel<const ROOM: usize = WORDS> {
    /// Of the value in the place.
    kind: Option<&'static Kind>,
    place: MaybeUninit<[usize; ROOM]>,
}

// SAFETY: a parcel is its value, which was `Send` when it was packed (see `put`); the rest are plain words.
unsafe impl<const ROOM: usize> Send for Parcel<ROOM> {}

/// Drops a value in place.
///
/// # Safety
/// There is a `V` in the place, and nobody uses it afterwards.
unsafe fn drop_in<V>(place: *mut ()) {
    // SAFETY: the caller says so; `write` has seen to the alignment.
    unsafe { place.cast::<V>().drop_in_place() }
}

impl<const ROOM: usize> Parcel<ROOM> {
    /// With nothing in it.
    pub(super) const fn empty() -> Self {
        Self { kind: None, place: MaybeUninit::uninit() }
    }

    /// Whether a value lies in the place itself.
    const fn fits<V>() -> bool {
        size_of::<V>() <= size_of::<[usize; ROOM]>() && align_of::<V>() <= align_of::<usize>()
    }

    /// Packs a value; what was there before is dropped.
    #[inline]
    pub(super) fn put<V: Send + 'static>(&mut self, value: V) {
        if Self::fits::<V>() { self.write(value) } else { self.write(Box::new(value)) }
    }

    /// Takes out the value that was packed, if it is of this type.
    #[inline]
    pub(super) fn take<V: Send + 'static>(&mut self) -> Option<V> {
        if Self::fits::<V>() { self.read() } else { self.read::<Box<V>>().map(|value| *value) }
    }

    /// Takes out whatever was packed, for who does not know what it is.
    pub(super) fn take_all(&mut self) -> Option<Self> {
        self.kind.is_some().then(|| mem::replace(self, Self::empty()))
    }

    /// Drops what is in it.
    #[inline]
    fn clear(&mut self) {
        if let Some(kind) = self.kind.take() {
            // SAFETY: the place holds the value that `write` put there together with its kind, which is gone with this: so
            // nobody uses the value afterwards, not even when its destructor panics.
            unsafe { (kind.drop)((&raw mut self.place).cast()) }
        }
    }

    /// Packs a value that fits.
    #[inline]
    fn write<P: Send + 'static>(&mut self, value: P) {
        assert!(Self::fits::<P>(), "what does not fit is boxed");
        self.clear();
        // SAFETY: `P` fits into the place, in size and alignment, as asserted above, and nothing is there any more.
        unsafe { self.place.as_mut_ptr().cast::<P>().write(value) };
        self.kind = Some(Kind::of::<P>());
    }

    /// Takes out a value that was packed as it is.
    #[inline]
    fn read<P: Send + 'static>(&mut self) -> Option<P> {
        self.kind.take_if(|kind| (kind.id)() == TypeId::of::<P>())?;
        // SAFETY: `write` put a `P` there, since only then its kind is noted; and it is read once, for the kind is gone.
        Some(unsafe { self.place.as_ptr().cast::<P>().read() })
    }
}

impl<const ROOM: usize> Drop for Parcel<ROOM> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::Arc,
    };

    use super::*;

    /// The room of a job's parcel, in bytes.
    const ROOM: usize = size_of::<[usize; WORDS]>();

    #[repr(align(64))]
    #[derive(Debug, PartialEq)]
    struct Aligned(u8);

    fn parcel<V: Send + 'static>(value: V) -> Parcel {
        let mut parcel = Parcel::empty();
        parcel.put(value);
        parcel
    }

    #[test]
    fn what_is_packed_comes_out_small_or_large_or_aligned() {
        assert_eq!(parcel(()).take::<()>(), Some(()));
        assert_eq!(parcel(String::from("small")).take::<String>().as_deref(), Some("small"));
        assert_eq!(parcel([7_u8; 4 * ROOM]).take::<[u8; 4 * ROOM]>(), Some([7; 4 * ROOM]));
        assert_eq!(parcel(Aligned(7)).take::<Aligned>(), Some(Aligned(7)));
    }

    #[test]
    fn what_is_larger_than_the_room_is_boxed() {
        let mut parcel = Parcel::<1>::empty();
        parcel.put(String::from("boxed"));
        assert_eq!(parcel.take::<String>().as_deref(), Some("boxed"));
    }

    #[test]
    fn one_parcel_serves_values_of_any_type_one_after_the_other() {
        let mut parcel: Parcel = Parcel::empty();
        assert_eq!(parcel.take::<u64>(), None);
        for round in 0..3_u64 {
            parcel.put(round);
            assert_eq!(parcel.take::<u64>(), Some(round));
            assert_eq!(parcel.take::<u64>(), None, "it was taken");
            parcel.put(round.to_string());
            assert_eq!(parcel.take::<String>(), Some(round.to_string()));
        }
    }

    #[test]
    fn a_value_of_another_type_is_not_given_out_and_dropped_once() {
        let value = Arc::new(());
        let mut parcel = parcel(Arc::clone(&value));
        assert!(parcel.take::<u64>().is_none());
        assert_eq!(Arc::strong_count(&value), 2, "it still lies there");
        parcel.put((Arc::clone(&value), [0_u8; ROOM]));
        assert_eq!(Arc::strong_count(&value), 2, "the one before was dropped");
        assert!(parcel.take::<Box<u64>>().is_none());
        drop(parcel);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn what_is_not_taken_out_is_dropped_with_the_parcel() {
        let value = Arc::new(());
        drop(parcel(Arc::clone(&value)));
        drop(parcel((Arc::clone(&value), [0_u8; ROOM])));
        let mut parcel = parcel(Arc::clone(&value));
        let moved = parcel.take_all();
        assert!(moved.is_some() && parcel.take_all().is_none());
        assert_eq!(Arc::strong_count(&value), 2);
        drop(moved);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_destructor_that_panics_is_called_once() {
        struct Bomb(Arc<()>);

        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("{} holders", Arc::strong_count(&self.0));
            }
        }

        let value = Arc::new(());
        let mut parcel = parcel(Bomb(Arc::clone(&value)));
        assert!(catch_unwind(AssertUnwindSafe(|| parcel.clear())).is_err());
        assert_eq!(Arc::strong_count(&value), 1);
        drop(parcel);
    }
}
