//! Messages of unknown length that turn out long while short ones wait behind them.
//!
//! While something short waits ([`haste`](super::super::haste)), the supervisor looks at the front's posts. A thread that
//! has been at one message for twice as long as anything short takes, and was on its core for half of that since it was first
//! seen there, *sinks* with it: it goes on at the lowest scheduling class, on a core that [`sunk`](super::sunk) chooses, and
//! a fresh worker takes its seat at once. So at any time the front has as many workers as it is to have, and none of them is
//! at anything long for much longer than the limit.
//!
//! **When to look.** A thread that is seen at a message which is on its way to be too long is looked at again in the very
//! moment in which it will be. Where nothing like that is seen, looks are rarer and rarer, up to a bound: shorts alone
//! make them useless, and each costs a wake of the supervisor.
//!
//! **Who lends** its worker to what waits, in its checkpoints ([`interlude`](super::super::interlude)), need not sink: such
//! a loan is a turn of its own, and what is at another turn at the next look was not in the way. So who is found to be is
//! looked at once more before it sinks, a moment later.
//!
//! What blocks uses no CPU time, and does not sink: another worker in its place would be one more than there are cores
//! for. Such threads are the business of `worker_timeout`.
//!
//! A thread can enter the lowest class, but not leave it again, so each that sinks is lost to the front: it ends when its
//! message is done. `worker_demotions` bounds how many may be on their way at a time, and with them the memory that their
//! stacks take; at the bound long messages stay where they are, and the pool is as good as first come, first served. So
//! do they where stuck threads have used up the substitutes: then nobody would take the seat.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use crossbeam::channel::Receiver;

use super::{
    super::post::{Post, Turn},
    Supervisor,
    sunk::Sunk,
};
use crate::platform::{
    affinity::Core,
    scheduling::{cpu_time_of, give_way_wholly},
    stage::reached,
};

/// A message has overrun at so many times what the longest short class takes. Where lengths follow one law there is
/// nothing to be told apart: three in a hundred of an exponential one exceed five times the median, and those that sank
/// would be its p99; one in a thousand exceeds ten times.
const OVERRUN: u32 = 2;
/// Between two looks while there is something to be found, and when there was nothing for a while: a look costs a wake
/// of the supervisor, some 15 µs of a core.
const STEP: Duration = Duration::from_millis(1);
const LONGEST_STEP: Duration = Duration::from_millis(4);
/// No look is sooner after the one before it.
const SHORTEST_STEP: Duration = Duration::from_micros(200);

pub(super) struct Overruns {
    bell: Receiver<()>,
    /// Between two looks; `None` while nobody has rung.
    step: Option<Duration>,
    /// By seat of the front: where its thread was first seen at its present message.
    seen: Vec<Option<Sighting>>,
    sunk: Sunk,
    most_sunk: usize,
}

/// What comes of a look at a thread of the front.
enum Look {
    /// It is at nothing that is in the way, or may not sink.
    Well,
    /// It will have run for too long at that time, if it is not done by then.
    Due(Instant),
    /// It has run for too long.
    Over(Turn),
}

#[derive(Clone, Copy)]
struct Sighting {
    turn: Turn,
    cpu_time: Duration,
    /// Whether it was to sink at the last look already.
    in_the_way: bool,
}

impl Sighting {
    fn in_the_way(self) -> Self {
        Self { in_the_way: true, ..self }
    }
}

impl Overruns {
    /// For so many seats of the front, of whose threads at most so many may have sunk at a time.
    pub(super) fn new(bell: Receiver<()>, seats: usize, most_sunk: usize, cores: &[Core]) -> Self {
        Self { bell, step: None, seen: vec![None; seats], sunk: Sunk::new(cores), most_sunk }
    }

    pub(super) fn bell(&self) -> &Receiver<()> {
        &self.bell
    }

    /// Somebody has announced a short message.
    pub(super) fn rung(&mut self) {
        self.step.get_or_insert(STEP);
    }

    pub(super) fn sunk(&self) -> &[Arc<Post>] {
        self.sunk.posts()
    }

    /// Strikes a thread off those that have sunk; false when it is none of them.
    pub(super) fn strike(&mut self, post: &Arc<Post>) -> bool {
        self.sunk.strike(post)
    }
}

impl Supervisor {
    /// Looks for overruns, if somebody has rung; says when to look again.
    pub(super) fn inspect_overruns(&mut self, now: Instant) -> Option<Instant> {
        let step = self.overruns.step?;
        let Some(limit) = self.shared.forecast.longest_short().map(|longest| OVERRUN * longest) else {
            self.overruns.step = None;
            return None;
        };
        let (mut found, mut due) = (false, None::<Instant>);
        for seat in 0..self.overruns.seen.len() {
            match self.look_at(seat, limit, now) {
                Look::Well => {}
                Look::Due(at) => due = Some(due.map_or(at, |due| due.min(at))),
                Look::Over(turn) => {
                    self.sink(seat, turn);
                    found = true;
                }
            }
        }
        if !self.shared.haste.is_announced() && self.shared.haste.stop_watching() {
            self.overruns.step = None;
            return None;
        }
        let step = if found || due.is_some() { STEP } else { (2 * step).min(LONGEST_STEP) };
        self.overruns.step = Some(step);
        let look = due.map_or(now + step, |due| due.min(now + step));
        Some(look.max(now + SHORTEST_STEP))
    }

    /// Whether the message at a seat of the front has run for too long, or when it will have.
    fn look_at(&mut self, seat: usize, limit: Duration, now: Instant) -> Look {
        let Some(Sighting { turn, cpu_time, in_the_way }) = self.sight(seat) else { return Look::Well };
        let may_sink = self.overruns.sunk().len() < self.overruns.most_sunk && self.stuck <= self.substitutes;
        if !may_sink || self.shared.front.lanes.is_empty() {
            return Look::Well;
        }
        let ran = now.saturating_duration_since(turn.started);
        let left = limit.saturating_sub(ran).max((limit / 2).saturating_sub(cpu_time));
        match left {
            Duration::ZERO if in_the_way => Look::Over(turn),
            Duration::ZERO => {
                self.overruns.seen[seat] = self.overruns.seen[seat].map(Sighting::in_the_way);
                Look::Due(now + SHORTEST_STEP)
            }
            // What has hardly begun is short, most likely.
            _ if ran < limit / 4 => Look::Well,
            left => Look::Due(now + left),
        }
    }

    /// What the thread at a seat is at, and the CPU time that it has used since it was first seen at that.
    fn sight(&mut self, seat: usize) -> Option<Sighting> {
        let post = self.seats[seat].as_ref()?;
        let turn = post.turn()?;
        let cpu_time = cpu_time_of(post.thread()?)?;
        let now = Sighting { turn, cpu_time, in_the_way: false };
        let seen = &mut self.overruns.seen[seat];
        let first = seen.take_if(|first| first.turn == turn).unwrap_or(now);
        *seen = Some(Sighting { in_the_way: false, ..first });
        Some(Sighting { cpu_time: cpu_time.saturating_sub(first.cpu_time), ..first })
    }

    /// Sends a thread down with its message, unless that is just done. Its seat is empty then.
    fn sink(&mut self, seat: usize, turn: Turn) {
        let Some(post) = self.seats[seat].take_if(|post| post.sink(turn)) else { return };
        reached!("supervisor: a thread sinks with its message");
        self.overruns.seen[seat] = None;
        if let Err(error) = give_way_wholly(post.thread()) {
            self.shared.report_afloat(&error);
        }
        post.release();
        // Relaxed: a count, of which nothing hangs.
        self.shared.long_running.fetch_add(1, Relaxed);
        self.overruns.sunk.add(post);
    }
}
