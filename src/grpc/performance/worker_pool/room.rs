//! Room: how many messages may wait, how many bytes may be in flight, and who gets the next place.
//!
//! **What is counted.** A *place* is held by a message from its admission until a worker starts it (or it is refused, or
//! withdrawn); its *bytes* are held until it has been answered. Both sit in one atomic word, [`Usage`], so that one
//! compare-exchange takes both or neither, and the bounds are exact at every moment.
//!
//! The bound on bytes is exact for what is accepted. An answer that weighs more than its message is charged when it is
//! there, and may exceed the bound; then nothing more is accepted, and nothing accepted is started
//! ([`Room::is_overdrawn`]), until answers have left: so the excess is at most one answer for each worker. An answer from
//! the cache holds bytes as well, without a place ([`Room::try_acquire_bytes`]).
//!
//! **Fast path.** [`Room::try_acquire`] and [`Room::release`] are one compare-exchange each while nobody waits. Nothing
//! overtakes a waiter of its own or a higher priority.
//!
//! **Waiting.** Who finds no room queues a [`Waiter`] (lock-free, one queue for each priority), and is handed a place by
//! whoever releases one: [`Room::settle`] takes room *for* the head of a queue and then tells it, so that a woken waiter
//! never has to compete. The turn between the priorities is that of the lanes, and moves on only when a place was given:
//! the head whose turn it is may be large, and nobody takes the bytes that it waits for.
//!
//! **Who comes back** (a message that gave its place away, to wait for an equal one, and is to compute after all) holds its
//! bytes, and lacks a place only. It waits in a queue of its own, which is served before all others: those there may wait
//! for the very bytes that it holds. For the same reason the bound on bytes does not hold it up.
//!
//! **Settling** is done by one thread at a time, and nobody waits for it: `settling` counts the calls, the first caller
//! settles, the others leave at once, and it goes round again until the count has stood still. A release that comes
//! while somebody settles is therefore seen by that somebody.
//!
//! **No waiter is forgotten.** A waiter settles once after it has queued; a release settles when it finds a waiter. By
//! the total order of these (all SeqCst), either the release sees the waiter, or the waiter's own settling sees the
//! release. A waiter that is held back by `backpressure_threshold` alone implies that something is in flight, whose
//! release comes.
//!
//! **Closing** ends all waiting, and refuses all that comes later: the closed bit is in the same word as the usage. A
//! place that was handed over is *promised* until its waiter has looked, which may be never: who looks after the closing
//! gives it back. So the room is [over](Room::is_over) when it is closed and every place still held is a promised one:
//! from then on nobody will queue anything. By whose hand it is over (a release, the closing, the handing over of a
//! place that was taken before it) tells those who wait for that: the workers, who may all be asleep, and the supervisor,
//! where no worker is left. They may be told more than once.

mod charge;
mod pressure;
mod usage;
mod waiter;

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Instant,
};

use crossbeam::utils::CachePadded;

use self::{pressure::Pressure, usage::Usage, waiter::Waiter};
use super::{lanes, priority::Priority};
use crate::{
    grpc::performance::config::OptimizationConfig,
    platform::{
        atomic::AtomicUsize,
        clock,
        stage::{self, reached},
        sync::{Mutex, SegQueue},
    },
};

pub(crate) use self::{charge::Charge, usage::NoRoom, waiter::Waiting};

/// The queue of those who come back; those of the priorities are before it, by rank.
const RETURNING: usize = 3;

/// The bounds, and who holds what of them.
pub(crate) struct Room {
    usage: CachePadded<Usage>,
    messages: usize,
    bytes: usize,
    pressure: Pressure,
    /// Places handed to waiters who have not looked yet.
    promised: AtomicUsize,
    /// Waiters queued and not yet dealt with, by queue.
    waiting: [AtomicUsize; 4],
    queues: [SegQueue<Arc<Waiter>>; 4],
    settling: CachePadded<AtomicUsize>,
    /// What the settling thread remembers between rounds; only ever tried by the one that settles.
    desk: Mutex<Desk>,
    /// Tells those who wait for that that it is over.
    tell: Box<dyn Fn() + Send + Sync>,
}

/// A share of a whole, which mostly is all of it.
fn part(whole: usize, share: f64) -> usize {
    if share < 1.0 { (whole as f64 * share) as usize } else { whole }
}

/// The heads of the queues, and whose turn it is.
#[derive(Default)]
struct Desk {
    heads: [Option<Arc<Waiter>>; 4],
    turn: usize,
}

impl Room {
    /// An open room; `tell` is called when it is over.
    pub(super) fn new(config: &OptimizationConfig, tell: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            usage: CachePadded::new(Usage::new()),
            messages: config.worker_queue_capacity,
            bytes: config.max_bytes_in_flight,
            pressure: Pressure::new(config.backpressure_threshold, config.backpressure_window),
            promised: AtomicUsize::new(0),
            waiting: [(); 4].map(|()| AtomicUsize::new(0)),
            queues: [(); 4].map(|()| SegQueue::new()),
            settling: CachePadded::new(AtomicUsize::new(0)),
            desk: Mutex::new(Desk::default()),
            tell: Box::new(tell),
        }
    }

    /// Bytes that may be in flight.
    pub(crate) fn byte_capacity(&self) -> usize {
        self.bytes
    }

    /// Messages that may wait.
    pub(crate) fn capacity(&self) -> usize {
        self.messages
    }

    /// Messages that hold a place.
    pub(crate) fn places_held(&self) -> usize {
        self.usage.read().messages
    }

    /// Bytes in flight.
    pub(crate) fn bytes_held(&self) -> usize {
        self.usage.read().bytes
    }

    /// Half of the places, or of the bytes, are taken.
    pub(crate) fn is_half_full(&self) -> bool {
        let usage = self.usage.read();
        usage.messages >= self.messages / 2 || usage.bytes >= self.bytes / 2
    }

    /// Answers have piled up beyond the bound on bytes.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.usage.read().bytes > self.bytes
    }

    /// Takes a place and `bytes`, at once or not at all.
    pub(crate) fn try_acquire(&self, priority: Priority, bytes: usize, now: Instant) -> Result<(), NoRoom> {
        self.acquire(priority, 1, bytes, now)
    }

    /// Takes `bytes`, at once or not at all, for an answer that needs no worker.
    pub(crate) fn try_acquire_bytes(
        &self,
        priority: Priority,
        bytes: usize,
        now: Instant,
    ) -> Result<(), NoRoom> {
        self.acquire(priority, 0, bytes, now)
    }

    fn acquire(&self, priority: Priority, places: usize, bytes: usize, now: Instant) -> Result<(), NoRoom> {
        stage::point();
        // SeqCst as everything that concerns waiters: see the module.
        let waits = |count: &AtomicUsize| count.load(SeqCst) > 0;
        if waits(&self.waiting[RETURNING]) || self.waiting[..=priority.rank()].iter().any(waits) {
            return Err(if self.usage.read().closed { NoRoom::Closed } else { NoRoom::Full });
        }
        self.take(places, bytes, now)
    }

    /// Queues for a place and `bytes` (at most [`byte_capacity`](Self::byte_capacity)).
    pub(crate) fn wait(self: &Arc<Self>, priority: Priority, bytes: usize) -> Waiting {
        debug_assert!(bytes <= self.bytes, "a message larger than the room waits for ever");
        self.wait_in(priority.rank(), bytes)
    }

    /// Takes a place, at once or not at all, for a message that holds its bytes.
    pub(crate) fn try_return(&self, now: Instant) -> Result<(), NoRoom> {
        if self.waiting[RETURNING].load(SeqCst) > 0 {
            return Err(if self.usage.read().closed { NoRoom::Closed } else { NoRoom::Full });
        }
        self.take_place(now)
    }

    /// Queues for a place, for a message that holds its bytes.
    pub(crate) fn wait_to_return(self: &Arc<Self>) -> Waiting {
        self.wait_in(RETURNING, 0)
    }

    fn wait_in(self: &Arc<Self>, queue: usize, bytes: usize) -> Waiting {
        let waiter = Arc::new(Waiter::new(bytes));
        self.waiting[queue].fetch_add(1, SeqCst);
        stage::point();
        self.queues[queue].push(Arc::clone(&waiter));
        stage::point();
        self.settle();
        Waiting::new(Arc::clone(self), waiter)
    }

    /// Gives back places and bytes, to who waits first.
    pub(crate) fn release(&self, places: usize, bytes: usize) {
        let left = self.usage.give(places, bytes);
        stage::point();
        if self.waiting.iter().any(|count| count.load(SeqCst) > 0) {
            self.settle();
        }
        if left.closed {
            self.tell_if_over();
        }
    }

    /// Refuses everything from now on; who waits is told.
    pub(crate) fn close(&self) {
        self.usage.close();
        self.settle();
        self.tell_if_over();
    }

    /// Whether everything is refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.usage.read().closed
    }

    /// Closed, and nobody holds a place who may still use it: nothing will ever be queued again.
    pub(crate) fn is_over(&self) -> bool {
        let usage = self.usage.read();
        usage.closed && usage.messages <= self.promised.load(SeqCst)
    }

    fn tell_if_over(&self) {
        if self.is_over() {
            (self.tell)();
        }
    }

    /// A waiter looks at the place that it was promised: its own from now on, if the room is still open.
    fn claim(&self, bytes: usize) -> Result<(), NoRoom> {
        self.promised.fetch_sub(1, SeqCst);
        stage::point();
        if self.usage.read().closed {
            reached!("room: a promise is claimed after the closing");
            self.release(1, bytes);
            return Err(NoRoom::Closed);
        }
        Ok(())
    }

    /// A waiter leaves without having looked at the place that it was promised.
    fn decline(&self, bytes: usize) {
        reached!("room: a promise is declined");
        self.promised.fetch_sub(1, SeqCst);
        self.release(1, bytes);
    }

    fn take(&self, places: usize, bytes: usize, now: Instant) -> Result<(), NoRoom> {
        let share = self.open_share(now);
        // Sustained load leaves less than everything, but always room for one message when there is no other.
        let byte_limit = part(self.bytes, share).max(bytes.min(self.bytes));
        self.usage.take(places, bytes, self.places(share), byte_limit)
    }

    fn take_place(&self, now: Instant) -> Result<(), NoRoom> {
        self.usage.take(1, 0, self.places(self.open_share(now)), usize::MAX)
    }

    fn places(&self, share: f64) -> usize {
        part(self.messages, share).max(1)
    }

    fn open_share(&self, now: Instant) -> f64 {
        let usage = self.usage.read();
        let load =
            || (usage.messages as f32 / self.messages as f32).max(usage.bytes as f32 / self.bytes as f32);
        self.pressure.open_share(load, now)
    }

    /// Hands room to waiters. See the module.
    pub(super) fn settle(&self) {
        if self.settling.fetch_add(1, SeqCst) != 0 {
            reached!("room: somebody else settles");
            return;
        }
        loop {
            let calls = self.settling.load(SeqCst);
            self.hand_over();
            stage::point();
            if self.settling.compare_exchange(calls, 0, SeqCst, SeqCst).is_ok() {
                break;
            }
        }
        self.tell_if_over();
    }

    /// One round of settling: as many waiters as there is room for.
    fn hand_over(&self) {
        let mut desk = self.desk.try_lock().expect("one thread settles at a time");
        let now = clock::now();
        loop {
            for queue in 0..self.queues.len() {
                self.fetch_head(&mut desk, queue);
            }
            let mut order = [RETURNING].into_iter().chain(lanes::priorities(desk.turn));
            let Some(queue) = order.find(|&queue| desk.heads[queue].is_some()) else { return };
            let head = desk.heads[queue].as_ref().expect("the queue was chosen for its head");
            let returns = queue == RETURNING;
            match if returns { self.take_place(now) } else { self.take(1, head.bytes(), now) } {
                Ok(()) => {
                    stage::point();
                    self.promised.fetch_add(1, SeqCst);
                    if head.grant() {
                        desk.turn += usize::from(!returns);
                    } else {
                        // It left in this moment; its room goes to the next.
                        self.promised.fetch_sub(1, SeqCst);
                        self.usage.give(1, head.bytes());
                    }
                }
                Err(NoRoom::Closed) => head.close(),
                Err(NoRoom::Full) => return,
            }
            self.dismiss(&mut desk, queue);
        }
    }

    /// Makes the head of a queue one that still waits, if there is one.
    fn fetch_head(&self, desk: &mut Desk, queue: usize) {
        while desk.heads[queue].as_ref().is_none_or(|head| head.has_left()) {
            if desk.heads[queue].is_some() {
                self.dismiss(desk, queue);
            }
            match self.queues[queue].pop() {
                Some(waiter) => desk.heads[queue] = Some(waiter),
                None => return,
            }
        }
    }

    fn dismiss(&self, desk: &mut Desk, queue: usize) {
        desk.heads[queue] = None;
        self.waiting[queue].fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests;

#[cfg(all(test, millstream_loom))]
mod loom_tests;
