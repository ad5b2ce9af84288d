//! How many elements go through a bounded queue, with one thread at each side and with more?
//!
//! Ours is the lane of the worker pool, by itself. Who finds the queue full, or empty, gives up its core after a while:
//! the same for all.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crossbeam::{channel, queue::ArrayQueue, utils::Backoff};
use millstream::proof::Lane;
use thingbuf::ThingBuf;

use crate::room::{Better, Contender, Effort, Measure, Room, Standing};

pub(crate) const ROOM: Room =
    Room { name: "queue", question: "How many elements go through a bounded queue?", measure };

const CAPACITY: usize = 1024;
/// Threads with a cell of their own in the lane, and cells for others, as in the worker pool.
const OWN: usize = 128;
const LOANS: usize = 16;
/// Threads at each side.
const SIDES: [usize; 4] = [1, 2, 4, 8];
/// Elements that pass in one round, for each millisecond that it may take.
const ELEMENTS_PER_MS: usize = 5_000;

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

fn measure(effort: &Effort) -> Vec<Measure> {
    let queues: [(&'static str, Standing, &dyn Queue); 5] = [
        ("ArrayQueue", Standing::Peer, &ArrayQueue::new(CAPACITY)),
        ("crossbeam channel", Standing::Peer, &channel::bounded(CAPACITY)),
        ("flume", Standing::Peer, &flume::bounded(CAPACITY)),
        ("thingbuf", Standing::Peer, &ThingBuf::new(CAPACITY)),
        ("millstream", Standing::Ours, &Lane::new(CAPACITY, OWN, LOANS)),
    ];
    let elements = ELEMENTS_PER_MS * effort.time.as_millis() as usize;
    let at = |side: usize| {
        let contenders = queues.iter().map(|&(name, standing, queue)| {
            Contender::new(name, standing, move || {
                elements as f64 / 1e6 / pass(queue, side, elements).as_secs_f64()
            })
        });
        Measure::take(
            format!("through a queue with room for 1,024, {side} threads at each side"),
            "million elements/s",
            Better::More,
            effort,
            contenders.collect(),
        )
    };
    SIDES.into_iter().map(at).collect()
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
