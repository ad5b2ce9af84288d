//! Which entry of a set goes next: quick_cache's policy, a form of CLOCK-Pro, in a few atomics beside the entries.
//!
//! Newcomers are *cold*. The cold entry whose turn it is is the next victim: one that was asked for becomes hot instead,
//! one that was not is remembered as a *ghost*, a fingerprint, and is hot at once when it comes back soon. Hot entries take
//! up to [`HOT_SHARE`] of the set; beyond that the one whose turn it is goes, but for those that were asked for since
//! their last turn, which are passed by, once for every time up to [`MOST_USES`]. While a set fills up, newcomers are hot.
//!
//! **Turns** go round the ways, in their order, with a hand for each kind: a word of bits says who is there, so the next
//! one is found in a few instructions. A newcomer is put where its victim was, which the hand has just passed.
//!
//! **Nothing here is exact, and nothing has to be.** What is kept are hints about places, which others may change between
//! a load and a store: all Relaxed. A hint that is wrong costs a worse victim; whether that can be thrown out, and who
//! does it, is decided by its slot.

use std::{
    array,
    sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use super::uptime::Uptime;

/// Entries that a set has room for, one bit of a word each.
pub(super) const WAYS: usize = 64;
/// Of 64 parts, those that hot entries may take: quick_cache's 97%.
const HOT_SHARE: u32 = 62;
/// Times that an entry is passed by. Seven is better than quick_cache's two by up to 0.2 points on
/// Zipf's traces, and costs nothing elsewhere.
pub(super) const MOST_USES: u8 = 7;
/// Five sixths of the entries that a set holds on average: with fewer all traces lose, with more those of loops.
const GHOSTS: usize = 40;

/// The policy's part of a set.
#[repr(C)]
pub(super) struct Policy {
    uses: [AtomicU8; WAYS],
    hot: AtomicU64,
    /// Before that, none of the entries is too old.
    due: AtomicU64,
    next_ghost: AtomicU32,
    /// The ways that come next.
    hot_hand: AtomicU8,
    cold_hand: AtomicU8,
    ghosts: [AtomicU16; GHOSTS],
}

/// How an entry stands with the policy; it is handed on to what replaces it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    hot: bool,
    uses: u8,
}

impl Standing {
    pub(super) fn new(hot: bool) -> Self {
        Self { hot, uses: 0 }
    }

    pub(super) fn hot(self) -> bool {
        self.hot
    }

    /// Asked for once more.
    pub(super) fn used(self) -> Self {
        Self { uses: (self.uses + 1).min(MOST_USES), ..self }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            uses: array::from_fn(|_| AtomicU8::new(0)),
            hot: AtomicU64::new(0),
            due: AtomicU64::new(Uptime::NEVER.nanoseconds()),
            next_ghost: AtomicU32::new(0),
            hot_hand: AtomicU8::new(0),
            cold_hand: AtomicU8::new(0),
            ghosts: array::from_fn(|_| AtomicU16::new(0)),
        }
    }
}

impl Policy {
    /// Somebody asked for the entry. Writes nothing for one that is asked for all the time.
    #[inline]
    pub(super) fn touch(&self, way: usize) {
        let uses = self.uses[way].load(Relaxed);
        if uses < MOST_USES {
            self.uses[way].store(uses + 1, Relaxed);
        }
    }

    /// Takes up an entry that becomes too old then.
    pub(super) fn admit(&self, way: usize, standing: Standing, expires: Uptime) {
        self.uses[way].store(standing.uses, Relaxed);
        if standing.hot != self.is_hot(way) {
            self.hot.fetch_xor(1 << way, Relaxed);
        }
        self.falls_due(expires);
    }

    /// One of the entries becomes too old then.
    pub(super) fn falls_due(&self, expires: Uptime) {
        if expires.nanoseconds() < self.due.load(Relaxed) {
            self.due.store(expires.nanoseconds(), Relaxed);
        }
    }

    /// Whether one of them may be too old.
    pub(super) fn may_be_due(&self, now: Uptime) -> bool {
        self.due.load(Relaxed) <= now.nanoseconds()
    }

    /// It turned out that none is, and when the first will be.
    pub(super) fn is_due(&self, first: Uptime) {
        self.due.store(first.nanoseconds(), Relaxed);
    }

    pub(super) fn standing(&self, way: usize) -> Standing {
        Standing { hot: self.is_hot(way), uses: self.uses[way].load(Relaxed) }
    }

    fn is_hot(&self, way: usize) -> bool {
        self.hot.load(Relaxed) >> way & 1 == 1
    }

    /// Whether it went a short while ago. Forgotten with that.
    pub(super) fn recall(&self, fingerprint: u16) -> bool {
        let found = self.ghosts.iter().find(|ghost| ghost.load(Relaxed) == fingerprint);
        found.inspect(|ghost| ghost.store(0, Relaxed)).is_some()
    }

    /// A cold entry goes.
    pub(super) fn remember(&self, fingerprint: u16) {
        let next = self.next_ghost.load(Relaxed);
        self.next_ghost.store(next.wrapping_add(1), Relaxed);
        self.ghosts[next as usize % GHOSTS].store(fingerprint, Relaxed);
    }

    /// Who of the entries at `present` is to go next, if there is any. One that is `stale` gets no second chance.
    pub(super) fn nominate(&self, present: u64, stale: impl Fn(usize) -> bool) -> Option<usize> {
        let most_hot = (present.count_ones() * HOT_SHARE / WAYS as u32).max(1);
        let mut crowded = false;
        // More turns than it takes to use up every use; others may add to them meanwhile.
        for _ in 0..WAYS * usize::from(MOST_USES) {
            let hot = self.hot.load(Relaxed) & present;
            let cold = present & !hot;
            let among_cold = cold != 0 && !crowded;
            let way = match among_cold {
                true => take_turn(cold, &self.cold_hand)?,
                false => take_turn(hot, &self.hot_hand)?,
            };
            let uses = self.uses[way].load(Relaxed);
            if uses == 0 || stale(way) {
                return Some(way);
            }
            self.uses[way].store(uses - 1, Relaxed);
            if among_cold {
                self.hot.fetch_or(1 << way, Relaxed);
                crowded = hot.count_ones() + 1 > most_hot;
            }
        }
        next(present, self.hot_hand.load(Relaxed))
    }

    /// The next of those that were used so often at most, the cold ones before the hot ones.
    pub(super) fn first_used_up_to(&self, uses: u8, present: u64) -> Option<usize> {
        let little = |way: &usize| self.uses[*way].load(Relaxed) <= uses;
        let ways = (0..WAYS).filter(little).fold(0, |ways, way| ways | 1 << way) & present;
        let hot = self.hot.load(Relaxed);
        next(ways & !hot, self.cold_hand.load(Relaxed))
            .or_else(|| next(ways & hot, self.hot_hand.load(Relaxed)))
    }
}

/// The way whose turn it is, and the hand moves on.
fn take_turn(ways: u64, hand: &AtomicU8) -> Option<usize> {
    let way = next(ways, hand.load(Relaxed))?;
    hand.store(((way + 1) % WAYS) as u8, Relaxed);
    Some(way)
}

/// The first of these ways, from the hand on and round.
fn next(ways: u64, hand: u8) -> Option<usize> {
    let hand = usize::from(hand);
    let turned = ways.rotate_right(hand as u32);
    (turned != 0).then(|| (hand + turned.trailing_zeros() as usize) % WAYS)
}
