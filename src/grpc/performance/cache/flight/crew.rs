//! One flight: whose turn it is, who follows, and what was found. All of it under one lock, held for a few instructions.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::{
    super::{
        invalidation::{Invalidations, Moment},
        key::CacheKey,
    },
    Finding, Follower, Verdict, Wanted,
};

/// One key being worked on.
pub(super) struct Flight {
    key: CacheKey,
    crew: Mutex<Crew>,
}

struct Crew {
    /// The turn that may settle the flight or pass it on.
    turn: u64,
    /// Set once the flight is settled.
    found: Option<Finding>,
    /// In the order of their joining.
    followers: VecDeque<Waiting>,
}

/// A follower, and when it joined.
pub(super) struct Waiting {
    pub(super) follower: Follower,
    joined: Moment,
}

/// What becomes of a turn that is given back.
pub(super) enum Relief {
    /// Another turn is on, or the flight is settled.
    Past,
    /// The follower leads now, with this turn.
    Next(Follower, u64),
    /// The turn is still on: there is nobody to give it to.
    Nobody,
}

/// What becomes of the followers when the answer is known.
pub(super) struct Settlement {
    pub(super) told: VecDeque<Waiting>,
    /// Who leads now, with which turn, since the answer came too late for some.
    pub(super) next: Option<(Follower, u64)>,
}

impl Flight {
    pub(super) fn new(key: CacheKey) -> Self {
        Self { key, crew: Mutex::new(Crew { turn: 0, found: None, followers: VecDeque::new() }) }
    }

    pub(super) fn key(&self) -> CacheKey {
        self.key
    }

    /// Joins the flight. `None`: there is a place for a follower, and none was brought. Else the turn that it follows.
    ///
    /// # Errors
    /// The flight is settled: what was found, if it is of use to who asks now.
    pub(super) fn board(
        &self,
        follower: &mut Option<Follower>,
        wanted: Wanted,
        invalidations: &Invalidations,
    ) -> Option<Result<u64, Option<Verdict>>> {
        let mut crew = self.crew.lock();
        if let Some(finding) = &crew.found {
            let serves = finding.serves(wanted, invalidations);
            return Some(Err(serves.then(|| finding.verdict.clone())));
        }
        let follower = follower.take()?;
        // Read under the lock: later ones have later times.
        let joined = invalidations.now();
        crew.followers.push_back(Waiting { follower, joined });
        Some(Ok(crew.turn))
    }

    /// The answer is known. `None`: the turn is over.
    pub(super) fn settle(
        &self,
        turn: u64,
        finding: &Finding,
        invalidations: &Invalidations,
    ) -> Option<Settlement> {
        let mut crew = self.crew.lock();
        if crew.turn != turn {
            return None;
        }
        crew.turn += 1;
        let mut told = std::mem::take(&mut crew.followers);
        if finding.is_outdated(invalidations) {
            // Whoever joined later may have joined after the invalidation had returned.
            let in_time = told.partition_point(|waiting| waiting.joined <= finding.begun);
            crew.followers = told.split_off(in_time);
            if let Some(next) = crew.followers.pop_front() {
                return Some(Settlement { told, next: Some((next.follower, crew.turn)) });
            }
        }
        crew.found = Some(finding.clone());
        Some(Settlement { told, next: None })
    }

    /// The turn is given back.
    pub(super) fn relieve(&self, turn: u64) -> Relief {
        let mut crew = self.crew.lock();
        if crew.turn != turn {
            return Relief::Past;
        }
        match crew.followers.pop_front() {
            None => Relief::Nobody,
            Some(next) => {
                crew.turn += 1;
                Relief::Next(next.follower, crew.turn)
            }
        }
    }

    pub(super) fn end_if_alone(&self, turn: u64) -> bool {
        let mut crew = self.crew.lock();
        let ends = crew.turn == turn && crew.followers.is_empty();
        if ends {
            crew.turn += 1;
        }
        ends
    }

    /// The turn that is on, or what was found.
    pub(super) fn progress(&self) -> Result<u64, Finding> {
        let crew = self.crew.lock();
        crew.found.clone().map_or(Ok(crew.turn), Err)
    }

    /// Whether the turn is on.
    pub(super) fn is_at(&self, turn: u64) -> bool {
        self.crew.lock().turn == turn
    }
}
