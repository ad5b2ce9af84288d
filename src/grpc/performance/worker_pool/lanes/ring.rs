//! A queue of small numbers in which nobody waits for anybody: a thread that is stopped at any instruction holds up no
//! other, neither those who put nor those who take.
//!
//! This is the SCQ of R. Nikolaev, "A Scalable, Portable, and Memory-Efficient Lock-Free FIFO Queue" (DISC 2019), written
//! anew. Puts and takes draw tickets; a ticket names an entry of the ring and the cycle in which it is used. Where a
//! taker arrives before the putter of its ticket (which may have been stopped), it moves the entry on to its own cycle,
//! or marks it unsafe while an older number still lies there: the putter then finds its ticket void and draws another.
//! In `crossbeam`'s `ArrayQueue` the taker waits there instead, and everybody behind it.
//!
//! The ring has twice as many entries as there are numbers in circulation, so a put always finds room. `threshold` bounds
//! how many void tickets a taker may draw before the queue counts as empty; every put sets it back.
//!
//! Everything is SeqCst: the algorithm is proved in that model, and on x86-64 its read-modify-writes cost the same.

use std::sync::atomic::Ordering::SeqCst;

use crossbeam::utils::CachePadded;

use crate::platform::atomic::{AtomicI64, AtomicU64};

/// An entry, taken apart: bits 0 to 23 the number, 24 whether it is safe, the rest the cycle.
#[derive(Clone, Copy)]
struct Entry {
    cycle: u64,
    safe: bool,
    number: u64,
}

const NUMBER_BITS: u32 = 24;
const SAFE: u64 = 1 << NUMBER_BITS;
/// No number. All ones, so that a taker can set it with one `or`.
const NOTHING: u64 = SAFE - 1;
/// Numbers that a queue can hold at most.
pub(super) const MOST: usize = 1 << (NUMBER_BITS - 2);

impl Entry {
    fn unpack(word: u64) -> Self {
        Self { cycle: word >> (NUMBER_BITS + 1), safe: word & SAFE != 0, number: word & NOTHING }
    }

    fn pack(self) -> u64 {
        self.cycle << (NUMBER_BITS + 1) | if self.safe { SAFE } else { 0 } | self.number
    }
}

pub(super) struct Ring {
    head: CachePadded<AtomicU64>,
    tail: CachePadded<AtomicU64>,
    threshold: CachePadded<AtomicI64>,
    entries: Box<[AtomicU64]>,
    /// log2 of the number of entries.
    order: u32,
}

impl Ring {
    /// A queue for the numbers below `numbers` (a power of two, at most [`MOST`]), of which it begins with none.
    pub(super) fn empty(numbers: usize) -> Self {
        Self::with(numbers, 0)
    }

    /// A queue that begins with all numbers below `numbers`.
    pub(super) fn full(numbers: usize) -> Self {
        Self::with(numbers, numbers)
    }

    fn with(numbers: usize, present: usize) -> Self {
        debug_assert!(numbers.is_power_of_two() && numbers <= MOST);
        let size = numbers * 2;
        let order = size.trailing_zeros();
        let mut ring = Self {
            head: CachePadded::new(AtomicU64::new(size as u64)),
            tail: CachePadded::new(AtomicU64::new((size + present) as u64)),
            threshold: CachePadded::new(AtomicI64::new(-1)),
            entries: (0..size)
                .map(|_| AtomicU64::new(Entry { cycle: 0, safe: true, number: NOTHING }.pack()))
                .collect(),
            order,
        };
        for number in 0..present as u64 {
            let place = ring.place(number);
            ring.entries[place] = AtomicU64::new(Entry { cycle: 1, safe: true, number }.pack());
        }
        if present > 0 {
            ring.threshold = CachePadded::new(AtomicI64::new(ring.patience()));
        }
        ring
    }

    /// Void tickets after which the queue is empty: three times the numbers, as the paper proves.
    fn patience(&self) -> i64 {
        3 * (1 << (self.order - 1)) - 1
    }

    fn cycle(&self, ticket: u64) -> u64 {
        ticket >> self.order
    }

    /// The entry of a ticket. Neighbouring tickets go to different cache lines (8 entries each).
    fn place(&self, ticket: u64) -> usize {
        let position = ticket & ((1 << self.order) - 1);
        position as usize
    }

    /// Puts a number that is not in the queue.
    pub(super) fn put(&self, number: usize) {
        loop {
            let ticket = self.tail.fetch_add(1, SeqCst);
            let cycle = self.cycle(ticket);
            let place = &self.entries[self.place(ticket)];
            let mut word = place.load(SeqCst);
            loop {
                let entry = Entry::unpack(word);
                let usable = entry.cycle < cycle
                    && entry.number == NOTHING
                    && (entry.safe || self.head.load(SeqCst) <= ticket);
                if !usable {
                    break;
                }
                let filled = Entry { cycle, safe: true, number: number as u64 }.pack();
                match place.compare_exchange(word, filled, SeqCst, SeqCst) {
                    Ok(_) => {
                        if self.threshold.load(SeqCst) != self.patience() {
                            self.threshold.store(self.patience(), SeqCst);
                        }
                        return;
                    }
                    Err(current) => word = current,
                }
            }
        }
    }

    /// Takes the number that was put first.
    pub(super) fn take(&self) -> Option<usize> {
        if self.threshold.load(SeqCst) < 0 || self.is_drawn_out() {
            return None;
        }
        loop {
            let ticket = self.head.fetch_add(1, SeqCst);
            if let Some(number) = self.redeem(ticket) {
                return Some(number);
            }
            let tail = self.tail.load(SeqCst);
            if tail <= ticket + 1 {
                self.catch_up(tail, ticket + 1);
                self.threshold.fetch_sub(1, SeqCst);
                return None;
            }
            if self.threshold.fetch_sub(1, SeqCst) <= 0 {
                return None;
            }
        }
    }

    /// Whether a taker has come for every ticket that a putter has drawn: there is nothing for another one. Looked at
    /// before a ticket is drawn, so that who asks an empty queue again and again makes no putter's ticket void. Where
    /// the next number lies ready the tail, which putters are busy with, is not looked at.
    fn is_drawn_out(&self) -> bool {
        // In this order: both only grow, so when the tail is read the head is at least as far.
        let head = self.head.load(SeqCst);
        let next = Entry::unpack(self.entries[self.place(head)].load(SeqCst));
        next.cycle != self.cycle(head) && self.tail.load(SeqCst) <= head
    }

    /// The number of a ticket, if it was put; else the ticket is void for its putter, too.
    fn redeem(&self, ticket: u64) -> Option<usize> {
        let cycle = self.cycle(ticket);
        let place = &self.entries[self.place(ticket)];
        let mut word = place.load(SeqCst);
        loop {
            let entry = Entry::unpack(word);
            if entry.cycle == cycle {
                place.fetch_or(NOTHING, SeqCst);
                return Some(entry.number as usize);
            }
            if entry.cycle > cycle {
                return None;
            }
            let void = if entry.number == NOTHING {
                Entry { cycle, ..entry }
            } else {
                Entry { safe: false, ..entry }
            };
            match place.compare_exchange(word, void.pack(), SeqCst, SeqCst) {
                Ok(_) => return None,
                Err(current) => word = current,
            }
        }
    }

    /// Takers that found the queue empty have drawn tickets beyond the tail: it follows.
    fn catch_up(&self, mut tail: u64, mut head: u64) {
        while self.tail.compare_exchange(tail, head, SeqCst, SeqCst).is_err() {
            head = self.head.load(SeqCst);
            tail = self.tail.load(SeqCst);
            if tail >= head {
                return;
            }
        }
    }

    /// Numbers in the queue: never fewer than there are, and more only while others put and take.
    pub(super) fn len(&self) -> usize {
        let head = self.head.load(SeqCst);
        self.tail.load(SeqCst).saturating_sub(head) as usize
    }
}
