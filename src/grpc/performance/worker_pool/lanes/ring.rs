//! A queue of small numbers in which nobody waits for anybody: a thread that is stopped at any instruction holds up no
//! other, neither those who put nor those who take.
//!
//! Places are numbered for ever: place `p` is slot `p % slots` in lap `p / slots`. A slot is one word, the lap, whether it
//! is filled, and a number; so one exchange does the whole of a put, or of a take:
//! ```text
//!              put: its number in, the other out            take: likewise
//!  lap n, vacant, a ──────────────────────────▶ lap n, filled, b ──────────────▶ lap n + 1, vacant, c
//! ```
//! A slot is never without a number. Who puts one in gets the one that lay there, and who takes one out leaves another:
//! numbers are exchanged, so that nobody needs a second queue for those that are free ([`lane`](super::lane) says what
//! they are for).
//!
//! **Order and bound.** A put goes to the first place that is not filled, since one goes to the next only after it has
//! seen this one filled; a take goes to the first that has not been vacated, likewise. A slot that is vacant in the lap of
//! the place where one wants to take says that nothing was put there, nor anywhere behind: the queue is empty at that
//! moment. A slot still in the lap before, where one wants to put, says that as many lie in the queue as there are slots:
//! it is full at that moment. Neither has to be looked at twice, however old the place is from which one set out: a place
//! that is too early shows a later lap, or a filled slot, and a later one is sought.
//!
//! **Where to begin.** Each thread remembers where it was last. `head` and `tail` are for those who find that others were
//! there since; they are never ahead of the truth, may be behind it, and are brought up once in a while: each
//! [`AMONG_OTHERS`] places, or where one thread is by itself each [`SOLITARY`], for the write to a line that all read costs
//! as much as the exchange itself. Who begins too early walks on over slots that lie in one or a few cache lines.
//!
//! **No word twice (ABA).** Laps only grow, so a slot never has the same word twice before its laps come round. The bits
//! that the number leaves them last for 2^63 places, times slots and divided by numbers (rounded up to a power of two): in
//! the lanes of a pool for 2^60 or more, three centuries at a hundred million a second, and all of that would have to
//! happen between one load and the exchange after it.
//!
//! Everything is SeqCst: whoever looks for work before it sleeps relies on one order for all (see
//! [`sleepers`](super::super::sleepers)), and on x86-64 an exchange costs the same whatever it is called.

use std::sync::atomic::Ordering::SeqCst;

use crossbeam::utils::{Backoff, CachePadded};

use crate::platform::{atomic::AtomicU64, stage};

/// Places after which `head` or `tail` is brought up (powers of two), by a thread that found where it was last outdated, and by one that
/// did not. Measured (`cargo bench --bench primitives`): at 1 a queue passes a third less.
const AMONG_OTHERS: u64 = 8;
const SOLITARY: u64 = 64;

/// How a slot's word is put together: bit 0 whether it is filled, then the number, the rest the lap.
#[derive(Clone, Copy)]
struct Layout {
    number_bits: u32,
    /// log2 of the number of slots.
    order: u32,
}

/// A slot's word, taken apart.
#[derive(Clone, Copy)]
struct Slot {
    lap: u64,
    filled: bool,
    number: u32,
}

impl Layout {
    fn unpack(self, word: u64) -> Slot {
        Slot {
            lap: word >> (self.number_bits + 1),
            filled: word & 1 == 1,
            number: ((word >> 1) & ((1 << self.number_bits) - 1)) as u32,
        }
    }

    fn pack(self, Slot { lap, filled, number }: Slot) -> u64 {
        lap << (self.number_bits + 1) | u64::from(number) << 1 | u64::from(filled)
    }

    fn lap(self, place: u64) -> u64 {
        place >> self.order
    }

    fn index(self, place: u64) -> usize {
        (place & ((1 << self.order) - 1)) as usize
    }

    /// The place after the last one that the slot at `place` was used for, in the given lap.
    fn after(self, place: u64, lap: u64) -> u64 {
        (lap << self.order | self.index(place) as u64) + 1
    }
}

/// What one got for one's number, and where to begin the next time.
pub(super) struct Exchanged {
    pub(super) number: u32,
    pub(super) next: u64,
}

/// There is no room to put a number, or none to be taken; and where to begin the next time.
pub(super) struct Refused {
    pub(super) next: u64,
}

/// See the module.
pub(super) struct Ring {
    head: CachePadded<AtomicU64>,
    tail: CachePadded<AtomicU64>,
    slots: Box<[AtomicU64]>,
    layout: Layout,
}

impl Ring {
    /// A queue with so many slots, a power of two, for numbers below `numbers`. The first ones, one for each slot, are in
    /// the vacant slots; the others are the caller's.
    pub(super) fn new(slots: usize, numbers: usize) -> Self {
        debug_assert!(slots.is_power_of_two() && slots <= numbers && numbers <= 1 << 30);
        let layout = Layout {
            number_bits: usize::BITS - (numbers - 1).leading_zeros(),
            order: slots.trailing_zeros(),
        };
        let vacant = |number| AtomicU64::new(layout.pack(Slot { lap: 0, filled: false, number }));
        Self {
            head: CachePadded::new(AtomicU64::new(0)),
            tail: CachePadded::new(AtomicU64::new(0)),
            slots: (0..slots as u32).map(vacant).collect(),
            layout,
        }
    }

    /// A place to begin with, for a thread that remembers none.
    pub(super) fn head(&self) -> u64 {
        self.head.load(SeqCst)
    }

    /// As [`head`](Self::head), for a put.
    pub(super) fn tail(&self) -> u64 {
        self.tail.load(SeqCst)
    }

    /// Puts a number behind the last, and gets a vacant one for it.
    #[inline]
    pub(super) fn put(&self, number: u32, begin: u64) -> Result<Exchanged, Refused> {
        let (mut place, mut pace) = (begin, SOLITARY);
        let backoff = Backoff::new();
        loop {
            let (at, lap) = (&self.slots[self.layout.index(place)], self.layout.lap(place));
            let word = at.load(SeqCst);
            let slot = self.layout.unpack(word);
            if slot.lap < lap {
                return Err(Refused { next: place });
            }
            if slot.filled || slot.lap > lap {
                // Vacant in a lap, it was filled in the one before.
                let filled = slot.lap - u64::from(!slot.filled);
                place = self.layout.after(place, filled).max(self.tail());
                pace = AMONG_OTHERS;
                continue;
            }
            let filled = self.layout.pack(Slot { lap, filled: true, number });
            stage::point();
            if at.compare_exchange(word, filled, SeqCst, SeqCst).is_ok() {
                let next = place + 1;
                bring_up(&self.tail, next, pace);
                return Ok(Exchanged { number: slot.number, next });
            }
            // Somebody else got on.
            backoff.spin();
        }
    }

    /// Takes the number that was put first, and leaves a vacant one for it.
    #[inline]
    pub(super) fn take(&self, number: u32, begin: u64) -> Result<Exchanged, Refused> {
        let (mut place, mut pace) = (begin, SOLITARY);
        let backoff = Backoff::new();
        loop {
            let (at, lap) = (&self.slots[self.layout.index(place)], self.layout.lap(place));
            let word = at.load(SeqCst);
            let slot = self.layout.unpack(word);
            if slot.lap > lap {
                place = self.layout.after(place, slot.lap - 1).max(self.head());
                pace = AMONG_OTHERS;
                continue;
            }
            if !slot.filled {
                return Err(Refused { next: place });
            }
            let vacant = self.layout.pack(Slot { lap: lap + 1, filled: false, number });
            stage::point();
            if at.compare_exchange(word, vacant, SeqCst, SeqCst).is_ok() {
                let next = place + 1;
                bring_up(&self.head, next, pace);
                return Ok(Exchanged { number: slot.number, next });
            }
            backoff.spin();
        }
    }

    /// The first place that was not vacated, a moment ago.
    fn first(&self, begin: u64) -> u64 {
        let mut place = begin;
        loop {
            let slot = self.slot(place);
            if slot.lap <= self.layout.lap(place) {
                return place;
            }
            place = self.layout.after(place, slot.lap - 1).max(self.head());
        }
    }

    /// Whether there was nothing to take, a moment ago; `begin` is where the caller took last, or 0.
    pub(super) fn is_empty(&self, begin: u64) -> bool {
        let place = self.first(self.head().max(begin));
        let slot = self.slot(place);
        slot.lap == self.layout.lap(place) && !slot.filled
    }

    /// Numbers in the queue, counted up to `most`: never fewer than there are, and more only while others put and take.
    /// `begin` is where the caller put last, or 0.
    ///
    /// Counted from the tail back to the first that was taken: those before it were taken earlier. So it takes no look
    /// at more than the few that the caller wants to know of, wherever the head is.
    pub(super) fn len_up_to(&self, most: usize, begin: u64) -> usize {
        let mut tail = self.tail().max(begin);
        loop {
            let slot = self.slot(tail);
            if slot.lap < self.layout.lap(tail) || (slot.lap == self.layout.lap(tail) && !slot.filled) {
                break;
            }
            tail = self.layout.after(tail, slot.lap - u64::from(!slot.filled)).max(self.tail());
        }
        let is_there = |place: u64| {
            let slot = self.slot(place);
            slot.filled && slot.lap == self.layout.lap(place)
        };
        let filled = (tail - tail.min(self.slots.len() as u64)..tail).rev();
        filled.take(most).take_while(|&place| is_there(place)).count()
    }

    fn slot(&self, place: u64) -> Slot {
        self.layout.unpack(self.slots[self.layout.index(place)].load(SeqCst))
    }
}

/// Tells others how far one is, if it is time to. In vain where somebody else was faster.
#[inline]
fn bring_up(mark: &AtomicU64, place: u64, pace: u64) {
    // A multiple of the pace, without a division.
    if place & (pace - 1) == 0 {
        let behind = mark.load(SeqCst);
        if behind < place {
            let _ = mark.compare_exchange(behind, place, SeqCst, SeqCst);
        }
    }
}
