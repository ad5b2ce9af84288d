//! The classes that one thread has met, and their times: a hash table that only ever grows, up to a bound.
//!
//! The owning thread looks up and enters, any thread reads what was entered. An entry is made once and stays; it is
//! published by one store of a pointer, so that nobody ever waits for one. Each thread has a table of its own, since what
//! is counted in it has one writer (see [`tally`](super::tally)).
//!
//! Half of the slots stay free, so that every search ends soon. Classes beyond [`CLASSES`] share the entry
//! [`Class::OTHER`], and what went there is counted.

use std::ptr;

use once_cell::race::OnceBox;

use super::{class::Class, histogram::Times, snapshot::Stage, tally::Tally};

/// Classes that a thread keeps apart. Refinements should be coarse: a few dozen for each name.
pub(super) const CLASSES: usize = 256;
const SLOTS: usize = 2 * CLASSES;

/// The times of one class.
#[derive(Debug)]
pub(super) struct ClassTimes {
    class: Class,
    stages: [Times; Stage::ALL.len()],
}

impl ClassTimes {
    fn new(class: Class) -> Box<Self> {
        Box::new(Self { class, stages: [const { Times::new() }; Stage::ALL.len()] })
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    #[inline]
    pub(super) fn stage(&self, stage: Stage) -> &Times {
        &self.stages[stage as usize]
    }
}

/// See the module for the protocol.
#[derive(Debug)]
pub(super) struct Classes {
    slots: [OnceBox<ClassTimes>; SLOTS],
    entered: Tally,
    other: OnceBox<ClassTimes>,
    crowded_out: Tally,
}

impl Classes {
    pub(super) const fn new() -> Self {
        Self {
            slots: [const { OnceBox::new() }; SLOTS],
            entered: Tally::new(),
            other: OnceBox::new(),
            crowded_out: Tally::new(),
        }
    }

    /// The times of `class`. By the owning thread.
    #[inline]
    pub(super) fn of(&self, class: Class) -> &ClassTimes {
        let mut slot = first_slot(class);
        loop {
            match self.slots[slot].get() {
                Some(times) if same(times.class, class) => return times,
                Some(_) => slot = (slot + 1) % SLOTS,
                None => return self.enter(slot, class),
            }
        }
    }

    #[cold]
    fn enter(&self, slot: usize, class: Class) -> &ClassTimes {
        if self.entered.read() == CLASSES as u64 {
            self.crowded_out.add(1);
            return self.other.get_or_init(|| ClassTimes::new(Class::OTHER));
        }
        self.entered.add(1);
        self.slots[slot].get_or_init(|| ClassTimes::new(class))
    }

    /// What was entered so far. By any thread.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ClassTimes> {
        self.slots.iter().chain([&self.other]).filter_map(OnceBox::get)
    }

    /// Look-ups that ended at [`Class::OTHER`] for lack of room.
    pub(super) fn crowded_out(&self) -> u64 {
        self.crowded_out.read()
    }
}

/// Names are mostly the very same literal, so that comparing their bytes is seldom needed.
#[inline]
fn same(one: Class, other: Class) -> bool {
    one.detail() == other.detail() && (ptr::eq(one.name(), other.name()) || one.name() == other.name())
}

/// By the lower bits of its hash, which is at hand.
#[inline]
fn first_slot(class: Class) -> usize {
    class.hash() as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_told_apart_by_the_letters_of_their_name_and_their_detail() {
        let classes = Classes::new();
        let copied: &'static str = String::from("digest").leak();
        let digest = classes.of(Class::new("digest"));
        assert!(ptr::eq(digest, classes.of(Class::new(copied))));
        for other in ["", "d", "t", "digesT", "dagest", "digest "] {
            assert!(!ptr::eq(digest, classes.of(Class::new(other))), "{other}");
        }
        assert!(!ptr::eq(digest, classes.of(Class::new("digest").refined(1))));
        assert_eq!(classes.iter().count(), 8);
    }

    #[test]
    fn classes_that_are_looked_for_at_the_same_slot_are_told_apart() {
        let classes = Classes::new();
        let one = Class::new("digest");
        let mut others = (0..).map(|detail| Class::new("thumbnail").refined(detail));
        let other = others.find(|other| first_slot(*other) == first_slot(one)).unwrap();
        assert_eq!(classes.of(one).class(), one);
        assert_eq!(classes.of(other).class(), other);
        assert!(ptr::eq(classes.of(other), classes.of(other)));
    }

    #[test]
    fn classes_beyond_the_bound_share_one_entry_and_are_counted() {
        let classes = Classes::new();
        let class = |detail: usize| Class::new("job").refined(detail as u32);
        for detail in 0..CLASSES {
            assert_eq!(classes.of(class(detail)).class(), class(detail));
        }
        assert_eq!(classes.crowded_out(), 0);
        for detail in CLASSES..CLASSES + 10 {
            assert_eq!(classes.of(class(detail)).class(), Class::OTHER);
        }
        assert_eq!(classes.crowded_out(), 10);
        assert_eq!(classes.of(class(3)).class(), class(3));
        assert_eq!(classes.iter().count(), CLASSES + 1);
    }
}
