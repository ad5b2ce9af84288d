//! Where a message stands among those that wait.

use super::priority::Priority;
use crate::grpc::performance::overload::Appetite;

/// By its priority, and, among those of the same, by the appetite of its stream. There is a lane for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) priority: Priority,
    pub(crate) appetite: Appetite,
}

impl Line {
    pub(crate) const COUNT: usize = Priority::ALL.len() * Appetite::ALL.len();

    /// Its number, from that which is served first.
    pub(crate) fn rank(self) -> usize {
        self.priority.rank() * Appetite::ALL.len() + self.appetite as usize
    }

    /// The last of a priority.
    pub(crate) fn last_of(priority: Priority) -> Self {
        Self { priority, appetite: Appetite::Greedy }
    }
}

/// What belongs to no stream is modest.
impl From<Priority> for Line {
    fn from(priority: Priority) -> Self {
        Self { priority, appetite: Appetite::Modest }
    }
}
