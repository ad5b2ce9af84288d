//! Which entry of a set goes next: quick_cache's policy, a form of CLOCK-Pro, in a few atomics beside the entries.
//!
//! Newcomers are *cold*. The oldest cold entry is the next victim: one that was asked for becomes hot instead, one that
//! was not is remembered as a *ghost*, a fingerprint, and is hot at once when it comes back soon. Hot entries take up to
//! [`HOT_SHARE`] of the set; beyond that the oldest of them goes, but for those that were asked for since their last
//! turn, which go back in the line, once for every time up to [`MOST_USES`]. While a set fills up, newcomers are hot.
//!
//! **Nothing here is exact, and nothing has to be.** What is kept are hints about places, which others may change between
//! a load and a store: all Relaxed. A hint that is wrong costs a worse victim; whether that can be thrown out, and who
//! does it, is decided by its gate.

use std::{
    array,
    sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// Entries that a set has room for, one bit of a word each.
pub(super) const WAYS: usize = 64;
/// Of 64 parts, those that hot entries may take: quick_cache's 97%.
const HOT_SHARE: u32 = 62;
/// Times that an entry goes back in the line. Seven is better than quick_cache's two by up to 0.2 points on
/// Zipf's traces, and costs nothing elsewhere.
pub(super) const MOST_USES: u8 = 7;
/// Two thirds of the entries that a set holds on average.
const GHOSTS: usize = 32;

/// The policy's part of a set.
#[repr(C)]
pub(super) struct Policy {
    uses: [AtomicU8; WAYS],
    hot: AtomicU64,
    /// Counts turns in the line. The low half is what stamps are compared by.
    clock: AtomicU64,
    next_ghost: AtomicU32,
    stamps: [AtomicU16; WAYS],
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
            clock: AtomicU64::new(0),
            next_ghost: AtomicU32::new(0),
            stamps: array::from_fn(|_| AtomicU16::new(0)),
            ghosts: array::from_fn(|_| AtomicU16::new(0)),
        }
    }
}

impl Policy {
    /// Somebody asked for the entry. Writes nothing for one that is asked for all the time.
    pub(super) fn touch(&self, way: usize) {
        let uses = self.uses[way].load(Relaxed);
        if uses < MOST_USES {
            self.uses[way].store(uses + 1, Relaxed);
        }
    }

    /// The next turn.
    fn turn(&self) -> u64 {
        self.clock.fetch_add(1, Relaxed)
    }

    /// Takes up an entry at the end of the line.
    pub(super) fn admit(&self, way: usize, standing: Standing) {
        self.uses[way].store(standing.uses, Relaxed);
        self.to_the_end(way);
        if standing.hot {
            self.hot.fetch_or(1 << way, Relaxed);
        } else {
            self.hot.fetch_and(!(1 << way), Relaxed);
        }
    }

    pub(super) fn standing(&self, way: usize) -> Standing {
        Standing { hot: self.hot.load(Relaxed) >> way & 1 == 1, uses: self.uses[way].load(Relaxed) }
    }

    /// Whether it went a short while ago. Forgotten with that.
    pub(super) fn recall(&self, fingerprint: u16) -> bool {
        let found = self.ghosts.iter().find(|ghost| ghost.load(Relaxed) == fingerprint);
        found.inspect(|ghost| ghost.store(0, Relaxed)).is_some()
    }

    /// A cold entry goes.
    pub(super) fn remember(&self, fingerprint: u16) {
        let next = self.next_ghost.fetch_add(1, Relaxed) as usize;
        self.ghosts[next % GHOSTS].store(fingerprint, Relaxed);
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
            let way = self.oldest(if among_cold { cold } else { hot })?;
            let uses = self.uses[way].load(Relaxed);
            if uses == 0 || stale(way) {
                return Some(way);
            }
            self.uses[way].store(uses - 1, Relaxed);
            self.to_the_end(way);
            if among_cold {
                self.hot.fetch_or(1 << way, Relaxed);
                crowded = hot.count_ones() + 1 > most_hot;
            }
        }
        self.oldest(present)
    }

    /// The first in the line of those that were used so often at most, the cold ones before the hot ones.
    pub(super) fn first_used_up_to(&self, uses: u8, present: u64) -> Option<usize> {
        let little = |way: &usize| self.uses[*way].load(Relaxed) <= uses;
        let ways = (0..WAYS).filter(little).fold(0, |ways, way| ways | 1 << way) & present;
        let hot = self.hot.load(Relaxed);
        self.oldest(ways & !hot).or_else(|| self.oldest(ways & hot))
    }

    fn to_the_end(&self, way: usize) {
        self.stamps[way].store(self.turn() as u16, Relaxed);
    }

    /// The first in the line of these. Ages are told apart within 65,536 turns, far more than a line is long.
    fn oldest(&self, mut ways: u64) -> Option<usize> {
        let now = self.clock.load(Relaxed) as u16;
        let mut oldest = None;
        while ways != 0 {
            let way = ways.trailing_zeros() as usize;
            ways &= ways - 1;
            let age = now.wrapping_sub(self.stamps[way].load(Relaxed));
            if oldest.is_none_or(|(most, _)| age > most) {
                oldest = Some((age, way));
            }
        }
        oldest.map(|(_, way)| way)
    }
}
