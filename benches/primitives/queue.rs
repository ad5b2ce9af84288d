//! How many elements go through a bounded queue, with one thread at each side and with two?
//!
//! Ours is the lane of the worker pool, by itself. Who finds the queue full, or empty, gives up its core after a while:
//! the same for all.

use std::{
    iter,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crossbeam::{channel, queue::ArrayQueue, utils::Backoff};
use millstream::proof::Lane;
use thingbuf::ThingBuf;

use super::{Figure, speed};

const CAPACITY: usize = 1024;
/// Threads that may stand still in the lane; it has no more room than this beyond its capacity.
const SLACK: usize = 64;
/// Threads at each side.
const SIDES: [usize; 3] = [1, 2, 4];
const ELEMENTS: usize = 2_000_000;
const ELEMENTS_QUICK: usize = 200_000;

/// A bounded queue.
trait Queue: Sync {
    /// Whether there was room.
    fn push(&self, element: u64) -> bool;
    fn pop(&self) -> Option<u64>;
}

impl Queue for ArrayQueue<u64> {
    fn push(&self, element: u64) -> bool {
        self.push(element).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        self.pop()
    }
}

impl Queue for Lane<u64> {
    fn push(&self, element: u64) -> bool {
        self.try_push(element).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        self.pop()
    }
}

impl Queue for (channel::Sender<u64>, channel::Receiver<u64>) {
    fn push(&self, element: u64) -> bool {
        self.0.try_send(element).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        self.1.try_recv().ok()
    }
}

impl Queue for (flume::Sender<u64>, flume::Receiver<u64>) {
    fn push(&self, element: u64) -> bool {
        self.0.try_send(element).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        self.1.try_recv().ok()
    }
}

impl Queue for ThingBuf<u64> {
    fn push(&self, element: u64) -> bool {
        self.push(element).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        self.pop()
    }
}

/// Every queue in turn.
pub(crate) fn run(quick: bool) -> Vec<Figure> {
    let queues: [(&'static str, &dyn Queue); 5] = [
        ("ArrayQueue", &ArrayQueue::new(CAPACITY)),
        ("crossbeam channel", &channel::bounded(CAPACITY)),
        ("flume", &flume::bounded(CAPACITY)),
        ("thingbuf", &ThingBuf::new(CAPACITY)),
        ("millstream", &Lane::new(CAPACITY - SLACK, SLACK)),
    ];
    let elements = if quick { ELEMENTS_QUICK } else { ELEMENTS };
    SIDES.into_iter().flat_map(|side| at(side, &queues, elements)).collect()
}

fn at(side: usize, queues: &[(&'static str, &dyn Queue)], elements: usize) -> Vec<Figure> {
    let mut rounds = vec![Vec::new(); queues.len()];
    for _ in 0..speed::ROUNDS {
        for (round, (_, queue)) in iter::zip(&mut rounds, queues) {
            let taken = pass(*queue, side, elements);
            round.push(elements as f64 / 1e6 / taken.as_secs_f64());
        }
    }
    let figures = iter::zip(queues, rounds).map(|((name, _), round)| Figure {
        question: "queue",
        contender: name,
        threads: 2 * side,
        figure: speed::median(round),
        unit: "million elements/s, half of the threads at each side",
    });
    figures.collect()
}

/// How long it takes `side` threads to put `elements` in, and as many to take them out.
fn pass(queue: &dyn Queue, side: usize, elements: usize) -> Duration {
    let popped = &AtomicUsize::new(0);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..side {
            scope.spawn(move || {
                for element in 0..(elements / side) as u64 {
                    let backoff = Backoff::new();
                    while !queue.push(element) {
                        backoff.snooze();
                    }
                }
            });
            scope.spawn(move || {
                let backoff = Backoff::new();
                let mut mine = 0;
                // Relaxed, both: it is only a count.
                while popped.load(Relaxed) + mine < elements {
                    if queue.pop().is_some() {
                        mine += 1;
                        backoff.reset();
                    } else {
                        popped.fetch_add(mine, Relaxed);
                        mine = 0;
                        backoff.snooze();
                    }
                }
                popped.fetch_add(mine, Relaxed);
            });
        }
    });
    started.elapsed()
}
