//! Which answers a change somewhere else makes worthless: by tag, and by the prefix of a path.
//!
//! **A clock, not a list.** Nobody looks for the answers that carry a tag. [`Invalidations`] keeps a logical clock, which
//! each invalidation moves on by one, and for each *scope* (a tag, or a prefix of a path) the time of its last
//! invalidation. An answer keeps the time at which its computation began, and its scopes; it is worthless when one of
//! them was invalidated later. So an invalidation is two atomic operations however many answers there are, and a hit pays
//! one load for each of its scopes.
//!
//! **Computations in flight.** The time is read before the computation begins, and the scopes may be told when it is
//! over. Whatever was invalidated in between is seen then, and nothing needs to be known of computations that are going
//! on. One that reads the time while an invalidation is under way may find the clock moved and the scope not: it began
//! after the invalidation did, and so works with what was changed before. When an invalidation has returned, whoever
//! knows of that finds the scope's time moved.
//!
//! **Bounded.** Scopes are hashed into [`SCOPES`] places. Two in one place are invalidated together: that costs a
//! computation, and never serves anything old. An answer carries [`MOST`] scopes; one with more is worthless after any
//! invalidation. Of a path the first [`DEPTH`] levels count: a longer prefix invalidates all below its first four.

use std::{iter, sync::atomic::Ordering::SeqCst};

use crate::{grpc::performance::cache::CacheKey, platform::atomic::AtomicU64};

/// 32 KiB of times. With a hundred scopes in use, an invalidation hits another one's place in 2% of the cases.
const SCOPES: usize = 4096;
/// Scopes that an answer carries: a path in full depth, and three tags.
const MOST: usize = 7;
/// Levels of a path that are told apart.
const DEPTH: usize = 4;

/// Something that can be invalidated: its place among the times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope(u16);

impl Scope {
    pub(super) fn tag(name: &str) -> Self {
        Self::of("tag", iter::once(name))
    }

    /// The scope of all paths that begin with this one. `None`: there is no level, and every path begins with it.
    pub(super) fn prefix(path: &str) -> Option<Self> {
        Self::ancestors(path).last()
    }

    /// The scopes of all prefixes of a path, itself the last.
    fn ancestors(path: &str) -> impl Iterator<Item = Self> {
        let depth = levels(path).take(DEPTH).count();
        (1..=depth).map(move |depth| Self::of("path", levels(path).take(depth)))
    }

    fn of<'a>(kind: &'a str, parts: impl Iterator<Item = &'a str>) -> Self {
        let mut key = CacheKey::builder(SCOPE_DOMAIN);
        for part in iter::once(kind).chain(parts) {
            key.part(part.as_bytes());
        }
        let key = key.finish();
        let [low, high, ..] = *key.as_bytes();
        Self(u16::from_le_bytes([low, high]) % SCOPES as u16)
    }
}

/// Keeps scopes apart from the keys of answers.
const SCOPE_DOMAIN: &str = "millstream.cache.scope";

/// Empty levels do not count: `/tenant//42/` is `tenant/42`.
fn levels(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|level| !level.is_empty())
}

/// What an answer depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub(super) struct Scopes {
    /// More than [`MOST`]: on everything.
    count: u8,
    places: [Scope; MOST],
}

impl Default for Scope {
    /// What a place holds that is not in use.
    fn default() -> Self {
        Self(0)
    }
}

impl Scopes {
    pub(super) fn add_tag(&mut self, name: &str) {
        self.add(Scope::tag(name));
    }

    pub(super) fn add_path(&mut self, path: &str) {
        Scope::ancestors(path).for_each(|scope| self.add(scope));
    }

    fn add(&mut self, scope: Scope) {
        if self.listed().contains(&scope) {
            return;
        }
        if let Some(place) = self.places.get_mut(usize::from(self.count)) {
            *place = scope;
        }
        self.count = (self.count + 1).min(MOST as u8 + 1);
    }

    /// An answer that depends on nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn listed(&self) -> &[Scope] {
        self.places.get(..usize::from(self.count)).unwrap_or(&self.places)
    }
}

/// A time on the clock of the invalidations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Moment(u64);

/// See the module.
pub(super) struct Invalidations {
    clock: AtomicU64,
    last: Box<[AtomicU64]>,
}

impl Invalidations {
    pub(super) fn new() -> Self {
        Self::with(SCOPES)
    }

    fn with(scopes: usize) -> Self {
        Self { clock: AtomicU64::new(0), last: (0..scopes).map(|_| AtomicU64::new(0)).collect() }
    }

    /// To be read before a computation begins.
    pub(super) fn now(&self) -> Moment {
        Moment(self.clock.load(SeqCst))
    }

    /// What was begun before this call, and depends on the scope, is worthless once it has returned.
    pub(super) fn invalidate(&self, scope: Scope) {
        let moment = self.clock.fetch_add(1, SeqCst) + 1;
        // The largest: of two at a time, the one that drew the earlier moment may come here last.
        self.last[usize::from(scope.0)].fetch_max(moment, SeqCst);
    }

    /// Whether an answer is worthless whose computation began then.
    #[inline]
    pub(super) fn any_since(&self, begun: Moment, scopes: &Scopes) -> bool {
        if usize::from(scopes.count) > MOST {
            return self.now() > begun;
        }
        let last = |scope: &Scope| self.last[usize::from(scope.0)].load(SeqCst);
        scopes.listed().iter().any(|scope| last(scope) > begun.0)
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
#[cfg(all(test, not(millstream_loom)))]
mod tests;
