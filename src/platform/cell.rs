//! Room that one thread at a time has to itself, by some protocol: the standard library's, or loom's when the crate is built
//! with `cfg(millstream_loom)`, which sees two threads in one cell.

#[cfg(millstream_loom)]
pub(crate) use loom::cell::UnsafeCell;

/// The standard library's, with the face of loom's.
#[cfg(not(millstream_loom))]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(millstream_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}
