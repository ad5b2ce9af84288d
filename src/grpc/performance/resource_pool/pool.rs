//! A pool of instances of one kind, and the guard that brings an instance back.
//!
//! Any thread checks out, and any thread drops the guard, at any time; neither waits for another thread (see
//! [`desks`](super::desks)).
//! ```text
//!  checkout: an idle one, or a fresh one ──▶ Pooled ──drop──▶ reset ──▶ idle
//!                                               │               └─────▶ discarded: refused by the reset, reset
//!                                               │                       panicked, or enough are idle already
//!                                               ├──drop, poisoned or unwinding──▶ discarded, without a reset
//!                                               └──into_inner──▶ the caller's for good
//! ```
//! An instance is owned by the idle ones or by one guard, which the type system keeps apart, so it is never in two hands.
//! The factory, the reset and the destructor are strangers' code. A panic of the factory is the caller's; the other
//! two run where nobody expects a panic, so it ends here, with a warning in the log.

#![allow(unsafe_code)]

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    thread,
};

use super::{
    desks::{Desks, Homing, put_back},
    reset::Reset,
    seats::PoolNumber,
    stats::{Event, PoolStats},
};
use crate::platform::contain::{contain, drop_logged};

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
pub struct Pool<T: Send + 'static> {
    /// The same as in the handle, at one step less.
    shared: Arc<Shared<T>>,
    handle: Arc<Handle<T>>,
}

/// What the handles on a pool share. With the last of them checkouts are over, and nothing is kept any more.
struct Handle<T: Send + 'static>(Arc<Shared<T>>);

impl<T: Send + 'static> Drop for Handle<T> {
    fn drop(&mut self) {
        self.0.idle.close();
    }
}

struct Shared<T: Send + 'static> {
    idle: Desks<Instance<T>>,
    made_ahead: usize,
    capacity: usize,
    make: Box<dyn Fn() -> T + Send + Sync>,
    reset: Reset,
    /// Made for the type of `reset`.
    give_back: GiveBack<T>,
}

type GiveBack<T> = fn(Box<Instance<T>>, PoolNumber<Instance<T>>, poisoned: bool);

/// A value, and the pool that it belongs to wherever it is (see [`desks`](super::desks)). On cache lines of its own:
/// neighbours are made one after the other, and used by different threads.
#[repr(align(64))]
struct Instance<T: Send + 'static> {
    value: T,
    home: Arc<Shared<T>>,
}

impl<T: Send + 'static> Homing for Instance<T> {
    type Home = Shared<T>;

    #[inline]
    fn home(&self) -> &Arc<Shared<T>> {
        &self.home
    }

    #[inline]
    fn desks(home: &Shared<T>) -> &Desks<Self> {
        &home.idle
    }
}

impl<T: Send + 'static> Shared<T> {
    #[cold]
    fn missed(self: &Arc<Self>) -> Box<Instance<T>> {
        let instance = self.fresh();
        self.idle.count(Event::Miss);
        instance
    }

    fn fresh(self: &Arc<Self>) -> Box<Instance<T>> {
        Box::new(Instance { value: (self.make)(), home: Arc::clone(self) })
    }
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
        let made_ahead = preallocate.min(capacity);
        let shared = Arc::new(Shared {
            idle: Desks::new(capacity),
            made_ahead,
            capacity,
            make: Box::new(make),
            give_back: give_back_by(&reset),
            reset: Reset::new(reset),
        });
        // Before the factory is called: it may panic, and what it has made by then goes with the handle.
        let handle = Arc::new(Handle(Arc::clone(&shared)));
        let pool = Self { shared, handle };
        for _ in 0..made_ahead {
            let kept = pool.shared.idle.stock(pool.shared.fresh());
            assert!(kept, "there is room for what is made ahead");
        }
        pool
    }
}

impl<T: Send + 'static> Pool<T> {
    /// An idle instance, the one that came back last on this thread if it can be had, or a fresh one when none is idle. Waits for nobody.
    ///
    /// # Panics
    /// When the factory panics; nothing is counted then.
    #[inline]
    #[must_use]
    pub fn checkout(&self) -> Pooled<T> {
        let instance = self.shared.idle.take().unwrap_or_else(|| self.shared.missed());
        Pooled { instance: Some(instance), pool: self.shared.idle.pool(), poisoned: false }
    }

    /// What the pool has done so far.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.shared.idle.stats(self.shared.made_ahead, self.shared.capacity)
    }
}

impl<T: Send + 'static> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), handle: Arc::clone(&self.handle) }
    }
}

impl<T: Send + 'static> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("capacity", &self.shared.capacity)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// An instance on loan: it goes back to its pool when this is dropped. It keeps the pool alive, and may be sent to, and
/// dropped on, another thread.
pub struct Pooled<T: Send + 'static> {
    /// `None` only between `into_inner`, or the begin of `drop`, and the end of `drop`.
    instance: Option<Box<Instance<T>>>,
    pool: PoolNumber<Instance<T>>,
    poisoned: bool,
}

impl<T: Send + 'static> Pooled<T> {
    /// The instance is not to be trusted any more: it is dropped in place of going back. A panic that unwinds through
    /// the guard does the same; this is for a panic that was caught before it reached the guard.
    pub fn poison(&mut self) {
        self.poisoned = true;
    }

    /// Takes the instance out of the pool for good.
    #[must_use]
    pub fn into_inner(mut self) -> T {
        let Instance { value, home } = *self.instance.take().expect("the value leaves only here and in drop");
        home.idle.count(Event::Taken);
        value
    }
}

impl<T: Send + 'static> Deref for Pooled<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.instance.as_ref().expect("the value leaves only with the guard").value
    }
}

impl<T: Send + 'static> DerefMut for Pooled<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.instance.as_mut().expect("the value leaves only with the guard").value
    }
}

impl<T: Send + 'static> Drop for Pooled<T> {
    #[inline]
    fn drop(&mut self) {
        // `into_inner` may have it.
        if let Some(instance) = self.instance.take() {
            (instance.home.give_back)(instance, self.pool, self.poisoned);
        }
    }
}

/// What brings back an instance for which this is the reset.
fn give_back_by<T, R>(_: &R) -> GiveBack<T>
where
    T: Send + 'static,
    R: Fn(&mut T) -> Keep + Send + Sync + 'static,
{
    give_back::<T, R>
}

/// Called, and not inlined, so that the end of a guard is short enough to be: a guard that never has an address stays in
/// a register from the checkout to here. It knows the type of the reset, so one that cannot panic is known to be one.
fn give_back<T, R>(mut instance: Box<Instance<T>>, pool: PoolNumber<Instance<T>>, poisoned: bool)
where
    T: Send + 'static,
    R: Fn(&mut T) -> Keep + Send + Sync + 'static,
{
    if poisoned || thread::panicking() {
        return give_up(instance, Event::Poisoned);
    }
    let Instance { value, home } = &mut *instance;
    // SAFETY: `Pool::new` makes each home, with a reset of this type where it has this function.
    let reset = unsafe { home.reset.of_type::<R>() };
    match contain(|| reset(value)).unwrap_or_else(|panic| unfit(&panic)) {
        Keep::Yes => put_back(instance, pool),
        Keep::Discard => give_up(instance, Event::Discarded),
    }
}

#[cold]
fn unfit(panic: &str) -> Keep {
    tracing::warn!(panic, "a pooled instance panicked while it was reset");
    Keep::Discard
}

#[cold]
#[inline(never)]
fn give_up<T: Send + 'static>(instance: Box<Instance<T>>, why: Event) {
    instance.home.idle.count(why);
    drop_logged(instance);
}

impl<T: fmt::Debug + Send + 'static> fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
