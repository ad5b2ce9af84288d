//! What a worker thread does: take, run, search, sleep.

use std::{sync::Arc, time::Duration};

use super::{
    Shared,
    job::Task,
    lanes::TURNS,
    post::{Post, Return},
    sleepers::Side,
    supervisor::Event,
};
use crate::platform::{
    affinity::{Core, pin_current_thread},
    clock,
    scheduling::give_way,
    stage,
};

/// Looks between two readings of the clock while spinning.
const LOOKS: u32 = 16;
/// Busy-wait hints between two looks: some 100 ns, so that the submitter's cache lines are left alone meanwhile.
const HINTS: u32 = 8;

pub(super) struct Worker {
    shared: Arc<Shared>,
    seat: usize,
    post: Arc<Post>,
    turn: usize,
}

/// Tells the supervisor how the thread ended, on every way out.
struct LastWords {
    shared: Arc<Shared>,
    seat: usize,
    post: Arc<Post>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        let post = Arc::clone(&self.post);
        let event = if std::thread::panicking() {
            Event::Died { seat: self.seat, post }
        } else {
            Event::Left { seat: self.seat, post }
        };
        self.shared.tell(event);
    }
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, seat: usize, post: Arc<Post>) -> Self {
        Self { shared, seat, post, turn: 0 }
    }

    /// The thread's whole life.
    pub(super) fn main(mut self, core: Option<Core>) {
        let _last_words =
            LastWords { shared: Arc::clone(&self.shared), seat: self.seat, post: Arc::clone(&self.post) };
        self.post.sign();
        if let Some(core) = core
            && !pin_current_thread(core)
        {
            self.shared.report_unpinned(core);
        }
        if self.shared.niceness > 0
            && let Err(error) = give_way(self.shared.niceness)
        {
            self.shared.report_pushy(&error);
        }
        while let Some(task) = self.pick().or_else(|| self.search()) {
            if self.work(task) == Return::Leave {
                return;
            }
        }
    }

    fn pick(&mut self) -> Option<Task> {
        pick(&self.shared, self.seat, &mut self.turn)
    }

    fn work(&mut self, task: Task) -> Return {
        let shared = &*self.shared;
        if let Some(rest) = task.job.split(task.unit) {
            shared.lanes.push_rest(self.seat, Task { unit: rest, ..task.clone() });
            shared.notify(Side::Elsewhere);
        }
        shared.leave_queue(task.job.share(task.unit));
        let job = Arc::clone(&task.job);
        let unit = task.unit;
        let started = clock::now();
        self.post.occupy(task, job.life(unit), started);
        job.run(unit, started);
        self.post.vacate()
    }

    /// Looks for a task, first spinning, then asleep in between; `None` when the pool is over.
    fn search(&mut self) -> Option<Task> {
        let Self { shared, seat, turn, .. } = self;
        let sleepers = &shared.sleepers;
        let mut look = || pick(shared, *seat, turn);
        let found = if sleepers.begin_search() <= shared.most_spinning as isize {
            spin(shared.spin, &mut look)
        } else {
            look()
        };
        let found = found.or_else(|| sleepers.sleep_until_found(*seat, look, || shared.is_over()));
        sleepers.end_search(|| shared.lanes.waiting());
        found
    }
}

/// Takes the next task out of the lanes.
fn pick(shared: &Shared, seat: usize, turn: &mut usize) -> Option<Task> {
    let task = shared.lanes.pick(seat, *turn)?;
    *turn = (*turn + 1) % TURNS;
    Some(task)
}

/// Looks again and again, for as long as `spin` says.
fn spin<T>(spin: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = clock::now() + spin;
    loop {
        for _ in 0..LOOKS {
            if let Some(found) = look() {
                return Some(found);
            }
            (0..HINTS).for_each(|_| std::hint::spin_loop());
        }
        if clock::now() >= deadline {
            return None;
        }
        // A thread that waits for this core (tokio's, say) may well be the one that brings the next task.
        stage::give_way();
    }
}
