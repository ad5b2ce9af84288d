//! One flight: whose turn it is, who follows, and what was found. No operation waits for another thread.
//!
//! ```text
//!  turn    t, even: on ───▶ t + 1, odd: it has ended, and who ended it sees to the followers ───▶ t + 2, even
//!  joiners open: whoever joins is put on the pile ───▶ closed, when the flight is over
//! ```
//! **Who ends a turn** does so by an exchange, so it is one of all that try, and has the queue of followers for itself
//! until it begins the next turn. It puts those into the queue that have joined since, and then either gives the first of
//! them the next turn, or closes the pile, which it can only while nobody is on it. So nobody who has joined is left.
//!
//! **Who joins** puts itself on the pile, or finds it closed and the flight over, with or without a finding. A thread that
//! is stopped while it sees to the followers keeps those waiting, as it would if it were stopped in its computation, and
//! nobody else: others go on joining.

#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    collections::VecDeque,
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

use super::{
    super::{
        invalidation::{Invalidations, Moment},
        key::CacheKey,
    },
    Finding, Follower, Verdict, Wanted,
    pile::Pile,
    table::Listing,
};
use crate::platform::atomic::AtomicU64;

/// One key being worked on.
pub(super) struct Flight {
    key: CacheKey,
    /// Whether it is on the table.
    pub(super) listing: Listing,
    turn: AtomicU64,
    /// Who has joined and is not yet in the queue.
    joiners: Pile<Waiting>,
    /// In the order of their joining.
    queue: UnsafeCell<VecDeque<Waiting>>,
    found: UnsafeCell<Option<Finding>>,
}

// SAFETY: `queue` is touched by who has made the turn odd, alone (see [`Ended`]). `found` is written by the same, before
// the joiners are closed, and from then on only read (see `over`). Both may be touched from any thread: followers and
// findings are `Send`, and what is read by several, `Sync`.
unsafe impl Sync for Flight {}

const _: () = {
    const fn is_send<T: Send>() {}
    const fn is_sync<T: Sync>() {}
    is_send::<Waiting>();
    is_send::<Finding>();
    is_sync::<Finding>();
};

/// A follower, what it is content with, and when it joined.
pub(super) struct Waiting {
    pub(super) follower: Follower,
    pub(super) wanted: Wanted,
    joined: Moment,
}

/// What becomes of a turn that is given back.
pub(super) enum Relief {
    /// Another turn is on, or the flight is settled.
    Past,
    /// The follower leads now, with this turn.
    Next(Follower, u64),
    /// There was nobody to give it to: the flight is over.
    Over,
}

/// What becomes of the followers when the answer is known.
pub(super) struct Settlement {
    pub(super) told: VecDeque<Waiting>,
    /// Who leads now, with which turn, since the answer came too late for some.
    pub(super) next: Option<(Follower, u64)>,
}

impl Flight {
    pub(super) fn new(key: CacheKey) -> Self {
        Self {
            key,
            listing: Listing::default(),
            turn: AtomicU64::new(0),
            joiners: Pile::new(),
            queue: UnsafeCell::default(),
            found: UnsafeCell::default(),
        }
    }

    pub(super) fn key(&self) -> CacheKey {
        self.key
    }

    /// Joins the flight. `None`: there is a place for a follower, and none was brought. Else the turn that it follows, or
    /// that has just ended.
    ///
    /// # Errors
    /// The flight is over: what was found, if it is of use to who asks now.
    pub(super) fn board(
        &self,
        follower: &mut Option<Follower>,
        wanted: Wanted,
        invalidations: &Invalidations,
    ) -> Option<Result<u64, Option<Verdict>>> {
        if self.over().is_none() {
            let follower_now = follower.take()?;
            // Before it joins: who settles the flight looks for invalidations when it has seen all who joined.
            let joined = invalidations.now();
            match self.joiners.put(Waiting { follower: follower_now, wanted, joined }) {
                Ok(()) => return Some(Ok(self.turn.load(Relaxed))),
                Err(back) => *follower = Some(back.follower),
            }
        }
        let finding = self.over().flatten().filter(|finding| finding.serves(wanted, invalidations));
        Some(Err(finding.map(|finding| finding.verdict.clone())))
    }

    /// `None`: it is not over. Else what was found, if anything was.
    fn over(&self) -> Option<Option<&Finding>> {
        // SAFETY: `found` is not written once the joiners are closed, and was written before.
        self.joiners.is_closed().then(|| unsafe { &*self.found.get() }.as_ref())
    }

    /// The answer is known. `None`: the turn is over.
    pub(super) fn settle(
        &self,
        turn: u64,
        finding: &Finding,
        invalidations: &Invalidations,
    ) -> Option<Settlement> {
        let mut ended = self.end(turn)?;
        let mut told = VecDeque::new();
        loop {
            let queue = ended.queue();
            // After all who are in the queue have joined: what they know of was invalidated by now, or is not.
            if finding.is_outdated(invalidations) {
                // Whoever joined later may have joined after the invalidation had returned.
                let (in_time, late) = queue.drain(..).partition(|waiting| waiting.joined <= finding.begun);
                *queue = late;
                told.extend::<VecDeque<_>>(in_time);
                if let Some(next) = queue.pop_front() {
                    return Some(Settlement { told, next: Some((next.follower, ended.next())) });
                }
            } else {
                told.append(queue);
            }
            if ended.over(Some(finding)) {
                return Some(Settlement { told, next: None });
            }
        }
    }

    /// The turn is given back.
    pub(super) fn relieve(&self, turn: u64) -> Relief {
        let Some(mut ended) = self.end(turn) else { return Relief::Past };
        loop {
            if let Some(next) = ended.queue().pop_front() {
                return Relief::Next(next.follower, ended.next());
            }
            if ended.over(None) {
                return Relief::Over;
            }
        }
    }

    /// Ends the turn, if it is on.
    fn end(&self, turn: u64) -> Option<Ended<'_>> {
        // Acquire: pairs with `Ended::next`, after which the queue is ours.
        let ends =
            turn.is_multiple_of(2) && self.turn.compare_exchange(turn, turn + 1, Acquire, Relaxed).is_ok();
        ends.then_some(Ended { flight: self, turn })
    }

    /// The turn that is on or has just ended, or what was found.
    pub(super) fn progress(&self) -> Result<u64, Finding> {
        self.over().flatten().cloned().map_or_else(|| Ok(self.turn.load(Relaxed)), Err)
    }

    /// Whether the turn is on.
    pub(super) fn is_at(&self, turn: u64) -> bool {
        self.turn.load(Relaxed) == turn
    }
}

/// A turn that has ended, in the hands of who ended it. There is one at a time.
struct Ended<'a> {
    flight: &'a Flight,
    turn: u64,
}

impl Ended<'_> {
    /// All who have joined by now.
    fn queue(&mut self) -> &mut VecDeque<Waiting> {
        // SAFETY: the turn is odd by our exchange until `next` or `over`, which end this.
        let queue = unsafe { &mut *self.flight.queue.get() };
        queue.extend(self.flight.joiners.take());
        queue
    }

    /// Begins the next turn, and tells its number.
    fn next(self) -> u64 {
        let next = self.turn + 2;
        // Release: pairs with `end`.
        self.flight.turn.store(next, Release);
        next
    }

    /// Ends the flight, unless somebody has joined since the queue was looked at. Once it has, this is not used again.
    #[must_use]
    fn over(&self, finding: Option<&Finding>) -> bool {
        // SAFETY: nobody looks at it before the joiners are closed, which is up to us; and as above.
        unsafe { *self.flight.found.get() = finding.cloned() };
        // The turn stays odd for good: none can be ended any more.
        self.flight.joiners.close()
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
