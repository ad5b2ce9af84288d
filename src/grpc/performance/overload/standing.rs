//! Who makes room when there is none: the worst of the queued, if it is worse than the newcomer.

use std::{cmp::Ordering, time::Duration};

/// How a message stands against others that want the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The rank of its priority: 0 is the most urgent.
    pub(crate) rank: usize,
    /// Whether it can still be in time: its deadline, if it has one, is after its predicted start.
    pub(crate) has_a_chance: bool,
    /// When it was queued, as the time since some start; the newest has waited least, and waits longest.
    pub(crate) since: Duration,
}

impl Standing {
    /// Strictly worse: of lower priority, or of the same and without the chance that the other has. Two that differ in
    /// age alone are equals: to put one out for the other would win nothing.
    pub(crate) fn is_worse_than(&self, other: &Self) -> bool {
        self.rank > other.rank || self.rank == other.rank && !self.has_a_chance && other.has_a_chance
    }

    /// Which of two queued ones goes first: the worse one, and of equals the newer.
    pub(crate) fn order_of_leaving(&self, other: &Self) -> Ordering {
        let key = |standing: &Self| (standing.rank, !standing.has_a_chance, standing.since);
        key(other).cmp(&key(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(rank: usize, has_a_chance: bool, since: u64) -> Standing {
        Standing { rank, has_a_chance, since: Duration::from_millis(since) }
    }

    #[test]
    fn only_who_is_strictly_worse_makes_room() {
        let newcomer = standing(1, true, 9);
        assert!(standing(2, true, 1).is_worse_than(&newcomer), "less urgent");
        assert!(standing(1, false, 1).is_worse_than(&newcomer), "late already");
        assert!(!standing(1, true, 1).is_worse_than(&newcomer), "its equal");
        assert!(!standing(0, false, 1).is_worse_than(&newcomer), "more urgent");
    }

    #[test]
    fn the_least_urgent_leaves_first_then_the_hopeless_then_the_newest() {
        let mut queued =
            [standing(1, false, 3), standing(2, true, 1), standing(1, true, 5), standing(2, true, 2)];
        queued.sort_by(Standing::order_of_leaving);
        assert_eq!(
            queued,
            [standing(2, true, 2), standing(2, true, 1), standing(1, false, 3), standing(1, true, 5)]
        );
    }
}
