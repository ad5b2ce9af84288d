//! Messages of unknown length that turn out long while short ones wait behind them.
//!
//! While something short waits ([`haste`](super::super::haste)), the supervisor looks at the front's posts every
//! millisecond or so. A thread that has been at one message for longer than anything short takes, and was on its core
//! for half of that since it was first seen there, *sinks* with it: it goes on at the lowest scheduling class, and a
//! fresh worker takes its seat at once. So at any time the front has as many workers as it is to have, and none of them
//! is at anything long for longer than the limit and two looks.
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
};
use crate::platform::{
    scheduling::{cpu_time_of, give_way_wholly},
    stage::reached,
};

/// Between two looks while there is something to be found, and when there was nothing for a while: a look costs a wake
/// of the supervisor, some 15 µs of a core.
const STEP: Duration = Duration::from_millis(1);
const LONGEST_STEP: Duration = Duration::from_millis(4);

pub(super) struct Overruns {
    bell: Receiver<()>,
    /// Between two looks; `None` while nobody has rung.
    step: Option<Duration>,
    /// By seat of the front: where its thread was first seen at its present message.
    seen: Vec<Option<Sighting>>,
    /// Threads that have sunk and are not back.
    sunk: Vec<Arc<Post>>,
    most_sunk: usize,
}

#[derive(Clone, Copy)]
struct Sighting {
    turn: Turn,
    cpu_time: Duration,
}

impl Overruns {
    pub(super) fn new(bell: Receiver<()>, seats: usize, most_sunk: usize) -> Self {
        Self { bell, step: None, seen: vec![None; seats], sunk: Vec::new(), most_sunk }
    }

    pub(super) fn bell(&self) -> &Receiver<()> {
        &self.bell
    }

    /// Somebody has announced a short message.
    pub(super) fn rung(&mut self) {
        self.step.get_or_insert(STEP);
    }

    pub(super) fn sunk(&self) -> &[Arc<Post>] {
        &self.sunk
    }

    /// Strikes a thread off those that have sunk; false when it is none of them.
    pub(super) fn strike(&mut self, post: &Arc<Post>) -> bool {
        let found = self.sunk.iter().position(|sunk| Arc::ptr_eq(sunk, post));
        found.map(|found| self.sunk.swap_remove(found)).is_some()
    }
}

impl Supervisor {
    /// Looks for overruns, if somebody has rung; says when to look again.
    pub(super) fn inspect_overruns(&mut self, now: Instant) -> Option<Instant> {
        let step = self.overruns.step?;
        let Some(limit) = self.shared.forecast.longest_short() else {
            self.overruns.step = None;
            return None;
        };
        let mut found = false;
        for seat in 0..self.overruns.seen.len() {
            if let Some(turn) = self.overrun(seat, limit, now) {
                self.sink(seat, turn);
                found = true;
            }
        }
        if !self.shared.haste.is_announced() && self.shared.haste.stop_watching() {
            self.overruns.step = None;
            return None;
        }
        let step = if found { STEP } else { (2 * step).min(LONGEST_STEP) };
        self.overruns.step = Some(step);
        Some(now + step)
    }

    /// The message at a seat of the front that has run for too long, and with it its thread.
    fn overrun(&mut self, seat: usize, limit: Duration, now: Instant) -> Option<Turn> {
        let post = self.seats[seat].as_ref()?;
        let turn = post.turn()?;
        let cpu_time = cpu_time_of(post.thread()?)?;
        let seen = &mut self.overruns.seen[seat];
        let first = *seen.get_or_insert(Sighting { turn, cpu_time });
        if first.turn != turn {
            *seen = Some(Sighting { turn, cpu_time });
            return None;
        }
        let is_over = now.saturating_duration_since(turn.started) > limit
            && cpu_time.saturating_sub(first.cpu_time) > limit / 2;
        let is_in_the_way = !self.shared.front.lanes.is_empty();
        let may_sink = self.overruns.sunk.len() < self.overruns.most_sunk && self.stuck <= self.substitutes;
        (is_over && is_in_the_way && may_sink).then_some(turn)
    }

    /// Sends a thread down with its message, unless that is just done. Its seat is empty then.
    fn sink(&mut self, seat: usize, turn: Turn) {
        let Some(post) = self.seats[seat].take_if(|post| post.sink(turn)) else { return };
        reached!("supervisor: a thread sinks with its message");
        self.overruns.seen[seat] = None;
        if let Err(error) = give_way_wholly(post.thread()) {
            self.shared.report_afloat(&error);
        }
        post.settle();
        // Relaxed: a count, of which nothing hangs.
        self.shared.long_running.fetch_add(1, Relaxed);
        self.overruns.sunk.push(post);
    }
}
