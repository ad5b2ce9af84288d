//! What to do when more comes than can be done: the rules, without a clock, a thread or a queue.
//!
//! ```text
//!            prospect (in time?) ── fairness (its turn?)            queue_control (waited too long?)
//!  message ─────────┬───────────────────────────────▶ queued ──────────────┬──────────────▶ worker
//!                   ▼                                 │  │                 ▼
//!               refused, with a hint (refusals)       │  ▼             refused, load ──▶ levels
//!                             appetite (in which line)    standing (who makes room)
//! ```
//! **One core.** The time is handed in, as the time since some start, and so is what is random. Nothing here reads a
//! clock, sleeps, or knows a message: the server, the simulation of an overload and the planner of capacity
//! ([`crate::simulation`]) run this very code.
//!
//! **The signal is the wait, not the fill.** A queue that is full of work for a millisecond is no overload, and one that
//! is a tenth full of work for seconds is. What has a deadline is judged by the wait that is predicted for it, while its
//! budget remains (`prospect`); what has none by what others waited (`queue_control`). [`Policy`] puts both together.
//!
//! **Newest first.** Whatever is refused is the newcomer, or the one that was queued last among those who are worst off:
//! the oldest are nearest to their start, and dropping them would waste their wait. Serving the newest first, as some
//! servers do under overload, keeps up the same goodput (`simulation` has the figures), but tells those whom it passes
//! over only when their time is up; refused at once, they can go elsewhere.
//!
//! **Threads.** Everything is a relaxed atomic: figures that steer, and publish nothing. A lost update is one sample less.

mod appetite;
mod fairness;
mod levels;
mod policy;
mod prospect;
mod queue_control;
mod refusals;
mod standing;

use std::time::Duration;

pub use self::levels::OverloadLevel;
pub(crate) use self::{
    appetite::{Account, Appetite, Company, Owner, PEERS_SAMPLED, PeerUsage, Sample},
    fairness::Shares,
    policy::{Condition, Newcomer, Objection, Policy, Verdict},
    prospect::Prospect,
    standing::Standing,
};

/// Nanoseconds, as the words of this module keep them.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
