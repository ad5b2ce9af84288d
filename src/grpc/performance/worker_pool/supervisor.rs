//! The thread that keeps the pool whole: it answers for tasks that overstay, replaces the threads that are stuck in them
//! or dead, ends the pool, does the regular chores, and reminds streams of deadlines that are near.
//!
//! It hardly ever polls. Whatever starts after a look cannot overstay before the look plus `worker_timeout`, so it sleeps
//! until then, or until the earliest task that runs now would be due; events (a thread ended, drain, the room is over)
//! wake it. In a drain the pool ends once no thread is at work and the room is over, in whichever order: both are told,
//! also by who withdraws the last message where all threads are stuck.
//!
//! A worker that overstays loses its [`Post`]: its message is answered at once (and the one that has let it run in between,
//! if there is one: it is on the same thread), a substitute sits down on its seat, and
//! the thread ends when it comes back. At most `worker_substitutes` threads may be stuck like that at a time; beyond it,
//! and when the system gives no thread, the seat stays empty until a thread has come back or a second has passed.

mod overruns;
mod reminders;
mod sunk;

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Waker,
    time::{Duration, Instant},
};

use crossbeam::channel::Receiver;
use tokio::sync::oneshot;

use self::{overruns::Overruns, reminders::Reminders};
use super::{
    Drained, Shared,
    crew::Level,
    overstay,
    post::Post,
    worker::{Seat, Worker},
};
use crate::{
    grpc::performance::{config::OptimizationConfig, error::Interruption},
    platform::{
        affinity::Core,
        clock,
        contain::contain,
        stage::{self, Heard, reached},
    },
};

/// How soon an empty seat is tried again when the system gave no thread for it.
const RETRY: Duration = Duration::from_secs(1);

/// Between two looks at a worker that is on its way into an interlude or out of it.
const MOVE: Duration = Duration::from_millis(1);

/// What the supervisor is told.
pub(super) enum Event {
    /// A thread has ended as it should.
    Left { post: Arc<Post> },
    /// A thread panicked outside every handler: a fault of ours.
    Died { post: Arc<Post> },
    /// The room is closed, and nothing will be queued any more. See [`Room`](super::room::Room).
    Over,
    /// Accept nothing more, finish what was accepted, refuse what is left at the deadline.
    Drain { deadline: Option<Instant>, done: Option<oneshot::Sender<Drained>> },
    /// Wake this at that time.
    Remind { at: Instant, waker: Waker },
}

/// Something to do now and then.
pub(crate) struct Chore {
    pub(crate) interval: Duration,
    pub(crate) run: Box<dyn FnMut() + Send>,
}

impl Chore {
    /// What a stranger has hooked into it may panic; the next time it is done all the same.
    fn run(&mut self) {
        if let Err(panic) = contain(&mut self.run) {
            tracing::warn!(panic, "a chore of the worker pool panicked");
        }
    }
}

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    events: Receiver<Event>,
    /// Those of the front, then those of the background.
    seats: Vec<Option<Arc<Post>>>,
    cores: Vec<Core>,
    substitutes: usize,
    epoch: Instant,
    /// Threads that overstayed and have not come back.
    stuck: usize,
    /// Threads started, for their names.
    started: usize,
    chore: Option<Chore>,
    overruns: Overruns,
    reminders: Reminders,
    drain: Option<Drain>,
}

struct Drain {
    deadline: Option<Instant>,
    done: Vec<oneshot::Sender<Drained>>,
}

impl Supervisor {
    /// Starts every worker.
    ///
    /// # Errors
    /// The system gives no thread, and which; those that run already end by themselves when the room is closed.
    pub(super) fn start(
        shared: Arc<Shared>,
        events: Receiver<Event>,
        bell: Receiver<()>,
        config: &OptimizationConfig,
        cores: Vec<Core>,
        chore: Option<Chore>,
    ) -> io::Result<Self> {
        let (front, background) = (shared.front.seats(), shared.background.seats());
        let mut supervisor = Self {
            overruns: Overruns::new(bell, front, config.worker_demotions, &cores),
            shared,
            events,
            seats: vec![None; front + background],
            cores,
            substitutes: config.worker_substitutes,
            epoch: clock::now(),
            stuck: 0,
            started: 0,
            chore,
            reminders: Reminders::default(),
            drain: None,
        };
        for seat in 0..supervisor.seats.len() {
            supervisor.seat_worker(seat)?;
        }
        Ok(supervisor)
    }

    /// The supervisor thread's whole life.
    pub(super) fn main(mut self) {
        let mut next_chore = self.chore.as_ref().map(|chore| clock::now() + chore.interval);
        loop {
            let now = clock::now();
            let reminder = self.reminders.wake_due(now);
            let mut wake = self.inspect(now);
            wake = reminder.map_or(wake, |due| due.min(wake));
            if let (Some(due), Some(chore)) = (&mut next_chore, &mut self.chore) {
                if now >= *due {
                    chore.run();
                    *due = now + chore.interval;
                }
                wake = wake.min(*due);
            }
            if let Some(drain) = &self.drain {
                if self.is_everybody_gone() && self.shared.is_over() {
                    return self.conclude(0);
                }
                if let Some(deadline) = drain.deadline {
                    if now >= deadline {
                        return self.cut_short();
                    }
                    wake = wake.min(deadline);
                }
            }
            match stage::receive(&self.events, self.overruns.bell(), wake) {
                Heard::Letter(event) => self.handle(event),
                Heard::Bell => self.overruns.rung(),
                Heard::Nothing => {}
            }
        }
    }

    /// Whether no thread is at work, nor will be.
    fn is_everybody_gone(&self) -> bool {
        self.posts().next().is_none()
    }

    /// Everybody who is at work: on a seat, or sunk.
    fn posts(&self) -> impl Iterator<Item = &Arc<Post>> {
        self.seats.iter().flatten().chain(self.overruns.sunk())
    }

    /// Looks at every post; says when to look again.
    fn inspect(&mut self, now: Instant) -> Instant {
        let mut next = now + self.shared.timeout;
        let mut overdue = Vec::new();
        for post in self.posts() {
            match post.turn() {
                Some(turn) if turn.started + self.shared.timeout > now => {
                    // What lies beneath it may go on right now, and then be due before it.
                    let beneath = now + self.shared.timeout.saturating_sub(turn.beneath).max(MOVE);
                    next = next.min(turn.started + self.shared.timeout).min(beneath);
                }
                Some(turn) => overdue.push((Arc::clone(post), turn)),
                None if post.is_moving() => next = next.min(now + MOVE),
                None => {}
            }
        }
        for (post, turn) in overdue {
            if let Some(occupation) = post.seize(turn) {
                let (thread, ran) = (post.thread(), now - turn.started);
                overstay::report(&occupation, self.seat_of(&post), thread, ran, &self.shared.forecast);
                overstay::report_stack(&occupation, &post, now);
                self.forget(&post);
                self.stuck += 1;
                occupation.abandon(Interruption::Overstayed);
            }
        }
        next = self.inspect_overruns(now).map_or(next, |look| next.min(look));
        if self.fill_seats() { next } else { next.min(now + RETRY) }
    }

    /// A thread is not at work any more.
    fn forget(&mut self, post: &Arc<Post>) {
        if self.overruns.strike(post) {
            // Relaxed: a count, of which nothing hangs.
            self.shared.long_running.fetch_sub(1, Relaxed);
        } else if let Some(seat) = self.seat_of(post) {
            self.seats[seat] = None;
        }
    }

    /// Where a thread sits; nowhere, when it has sunk.
    fn seat_of(&self, post: &Arc<Post>) -> Option<usize> {
        self.seats.iter().position(|seat| seat.as_ref().is_some_and(|seated| Arc::ptr_eq(seated, post)))
    }

    /// Puts a worker on every empty seat, as far as substitutes are allowed; false when the system gave no thread.
    fn fill_seats(&mut self) -> bool {
        // A seat may be left empty for each thread that is stuck beyond the substitutes allowed.
        let may_be_empty = self.stuck.saturating_sub(self.substitutes);
        // The background's first.
        let empty: Vec<_> = (0..self.seats.len()).rev().filter(|&seat| self.seats[seat].is_none()).collect();
        if self.shared.is_over() {
            return true;
        }
        if may_be_empty > 0 {
            reached!("supervisor: a seat stays empty");
        }
        for &seat in empty.iter().skip(may_be_empty) {
            if let Err(error) = self.seat_worker(seat) {
                reached!("supervisor: the system gives no thread");
                tracing::warn!(seat, %error, "no thread for an empty seat of the worker pool");
                return false;
            }
        }
        true
    }

    fn seat_worker(&mut self, seat: usize) -> io::Result<()> {
        let front = self.shared.front.seats();
        let (level, number, letter) =
            if seat < front { (Level::Short, seat, 'w') } else { (Level::Long, seat - front, 'b') };
        let post = Arc::new(Post::new(self.epoch));
        let worker = Worker::new(Arc::clone(&self.shared), Seat { level, number }, Arc::clone(&post));
        let core = (!self.cores.is_empty()).then(|| self.cores[number % self.cores.len()]);
        stage::spawn(format!("millstream-{letter}{}", self.started), move || worker.main(core))?;
        self.started += 1;
        self.seats[seat] = Some(post);
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Left { post } if post.is_seized() => self.stuck -= 1,
            Event::Left { post } => self.forget(&post),
            Event::Died { post } => {
                tracing::error!("a worker thread died; another takes its place");
                if post.is_seized() {
                    self.stuck -= 1;
                    return;
                }
                self.forget(&post);
                if let Some(occupation) = post.turn().and_then(|turn| post.seize(turn)) {
                    for (task, _) in occupation.tasks() {
                        task.job.refuse(task.unit, Interruption::WorkerLost);
                    }
                }
            }
            Event::Remind { at, waker } => self.reminders.add(at, waker),
            // There is nothing to do but look whether this is the end.
            Event::Over => {}
            Event::Drain { deadline, done } => {
                self.shared.close();
                let drain = self.drain.get_or_insert(Drain { deadline: None, done: Vec::new() });
                drain.done.extend(done);
                drain.deadline = match (drain.deadline, deadline) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
        }
    }

    /// The drain deadline: what waits is refused, what runs is answered for and left behind.
    fn cut_short(mut self) {
        let mut unfinished = 0;
        // A submitter may stand between taking its place and pushing, or run something in place: it is a few instructions
        // away, or as far as its author vouches for.
        while !self.shared.is_over() {
            reached!("supervisor: the deadline leaves messages unstarted");
            unfinished += self.shared.refuse_all(Interruption::ShutDown);
            stage::give_way();
        }
        for post in self.posts() {
            while post.is_moving() {
                // It is a few instructions away from the next turn.
                stage::give_way();
            }
            if let Some(occupation) = post.turn().and_then(|turn| post.seize(turn)) {
                reached!("supervisor: a running message is left behind");
                unfinished += occupation.abandon(Interruption::ShutDown);
            }
        }
        self.conclude(unfinished);
    }

    fn conclude(&mut self, unfinished: usize) {
        // What was withdrawn in the lanes has its answer, and holds its stream.
        self.shared.refuse_all(Interruption::ShutDown);
        if let Some(chore) = &mut self.chore {
            chore.run();
        }
        for done in self.drain.take().into_iter().flat_map(|drain| drain.done) {
            // Whoever asked may have stopped waiting.
            let _ = done.send(Drained { unfinished });
        }
    }
}
