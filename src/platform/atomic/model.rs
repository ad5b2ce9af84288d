//! Loom's atomics, with SeqCst as strong as it is.
//!
//! Loom takes a SeqCst access for an AcqRel one, and so finds faults that are none; its SeqCst *fences* are right. Here
//! every SeqCst access has such a fence before it, which puts one between any two of them in a thread: enough for one
//! total order. It is a little stronger than the language where SeqCst and weaker accesses mix, so a protocol that
//! depends on such a mixture has to have its fence in the code, and the weaker accesses named as such.

use std::sync::atomic::Ordering::{self, SeqCst};

pub(crate) use loom::sync::atomic::fence;

fn ordered(ordering: Ordering) -> Ordering {
    if ordering == SeqCst {
        fence(SeqCst);
    }
    ordering
}

/// An atomic with the operations that the crate uses of it.
macro_rules! atomic {
    ($name:ident($int:ty): $($operation:ident)*) => {
        #[derive(Debug)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        impl $name {
            #[track_caller]
            pub(crate) fn new(value: $int) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            $(atomic!(@$operation $int);)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new(<$int>::default())
            }
        }
    };
    (@load $int:ty) => {
        #[track_caller]
        pub(crate) fn load(&self, ordering: Ordering) -> $int {
            self.0.load(ordered(ordering))
        }
    };
    (@store $int:ty) => {
        #[track_caller]
        pub(crate) fn store(&self, value: $int, ordering: Ordering) {
            self.0.store(value, ordered(ordering));
        }
    };
    (@compare_exchange $int:ty) => {
        #[track_caller]
        pub(crate) fn compare_exchange(
            &self,
            current: $int,
            new: $int,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$int, $int> {
            self.0.compare_exchange(current, new, ordered(success), failure)
        }
    };
    (@compare_exchange_weak $int:ty) => {
        #[track_caller]
        pub(crate) fn compare_exchange_weak(
            &self,
            current: $int,
            new: $int,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$int, $int> {
            self.0.compare_exchange_weak(current, new, ordered(success), failure)
        }
    };
    (@$operation:ident $int:ty) => {
        #[track_caller]
        pub(crate) fn $operation(&self, value: $int, ordering: Ordering) -> $int {
            self.0.$operation(value, ordered(ordering))
        }
    };
}

/// As above, for pointers.
#[derive(Debug)]
pub(crate) struct AtomicPtr<T>(loom::sync::atomic::AtomicPtr<T>);

impl<T> AtomicPtr<T> {
    #[track_caller]
    pub(crate) fn new(value: *mut T) -> Self {
        Self(loom::sync::atomic::AtomicPtr::new(value))
    }

    atomic!(@load *mut T);
    atomic!(@store *mut T);
    atomic!(@swap *mut T);
    atomic!(@compare_exchange *mut T);
}

atomic!(AtomicBool(bool): load store swap);
atomic!(AtomicU8(u8): load store swap compare_exchange);
atomic!(AtomicU32(u32): load store swap fetch_and fetch_or compare_exchange compare_exchange_weak);
atomic!(AtomicU64(u64): load store swap fetch_add fetch_sub fetch_max fetch_and fetch_or fetch_xor compare_exchange compare_exchange_weak);
atomic!(AtomicUsize(usize): load fetch_add fetch_sub compare_exchange);
atomic!(AtomicIsize(isize): load fetch_add fetch_sub);
