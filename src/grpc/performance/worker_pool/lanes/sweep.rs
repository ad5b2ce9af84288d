//! What was withdrawn while it waited, and its way out of the lanes.
//!
//! A message that is withdrawn gives its place back at once, for somebody else to use; the task that stood for it still
//! lies in its lane, and nobody but who takes it out may touch it. Were it left to the workers, a lane whose workers are
//! all stuck would fill up with what nobody waits for. So who withdraws counts a death, and when there were more of them
//! than half of what lives, the one who sees that sweeps: it takes each task out once, and puts those that live back, in
//! their order.
//!
//! **Cost.** A sweep moves at most twice as many living tasks as there were deaths, so a withdrawal pays for three moves.
//!
//! **Bound.** A lane holds the living, of which there are never more than places, and those who died since the last
//! sweep: half as many, and [`PATIENCE`] more. A sweeper that is stopped holds one task; others count on from zero, and
//! sweep in their turn. What it has left lying comes on top meanwhile, and may fill the lane: then whoever finds no room to
//! push [clears](clear) it, and waits for nobody.
//!
//! **No lost wake.** While a living task is in a sweeper's hands a worker may find its lane empty and go to sleep. It is
//! put back as a submitter puts it there, and the sweeper notifies as a submitter does.

use std::{collections::VecDeque, sync::atomic::Ordering::Relaxed};

use once_cell::race::OnceBox;

use super::{Lane, Lanes};
use crate::{
    grpc::performance::{error::Interruption, worker_pool::job::Task},
    platform::{atomic::AtomicUsize, stage},
};

/// Deaths that are never worth a sweep.
const PATIENCE: usize = 32;

/// Deaths since the last sweep. Relaxed: a count that decides when, and publishes nothing.
#[derive(Default)]
pub(super) struct Deaths(AtomicUsize);

impl Deaths {
    /// Room that a lane needs beyond its `capacity`, for those who died in it.
    pub(super) fn room(capacity: usize) -> usize {
        capacity / 2 + PATIENCE
    }

    /// One more; true for the one who is to sweep.
    fn count(&self, living: usize) -> bool {
        let deaths = self.0.fetch_add(1, Relaxed) + 1;
        deaths > living / 2 + PATIENCE && self.0.compare_exchange(deaths, 0, Relaxed, Relaxed).is_ok()
    }
}

/// What is left of a task without its head, if that was withdrawn, and so on.
fn bury(task: Task) -> Option<Task> {
    let mut unit = task.unit;
    while task.job.is_withdrawn(unit) {
        let next = task.job.split(unit);
        task.job.refuse(unit, Interruption::Cancelled);
        unit = next?;
    }
    Some(Task { unit, ..task })
}

impl Lanes {
    /// A queued message was withdrawn, with so many others living; true when it is time to [`sweep`](Self::sweep).
    pub(in crate::grpc::performance::worker_pool) fn count_death(&self, living: usize) -> bool {
        self.deaths.count(living)
    }

    /// Takes out what was withdrawn. The caller notifies.
    pub(in crate::grpc::performance::worker_pool) fn sweep(&self) {
        self.shared.iter().filter_map(OnceBox::get).for_each(clear);
    }
}

/// Takes each task out of a lane once, and puts those that live back.
pub(super) fn clear(lane: &Lane<Task>) {
    for _ in 0..lane.len() {
        let Some(task) = lane.pop() else { return };
        if let Some(living) = bury(task) {
            put_back(lane, living);
        }
    }
}

/// Puts a task back where others may have taken the room meanwhile; then more are taken out, until there is some: not all
/// that lie there can be alive.
fn put_back(lane: &Lane<Task>, living: Task) {
    let mut hand = VecDeque::new();
    let mut next = Some(living);
    while let Some(task) = next {
        if let Err(back) = lane.try_push(task) {
            hand.push_front(back);
            hand.extend(lane.pop().and_then(bury));
            // It may also be a cell that is missing.
            stage::give_way();
        }
        next = hand.pop_front();
    }
}
