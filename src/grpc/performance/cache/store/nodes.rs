//! Values that one can look at while another has them, each the owner of its own bytes, and stacks of them.
//!
//! **One allocation** holds a value, what [`Bytes`] counts its users by, and a handle on the bytes: who has compared the key
//! has the count at hand, too, and copies the handle without going to memory once more. So the bytes' owner is the node
//! itself ([`Bytes::from_owner`]), and the node's own handle counts as one user of it, for as long as the node is in use.
//! After that the node stays for as long as anybody has a copy of the handle.

#![allow(unsafe_code)]

use std::{
    cell::{Cell, UnsafeCell},
    mem::{ManuallyDrop, MaybeUninit, offset_of},
    ops::Deref,
    ptr::{self, NonNull},
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

use bytes::Bytes;

use crate::platform::{atomic::AtomicPtr, prefetch::prefetch};

/// A value, the handle on its bytes, and a place in a stack for it.
#[repr(C)]
pub(super) struct Node<T> {
    /// Written before anybody finds the node, and taken when nobody looks any more. First, beside the count.
    bytes: UnsafeCell<MaybeUninit<Bytes>>,
    value: T,
    /// What lies below it; for its owner alone. Before there is one: where the node is to tell its place.
    below: Cell<*mut Self>,
}

// SAFETY: what `Bytes` does with its owner is to drop it, wherever the last handle goes, which drops the value: neither the
// handle nor the pointer is looked at in that.
unsafe impl<T: Send> Send for Node<T> {}

impl<T> Node<T> {
    /// From the count of the handles to the value.
    pub(super) const BEFORE_VALUE: usize = size_of::<usize>() + offset_of!(Self, value);

    /// # Safety
    /// The node is there for as long as what is returned is used, and nobody has it [`Owned`] but to keep it.
    #[inline]
    pub(super) unsafe fn value<'a>(node: NonNull<Self>) -> &'a T {
        // SAFETY: by the caller's promise. Its owner may write a field beside it meanwhile.
        unsafe { &(*node.as_ptr()).value }
    }

    /// It is looked at soon, whether it is there or not.
    #[inline]
    pub(super) fn prefetch(node: NonNull<Self>) {
        // What a hit looks at begins with the count of the handles, which lies just before this.
        let start = node.as_ptr().cast::<u8>().wrapping_sub(size_of::<usize>());
        prefetch(start);
        prefetch(start.wrapping_add(64));
    }

    /// All of it is looked at soon, and it is taken out: that also writes to its end.
    pub(super) fn prefetch_whole(node: NonNull<Self>) {
        Self::prefetch(node);
        prefetch(node.as_ptr().cast::<u8>().wrapping_add(offset_of!(Self, below)));
    }

    /// # Safety
    /// As for [`value`](Self::value).
    #[inline]
    pub(super) unsafe fn bytes<'a>(node: NonNull<Self>) -> &'a Bytes {
        // SAFETY: by the caller's promise; it was written before anybody had the node.
        unsafe { (*(*node.as_ptr()).bytes.get()).assume_init_ref() }
    }
}

/// For [`Bytes::from_owner`], which asks once, where the node lies for good.
impl<T: AsRef<[u8]>> AsRef<[u8]> for Node<T> {
    fn as_ref(&self) -> &[u8] {
        let place = self.below.replace(ptr::null_mut()).cast::<Cell<*mut Self>>();
        // SAFETY: `Owned::new` has put a pointer to a variable of its own there, and waits for this.
        unsafe { (*place).set(ptr::from_ref(self).cast_mut()) };
        self.value.as_ref()
    }
}

/// A node whose owner one is: nobody else changes or frees it. Who only forgets it leaks it.
#[must_use]
pub(super) struct Owned<T>(NonNull<Node<T>>);

impl<T> Owned<T> {
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
    pub(super) unsafe fn into_sole(self) -> Sole<T> {
        Sole(self)
    }

    fn below(&self) -> &Cell<*mut Node<T>> {
        // SAFETY: it is ours, and nobody else has to do with this field.
        unsafe { &(*self.0.as_ptr()).below }
    }
}

/// A node that nobody looks at but its owner. Freed when it is dropped, but for what those have who have its bytes.
pub(super) struct Sole<T>(Owned<T>);

impl<T: AsRef<[u8]> + Send + 'static> Sole<T> {
    /// In the caller, where the value is made: see [`Books::fresh`](super::books::Books::fresh).
    #[inline(always)]
    pub(super) fn new(value: T) -> Self {
        let place = Cell::new(ptr::null_mut::<Node<T>>());
        let bytes = Bytes::from_owner(Node {
            bytes: UnsafeCell::new(MaybeUninit::uninit()),
            value,
            below: Cell::new(ptr::from_ref(&place).cast_mut().cast()),
        });
        let node = NonNull::new(place.get()).expect("the bytes' owner was asked for them");
        // SAFETY: it is there as long as the bytes are, and nobody else has it.
        unsafe { (*(*node.as_ptr()).bytes.get()).write(bytes) };
        Self(Owned(node))
    }
}

impl<T> Sole<T> {
    /// For others to look at, from now on.
    pub(super) fn into_owned(self) -> Owned<T> {
        Owned(ManuallyDrop::new(self).0.0)
    }

    pub(super) fn as_raw(&self) -> NonNull<Node<T>> {
        self.0.as_raw()
    }
}

impl<T> Deref for Sole<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.get()
    }
}

impl<T> Drop for Sole<T> {
    fn drop(&mut self) {
        // SAFETY: it was written in `new`, and is taken once, since nobody has the node after this.
        drop(unsafe { (*(*self.0.0.as_ptr()).bytes.get()).assume_init_read() });
    }
}

/// Owned nodes, the last that was pushed first. Who only forgets it leaks them.
#[must_use]
pub(super) struct Chain<T>(*mut Node<T>);

impl<T> Default for Chain<T> {
    fn default() -> Self {
        Self(ptr::null_mut())
    }
}

impl<T> Chain<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_null()
    }

    pub(super) fn push(&mut self, node: Owned<T>) {
        node.below().set(self.0);
        self.0 = node.as_raw().as_ptr();
    }

    fn peek(&self) -> Option<&T> {
        // SAFETY: it is the chain's.
        NonNull::new(self.0).map(|top| unsafe { Node::value(top) })
    }
}

impl<T> Iterator for Chain<T> {
    type Item = Owned<T>;

    fn next(&mut self) -> Option<Owned<T>> {
        let top = NonNull::new(self.0).map(Owned)?;
        self.0 = top.below().get();
        Some(top)
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
            // Release: pairs with `take`. Nothing comes back under a stale `top`: nobody else pushes.
            match self.0.compare_exchange(top, node.as_raw().as_ptr(), Release, Relaxed) {
                Ok(_) => return top.is_null(),
                Err(now) => top = now,
            }
        }
    }

    /// By the one thread: the last that was pushed; and a look at the one that comes next, while that is the caller's, too.
    pub(super) fn pop(&self, next: impl FnOnce(&T)) -> Option<Owned<T>> {
        let mut all = self.take();
        let top = all.next()?;
        all.peek().map(next);
        self.refill(all);
        Some(top)
    }

    /// By the one thread, which has just taken all.
    pub(super) fn refill(&self, nodes: Chain<T>) {
        // It is empty, and nobody else pushes. Release: as in `push`.
        self.0.store(nodes.0, Release);
    }

    /// All of them.
    pub(super) fn take(&self) -> Chain<T> {
        // To spare the stacks of others an exchange. Relaxed: what one does not see yet others will.
        if self.0.load(Relaxed).is_null() {
            return Chain::default();
        }
        // Acquire: pairs with `push` and `refill`.
        Chain(self.0.swap(ptr::null_mut(), Acquire))
    }
}
