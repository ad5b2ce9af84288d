//! A pool of instances of one kind, and the guard that brings an instance back.
//!
//! Any thread checks out, and any thread drops the guard, at any time; neither waits for another thread (see
//! [`slots`](super::slots)).
//! ```text
//!  checkout: an idle one, or a fresh one ──▶ Pooled ──drop──▶ reset ──▶ idle
//!                                               │               └─────▶ discarded: refused by the reset, reset
//!                                               │                       panicked, or enough are idle already
//!                                               ├──drop, poisoned or unwinding──▶ discarded, without a reset
//!                                               └──into_inner──▶ the caller's for good
//! ```
//! An instance is owned by the shelf or by one guard, which the type system keeps apart, so it is never in two hands.
//! The factory, the reset and the destructor are strangers' code. A panic of the factory is the caller's; the other
//! two run where nobody expects a panic, so it ends here, with a warning in the log.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    thread,
};

use super::{
    slots::Slots,
    stats::{Counters, PoolStats},
};
use crate::platform::contain::{contain, drop_contained};

/// How many instances a pool keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// Idle instances that are kept at most, below 2^24 - 1; with 0 every checkout makes a fresh one.
    pub capacity: usize,
    /// Instances that are made ahead; no more than `capacity` are.
    pub preallocate: usize,
}

/// What a reset makes of an instance that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is as good as new.
    Yes,
    /// It is not worth keeping, and is dropped.
    Discard,
}

/// A pool of instances of one kind. Clones are handles on the same pool.
///
/// ```
/// use millstream::resource_pool::{Keep, Pool, PoolOptions};
///
/// let scratch = Pool::new(
///     PoolOptions { capacity: 4, preallocate: 1 },
///     || vec![0_u32; 1024],
///     |scratch| {
///         scratch.fill(0);
///         if scratch.len() == 1024 { Keep::Yes } else { Keep::Discard }
///     },
/// );
/// scratch.checkout()[7] = 1;
/// assert_eq!(scratch.checkout()[7], 0);
/// assert_eq!(scratch.stats().hits, 2);
/// ```
pub struct Pool<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    idle: Slots<T>,
    counters: Counters,
    made_ahead: usize,
    capacity: usize,
    make: Box<dyn Fn() -> T + Send + Sync>,
    reset: Box<dyn Fn(&mut T) -> Keep + Send + Sync>,
}

impl<T: Send + 'static> Pool<T> {
    /// A pool of what `make` makes. `reset` is called on each instance that comes back, on the thread that drops the
    /// guard; it readies the instance for the next user, or refuses it.
    ///
    /// # Panics
    /// When `make` panics while instances are made ahead, or `capacity` is 2^24 - 1 or more.
    pub fn new(
        options: PoolOptions,
        make: impl Fn() -> T + Send + Sync + 'static,
        reset: impl Fn(&mut T) -> Keep + Send + Sync + 'static,
    ) -> Self {
        let PoolOptions { capacity, preallocate } = options;
        let idle = Slots::new(capacity);
        let made_ahead = preallocate.min(capacity);
        for _ in 0..made_ahead {
            let kept = idle.put(Box::new(make())).is_ok();
            assert!(kept, "there is room for what is made ahead");
        }
        let shared = Shared {
            idle,
            counters: Counters::default(),
            made_ahead,
            capacity,
            make: Box::new(make),
            reset: Box::new(reset),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl<T> Pool<T> {
    /// An idle instance, the one that came back last, or a fresh one when none is idle. Waits for nobody.
    ///
    /// # Panics
    /// When the factory panics; nothing is counted then.
    #[must_use]
    pub fn checkout(&self) -> Pooled<T> {
        let shared = &self.shared;
        let value = match shared.idle.take() {
            Some(value) => {
                shared.counters.hit();
                value
            }
            None => {
                let value = Box::new((shared.make)());
                shared.counters.missed();
                value
            }
        };
        Pooled { value: Some(value), poisoned: false, home: Arc::clone(shared) }
    }

    /// What the pool has done so far.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.shared.counters.read(self.shared.made_ahead, self.shared.capacity)
    }
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("capacity", &self.shared.capacity)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// An instance on loan: it goes back to its pool when this is dropped. It keeps the pool alive, and may be sent to, and
/// dropped on, another thread.
pub struct Pooled<T> {
    /// `None` only between `into_inner`, or the begin of `drop`, and the end of `drop`.
    value: Option<Box<T>>,
    poisoned: bool,
    home: Arc<Shared<T>>,
}

impl<T> Pooled<T> {
    /// The instance is not to be trusted any more: it is dropped in place of going back. A panic that unwinds through
    /// the guard does the same; this is for a panic that was caught before it reached the guard.
    pub fn poison(&mut self) {
        self.poisoned = true;
    }

    /// Takes the instance out of the pool for good.
    #[must_use]
    pub fn into_inner(mut self) -> T {
        let value = self.value.take().expect("the value leaves only here and in drop");
        self.home.counters.taken();
        *value
    }
}

impl<T> Deref for Pooled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_deref().expect("the value leaves only with the guard")
    }
}

impl<T> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_deref_mut().expect("the value leaves only with the guard")
    }
}

impl<T> Drop for Pooled<T> {
    fn drop(&mut self) {
        let Some(mut value) = self.value.take() else {
            return; // `into_inner` has it.
        };
        let Shared { idle, counters, reset, .. } = &*self.home;
        if self.poisoned || thread::panicking() {
            counters.poisoned();
            return discard(value);
        }
        let kept = match contain(|| reset(&mut value)) {
            Ok(Keep::Yes) => idle.put(value),
            Ok(Keep::Discard) => Err(value),
            Err(panic) => {
                tracing::warn!(%panic, "a pooled instance panicked while it was reset");
                Err(value)
            }
        };
        match kept {
            Ok(()) => counters.returned(),
            Err(value) => {
                counters.discarded();
                discard(value);
            }
        }
    }
}

fn discard<T>(value: Box<T>) {
    if let Err(panic) = drop_contained(value) {
        tracing::warn!(%panic, "a pooled instance panicked while it was dropped");
    }
}

impl<T: fmt::Debug> fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
