//! What a worker thread does: take, run, search, sleep.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    Shared,
    crew::{Crew, Level},
    floor::Stretch,
    interlude::{Interlude, Stand},
    job::Task,
    post::{Occupation, Post, Return},
    supervisor::Event,
};
use crate::platform::{
    affinity::{Core, pin_current_thread},
    clock,
    scheduling::{give_way, give_way_wholly},
    stack::Base,
    stage,
};

/// Looks between two readings of the clock while spinning.
const LOOKS: u32 = 16;
/// Busy-wait hints between two looks: some 100 ns, so that the submitter's cache lines are left alone meanwhile.
const HINTS: u32 = 8;

/// A place in a crew: one thread's at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    pub(super) level: Level,
    pub(super) number: usize,
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    seat: Seat,
    post: Arc<Post>,
    stretch: Stretch,
}

/// Tells the supervisor how the thread ended, on every way out.
struct LastWords {
    shared: Arc<Shared>,
    post: Arc<Post>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.post.sign_off();
        let post = Arc::clone(&self.post);
        let event = if std::thread::panicking() { Event::Died { post } } else { Event::Left { post } };
        self.shared.tell(event);
    }
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, seat: Seat, post: Arc<Post>) -> Self {
        Self { shared, seat, post, stretch: Stretch::default() }
    }

    /// The thread's whole life.
    pub(super) fn main(mut self, core: Option<Core>) {
        let _last_words = LastWords { shared: Arc::clone(&self.shared), post: Arc::clone(&self.post) };
        self.post.sign(Base::here());
        if let Some(core) = core
            && !pin_current_thread(core)
        {
            self.shared.report_unpinned(core);
        }
        self.give_way();
        while let Some(task) = self.pick().or_else(|| self.search()) {
            match self.work(task) {
                Return::Stay => {}
                Return::Leave => return,
                Return::Surface => return self.post.await_release(),
            }
        }
    }

    /// Takes the scheduling class of its crew.
    fn give_way(&self) {
        let shared = &self.shared;
        match self.seat.level {
            Level::Short if shared.niceness > 0 => {
                if let Err(error) = give_way(shared.niceness) {
                    shared.report_pushy(&error);
                }
            }
            Level::Short => {}
            Level::Long => {
                if let Err(error) = give_way_wholly(None) {
                    shared.report_afloat(&error);
                }
            }
        }
    }

    fn crew(&self) -> &Crew {
        self.shared.crew(self.seat.level)
    }

    fn pick(&self) -> Option<Task> {
        self.crew().pick(self.seat.number)
    }

    fn work(&mut self, task: Task) -> Return {
        let shared = &*self.shared;
        shared.cut_rest(self.seat.level, self.seat.number, &task);
        let job = Arc::clone(&task.job);
        let unit = task.unit;
        let started = clock::now();
        let life = job.life(unit);
        self.post.occupy(Occupation { task, life, beneath: None }, started);
        // Only now: to whoever sees all places given back, every message that was not refused is at a post.
        shared.leave_queue(job.share(unit));
        {
            let _long = (self.seat.level == Level::Long).then(|| Counted::new(&shared.long_running));
            job.run(unit, started, &shared.forecast, &Interlude::new(self.stand(), started));
        }
        let outcome = self.post.vacate();
        if let (Return::Stay, Level::Short, Some(floor)) = (outcome, self.seat.level, &shared.floor) {
            floor.step_aside(&mut self.stretch, started, || shared.has_long_work());
        }
        outcome
    }

    /// Where shorter work may run in the checkpoints of what this worker runs: on the front.
    fn stand(&self) -> Option<Stand<'_>> {
        let Self { shared, seat, post, .. } = self;
        (seat.level == Level::Short).then_some(Stand { shared, post, seat: seat.number })
    }

    /// Looks for a task, first spinning, where that has paid lately, then asleep in between; `None` when the pool is over.
    fn search(&mut self) -> Option<Task> {
        let Self { shared, seat: Seat { level, number }, stretch, .. } = self;
        let crew = shared.crew(*level);
        let Crew { sleepers, lanes, .. } = crew;
        if *level == Level::Short {
            shared.haste.withdraw();
            stretch.end();
        }
        let mut look = || crew.pick(*number);
        let searching = sleepers.begin_search();
        // Whoever spins takes the core from the background; and a core on which that is at work is awake, so that a wake there
        // is soon done. (Long work that waits for something uses no core, and costs wakes in vain.)
        let may_spin =
            *level == Level::Short && searching <= shared.most_spinning as isize && !shared.has_long_work();
        let found = if may_spin && shared.spinning.allows() {
            let found = spin(shared.spin, &mut look);
            shared.spinning.settle(found.is_some());
            found
        } else {
            look()
        };
        let found = found.or_else(|| sleepers.sleep_until_found(*number, look, || shared.is_over()));
        let more_waits = sleepers.end_search(|| !lanes.is_empty(), |most| lanes.waiting_up_to(most));
        if *level == Level::Short && more_waits {
            shared.tell_if_pressed();
        }
        found
    }
}

/// One of those who run something long, for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        // Relaxed, here and below: a count, of which nothing hangs.
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
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
