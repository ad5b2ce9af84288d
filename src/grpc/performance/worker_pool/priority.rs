//! Which of two waiting jobs is served first.

use serde::{Deserialize, Serialize};

/// The priority of a job: which lane it waits in. No lane starves (see [`WorkerPool`](super::WorkerPool)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Served when others leave room, and in its guaranteed share.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Served first.
    High,
}

impl Priority {
    /// All of them, most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];
}
