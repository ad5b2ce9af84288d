//! Where one message of a stream lives while it is in flight, in reach of the workers.
//!
//! A slot goes round: the stream's task fills it and queues it, a worker (or whoever computes the equal message that it
//! joined) *returns* it, the task answers, and fills it anew. Who may touch what in between is the [`JobState`]'s to say;
//! a slot is filled anew only after it was returned, even when its message was answered long before (a deadline), so
//! messages that still occupy a worker keep counting.

use std::{
    sync::{
        OnceLock,
        atomic::Ordering::{Acquire, Relaxed, Release, SeqCst},
    },
    time::Instant,
};

use super::{MessageHandler, Timing};
use crate::{
    grpc::performance::{
        cache::{FlightWatch, Lead},
        error::OptimizationError,
        monitor::{self, Class},
        worker_pool::{Charge, Handoff, JobState, Life, Priority, Share},
    },
    platform::{atomic::AtomicU32, contain::drop_logged, stage, sync::Mutex, try_lock::TryLock},
};

/// What a worker needs of a message.
pub(super) struct Input<H: MessageHandler> {
    pub(super) request: H::Request,
    /// Position of the message in its stream.
    pub(super) sequence: u64,
    pub(super) class: Class,
    pub(super) priority: Priority,
    pub(super) accepted: Instant,
    pub(super) deadline: Option<Instant>,
    /// Its handler vouches for it: how much of a core it takes is to be learnt.
    pub(super) vouched: bool,
    /// The bytes of the message, given back with it; `None` where there are none, and until they were acquired.
    pub(super) charge: Option<Charge>,
    /// The duty to tell the others who wait for the same answer.
    pub(super) lead: Option<Lead>,
}

/// What became of a message.
pub(super) struct Outcome<H: MessageHandler> {
    pub(super) result: Result<H::Response, OptimizationError>,
    pub(super) cache_hit: bool,
    pub(super) timing: Option<Timing>,
    /// Held until the answer leaves.
    pub(super) charge: Option<Charge>,
}

impl<H: MessageHandler> Outcome<H> {
    /// No result, and nothing to hold on to.
    pub(super) fn failed(error: impl Into<OptimizationError>) -> Self {
        Self { result: Err(error.into()), cache_hit: false, timing: None, charge: None }
    }

    /// As what it is counted.
    pub(super) fn counts_as(&self) -> monitor::Outcome {
        let failure = self.result.as_ref().err().map(OptimizationError::kind);
        failure.map_or(monitor::Outcome::Ok, monitor::Outcome::from)
    }
}

pub(super) struct Slot<H: MessageHandler> {
    pub(super) state: JobState,
    pub(super) input: Handoff<Input<H>>,
    pub(super) outcome: Handoff<Outcome<H>>,
    /// What the message is, for a report of who does not know it: its life, class, and position in its stream. Written
    /// before it is queued, and read when it overstays.
    label: TryLock<(Life, Class, u64)>,
    /// What it adds to the work that waits.
    pub(super) share: Share,
    /// The slot queued behind this one, as a batch.
    pub(super) link: Link,
    /// The slot below this one on the stack of returned slots.
    pub(super) below: AtomicU32,
    /// A turn to compute that came back after its first leader failed. Off the hot path: both the one who passes it on
    /// and a stream that ends may look.
    pub(super) turn: Mutex<Option<Lead>>,
    /// Takes the flight from the message of that life when its handler is stuck. Touched when a leader is queued or
    /// overstays.
    pub(super) watch: Mutex<Option<(Life, FlightWatch)>>,
}

impl<H: MessageHandler> Slot<H> {
    fn new() -> Self {
        Self {
            state: JobState::queued(),
            input: Handoff::empty(),
            outcome: Handoff::empty(),
            label: TryLock::new((Life::ONLY, Class::DEFAULT, 0)),
            share: Share::default(),
            link: Link::new(),
            below: AtomicU32::new(0),
            turn: Mutex::new(None),
            watch: Mutex::new(None),
        }
    }

    /// A message begins its life here, and nobody else knows of it yet.
    pub(super) fn fill(&self, input: Input<H>) {
        self.state.reset();
        self.label(input.class, input.sequence);
        self.input.put(input);
    }

    /// Says what the message is, in the life that it begins. While somebody reads what one before it was, that is left, and
    /// this one is not known: nobody waits.
    fn label(&self, class: Class, number: u64) {
        if let Some(mut label) = self.label.try_lock() {
            *label = (self.state.life(), class, number);
        }
    }

    /// Class and number of the message of that life, if they are known.
    pub(super) fn labelled(&self, life: Life) -> Option<(Class, u64)> {
        let (labelled, class, number) = *self.label.try_lock()?;
        (labelled == life).then_some((class, number))
    }
}

/// A stream that has ended may leave an answer behind that was computed for those who ask later. Whoever lets go of the
/// stream last, a worker maybe, is not to end with it.
impl<H: MessageHandler> Drop for Slot<H> {
    fn drop(&mut self) {
        drop_logged(self.input.take());
        drop_logged(self.outcome.take());
    }
}

/// What follows a queued slot in its batch. Open links can be extended by the stream's task, until the worker that takes
/// the slot cuts them.
pub(super) struct Link(AtomicU32);

const OPEN: u32 = u32::MAX;
const CUT: u32 = u32::MAX - 1;

impl Link {
    fn new() -> Self {
        Self(AtomicU32::new(CUT))
    }

    /// Before the slot is queued, when nobody else knows it. Relaxed: what queues the slot publishes this too.
    pub(super) fn reset(&self) {
        self.0.store(OPEN, Relaxed);
    }

    /// Chains a slot behind this one; false when a worker has come for it already. Release pairs with the Acquire of
    /// `cut`: who follows the link sees the slot filled. Relaxed on failure: there is nothing to follow.
    pub(super) fn extend(&self, slot: u32) -> bool {
        stage::point();
        self.0.compare_exchange(OPEN, slot, Release, Relaxed).is_ok()
    }

    /// Ends the chain here; gives what was chained. Acquire pairs with the Release of `extend`.
    pub(super) fn cut(&self) -> Option<u32> {
        stage::point();
        match self.0.swap(CUT, Acquire) {
            OPEN | CUT => None,
            slot => Some(slot),
        }
    }
}

/// All slots of a stream: more are made as they are needed, none is moved.
pub(super) struct Arena<H: MessageHandler> {
    /// Chunk k holds `first << k` slots.
    chunks: [OnceLock<Box<[Slot<H>]>>; CHUNKS],
    first: u32,
}

/// Enough for the largest `stream_channel_capacity`, even in chunks that begin with one slot.
const CHUNKS: usize = 21;
/// Slots that a stream begins with, unless it may have fewer. Most of what an idle stream holds: few, since a stream that is
/// deeper soon has more (`benches/growth`).
const FIRST: u32 = 4;

impl<H: MessageHandler> Arena<H> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS], first: FIRST.min(capacity as u32) }
    }

    /// Chunk and position of a slot.
    fn place(&self, slot: u32) -> (usize, usize) {
        let chunk = (slot / self.first + 1).ilog2();
        let before = self.first * ((1 << chunk) - 1);
        (chunk as usize, (slot - before) as usize)
    }

    /// Makes sure that a slot is there.
    pub(super) fn grow_to(&self, slot: u32) {
        let (chunk, _) = self.place(slot);
        let slots = self.first << chunk;
        self.chunks[chunk].get_or_init(|| (0..slots).map(|_| Slot::new()).collect());
    }

    pub(super) fn get(&self, slot: u32) -> &Slot<H> {
        let (chunk, position) = self.place(slot);
        &self.chunks[chunk].get().expect("a slot is made before its number is told")[position]
    }
}

/// The slots that were returned and not yet looked at: pushed by many, taken all at once by the stream's task, linked
/// through the slots themselves, so that returning allocates nothing and can never find it full. Without pops of single
/// elements there is no ABA.
pub(super) struct Returned(AtomicU32);

const NONE: u32 = u32::MAX;

impl Returned {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(NONE))
    }

    /// Says whether the stack was empty: whoever finds it so has to wake the task. SeqCst: one side of the handshake
    /// with a task that is about to wait (see `completions`).
    pub(super) fn push<H: MessageHandler>(&self, arena: &Arena<H>, slot: u32) -> bool {
        let below = &arena.get(slot).below;
        // Relaxed, all but the exchange: it publishes the link, and a stale top only makes it fail.
        let mut top = self.0.load(Relaxed);
        loop {
            below.store(top, Relaxed);
            match self.0.compare_exchange_weak(top, slot, SeqCst, Relaxed) {
                Ok(_) => return top == NONE,
                Err(current) => top = current,
            }
        }
    }

    /// Takes all, in the order in which they came.
    pub(super) fn take<H: MessageHandler>(&self, arena: &Arena<H>, into: &mut Vec<u32>) {
        let mut top = self.0.swap(NONE, SeqCst);
        let start = into.len();
        while top != NONE {
            into.push(top);
            // Relaxed: each push read-modify-writes the top, so the swap above acquires all of them.
            top = arena.get(top).below.load(Relaxed);
        }
        into[start..].reverse();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.load(SeqCst) == NONE
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
#[cfg(test)]
pub(super) mod stand_ins;

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::{stand_ins::Idle, *};

    #[test]
    fn a_label_is_of_one_life_and_nobody_waits_for_who_reads_it() {
        let slot = Slot::<Idle>::new();
        slot.label(Class::DEFAULT, 7);
        let first = slot.state.life();
        assert_eq!(slot.labelled(first), Some((Class::DEFAULT, 7)));
        slot.state.reset();
        assert_eq!(slot.labelled(slot.state.life()), None, "it is the one of the message before");
        let reads = slot.label.try_lock();
        slot.label(Class::DEFAULT, 8);
        assert_eq!(slot.labelled(first), None, "somebody is at it");
        drop(reads);
        assert_eq!(slot.labelled(first), Some((Class::DEFAULT, 7)));
    }
}
