//! Is there an order of the operations that explains what was seen?
//!
//! The search of J. Wing and C. Gong ("Testing and Verifying Concurrent Objects", 1993), with G. Lowe's memory of what was
//! tried ("Testing for Linearizability", 2017): an operation may come next if none that is still to come had ended before
//! it began; a set of operations that are done and a state of the model that were reached before, in another order, are
//! not gone through again. The checkers that there are as crates belong to large model checkers; this page is all of it.

use std::{collections::HashSet, hash::Hash};

/// A structure as it would be if one thread used it at a time.
pub(crate) trait Model: Clone + Eq + Hash {
    /// An operation, with its outcome.
    type Done;

    /// The state after an operation with that outcome. `None`: it could not have had it.
    fn after(&self, done: &Self::Done) -> Option<Self>;
}

/// An operation that was seen, and when it began and ended.
#[derive(Debug)]
pub(crate) struct Seen<D> {
    pub(crate) began: usize,
    pub(crate) ended: usize,
    pub(crate) done: D,
}

/// The operations that are done, as bits.
type Set = u128;

/// Whether the operations, at most 128, could have been done one after the other, from this state on.
pub(crate) fn explained<M: Model>(start: M, history: &[Seen<M::Done>]) -> bool {
    assert!(history.len() <= Set::BITS as usize, "a set has no more bits");
    let all = history.iter().enumerate().fold(0, |set: Set, (number, _)| set | 1 << number);
    let mut tried = HashSet::new();
    let mut open: Vec<(Set, M)> = vec![(0, start)];
    while let Some((set, state)) = open.pop() {
        if set == all {
            return true;
        }
        if !tried.insert((set, state.clone())) {
            continue;
        }
        let left = || history.iter().enumerate().filter(|(number, _)| set & 1 << number == 0);
        let first_end = left().map(|(_, seen)| seen.ended).min().expect("some are left");
        let may_be_next = left().filter(|(_, seen)| seen.began < first_end);
        open.extend(
            may_be_next.filter_map(|(number, seen)| Some((set | 1 << number, state.after(&seen.done)?))),
        );
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::models::{Answers, AnswersDone, Hands, HandsDone, Line, LineDone};

    use super::*;

    fn seen<D>(began: usize, ended: usize, done: D) -> Seen<D> {
        Seen { began, ended, done }
    }

    #[test]
    fn operations_that_overlap_may_be_in_either_order() {
        let history = [
            seen(0, 5, LineDone::Pushed(1)),
            seen(1, 4, LineDone::Pushed(2)),
            seen(6, 7, LineDone::Popped(Some(2))),
            seen(8, 9, LineDone::Popped(Some(1))),
        ];
        assert!(explained(Line::default(), &history));
    }

    #[test]
    fn a_queue_that_turns_two_round_is_found_out() {
        let history = [
            seen(0, 1, LineDone::Pushed(1)),
            seen(2, 3, LineDone::Pushed(2)),
            seen(4, 7, LineDone::Popped(Some(2))),
            seen(8, 9, LineDone::Popped(Some(1))),
        ];
        assert!(!explained(Line::default(), &history));
    }

    #[test]
    fn a_queue_that_says_it_is_empty_and_is_not_is_found_out() {
        let history = [
            seen(0, 1, LineDone::Pushed(1)),
            seen(2, 3, LineDone::Popped(None)),
            seen(4, 5, LineDone::Popped(Some(1))),
        ];
        assert!(!explained(Line::default(), &history));
    }

    #[test]
    fn a_queue_that_loses_or_doubles_is_found_out() {
        let lost = [seen(0, 1, LineDone::Pushed(1)), seen(2, 3, LineDone::Popped(None))];
        assert!(!explained(Line::default(), &lost));
        let doubled = [
            seen(0, 9, LineDone::Pushed(1)),
            seen(1, 3, LineDone::Popped(Some(1))),
            seen(2, 4, LineDone::Popped(Some(1))),
        ];
        assert!(!explained(Line::default(), &doubled));
    }

    #[test]
    fn a_pool_that_hands_an_instance_to_two_or_keeps_too_many_is_found_out() {
        let twice = [seen(0, 5, HandsDone::CheckedOut(0)), seen(1, 6, HandsDone::CheckedOut(0))];
        assert!(!explained(Hands::with_room_for(2), &twice));
        let kept = |number| HandsDone::Returned { number, kept: true };
        let out = [seen(0, 1, HandsDone::CheckedOut(0)), seen(2, 3, HandsDone::CheckedOut(1))];
        let history: Vec<_> = out.into_iter().chain([seen(4, 6, kept(0)), seen(5, 7, kept(1))]).collect();
        assert!(explained(Hands::with_room_for(2), &history));
        assert!(!explained(Hands::with_room_for(1), &history));
    }

    #[test]
    fn a_cache_that_serves_what_was_overwritten_or_removed_is_found_out() {
        let overwritten = [
            seen(0, 1, AnswersDone::Stored(1)),
            seen(2, 3, AnswersDone::Stored(2)),
            seen(4, 5, AnswersDone::Got(Some(1))),
        ];
        assert!(!explained(Answers::default(), &overwritten));
        let removed = [
            seen(0, 1, AnswersDone::Stored(1)),
            seen(2, 3, AnswersDone::Removed),
            seen(4, 5, AnswersDone::Got(Some(1))),
        ];
        assert!(!explained(Answers::default(), &removed));
        let forgotten = [seen(0, 1, AnswersDone::Stored(1)), seen(2, 3, AnswersDone::Got(None))];
        assert!(explained(Answers::default(), &forgotten));
    }
}
