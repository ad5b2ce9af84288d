//! The structures as they would be if one thread used them at a time.

use std::collections::{BTreeSet, VecDeque};

use super::checker::Model;

/// A queue.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Line(VecDeque<usize>);

#[derive(Debug)]
pub(crate) enum LineDone {
    Pushed(usize),
    Popped(Option<usize>),
}

impl Model for Line {
    type Done = LineDone;

    fn after(&self, done: &LineDone) -> Option<Self> {
        let mut next = self.clone();
        match *done {
            LineDone::Pushed(value) => next.0.push_back(value),
            LineDone::Popped(expected) => {
                if next.0.pop_front() != expected {
                    return None;
                }
            }
        }
        Some(next)
    }
}

/// A pool: which instances are idle, and which are in whose hands does not matter.
///
/// It may make a fresh one though some are idle, and drop one though there is room: others may be about to take, or to
/// bring, what would have made the difference.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Hands {
    room: usize,
    idle: BTreeSet<usize>,
    seen: BTreeSet<usize>,
}

#[derive(Debug)]
pub(crate) enum HandsDone {
    CheckedOut(usize),
    Returned { number: usize, kept: bool },
}

impl Hands {
    pub(crate) fn with_room_for(room: usize) -> Self {
        Self { room, idle: BTreeSet::new(), seen: BTreeSet::new() }
    }
}

impl Model for Hands {
    type Done = HandsDone;

    fn after(&self, done: &HandsDone) -> Option<Self> {
        let mut next = self.clone();
        let possible = match *done {
            HandsDone::CheckedOut(number) => next.idle.remove(&number) || next.seen.insert(number),
            HandsDone::Returned { number, kept: true } => {
                self.seen.contains(&number) && next.idle.insert(number) && next.idle.len() <= self.room
            }
            HandsDone::Returned { number, kept: false } => {
                self.seen.contains(&number) && !self.idle.contains(&number)
            }
        };
        possible.then_some(next)
    }
}

/// What a cache has for one key. It may forget, and say so, at any time.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Answers(Option<usize>);

#[derive(Debug)]
pub(crate) enum AnswersDone {
    Got(Option<usize>),
    Stored(usize),
    Removed,
}

impl Model for Answers {
    type Done = AnswersDone;

    fn after(&self, done: &AnswersDone) -> Option<Self> {
        match *done {
            AnswersDone::Got(None) => Some(self.clone()),
            AnswersDone::Got(found) => (self.0 == found).then(|| self.clone()),
            AnswersDone::Stored(value) => Some(Self(Some(value))),
            AnswersDone::Removed => Some(Self(None)),
        }
    }
}
