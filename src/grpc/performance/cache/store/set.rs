//! A set: room for [`WAYS`] entries whose keys fall here, the tags that they are found by, and the policy's notes.
//!
//! A look-up compares the key's tag with those of all ways, eight at a time, and visits the slots that have it: one, as a
//! rule. Slots come in chunks of [`CHUNK`], made when they are first needed and kept, so that a cache of few large
//! entries does not pay for the slots of many small ones.
//!
//! **A way's bookkeeping belongs to whoever has the claim** of its slot: the tag is set before the slot is published, and
//! taken away before it is given back, so that what is open can always be found.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use once_cell::race::OnceBox;

use super::{
    super::key::CacheKey,
    budget::Budget,
    gate::Ask,
    policy::{Policy, Standing, WAYS},
    slot::{Claim, Emptied, Entry, Slot, Visit},
};

/// Slots that are made at a time.
const CHUNK: usize = 4;
/// Tags to a word.
const LANES: usize = 8;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = LOW_BITS << 7;

/// What a key is known by within its set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// Not 0, which stands for nothing.
    tag: u8,
    check: u16,
    /// Not 0, either.
    ghost: u16,
    /// The word of tags that is looked at first, and filled first.
    first: u8,
}

impl Mark {
    pub(super) fn of(key: &CacheKey) -> Self {
        // The bits above tell the sets apart.
        let bits = key.placement();
        Self {
            tag: (bits as u8).max(1),
            check: (bits >> 8) as u16,
            ghost: ((bits >> 24) as u16).max(1),
            first: (bits >> 40) as u8 % (WAYS / LANES) as u8,
        }
    }
}

/// Which entries of a key are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    Readable,
    /// Also what is hidden.
    All,
    /// The same, but for the one that lies here.
    AllBut(usize),
}

/// Goes over the ways that have a tag.
struct Tagged<'a> {
    tags: &'a [AtomicU64; WAYS / LANES],
    /// The tag, in every byte.
    pattern: u64,
    /// The next word, counted on beyond the last.
    next: usize,
    end: usize,
    /// What is left of the word before: the top bit of each byte that is equal.
    found: u64,
}

impl Iterator for Tagged<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            if self.next == self.end {
                return None;
            }
            // Relaxed: a tag that was set before this began is seen, and any other need not be.
            let differences = self.tags[self.next % (WAYS / LANES)].load(Relaxed) ^ self.pattern;
            self.found = differences.wrapping_sub(LOW_BITS) & !differences & HIGH_BITS;
            self.next += 1;
        }
        let lane = self.found.trailing_zeros() as usize / LANES;
        self.found &= self.found - 1;
        Some((self.next - 1) % (WAYS / LANES) * LANES + lane)
    }
}

/// See the module.
#[derive(Default)]
#[repr(C, align(64))]
pub(super) struct Set {
    tags: [AtomicU64; WAYS / LANES],
    policy: Policy,
    chunks: [OnceBox<[Slot; CHUNK]>; WAYS / CHUNK],
}

impl Set {
    /// The entry of a key, and, while one replaces another, that too.
    #[inline]
    pub(super) fn find<'a>(
        &'a self,
        key: &'a CacheKey,
        mark: Mark,
        budget: &'a Budget,
        which: Which,
    ) -> impl Iterator<Item = Resident<'a>> + use<'a> {
        let (ask, except) = match which {
            Which::Readable => (Ask::Open(mark.check), WAYS),
            Which::All => (Ask::OpenOrHidden(mark.check), WAYS),
            Which::AllBut(way) => (Ask::OpenOrHidden(mark.check), way),
        };
        self.tagged(mark.tag, mark.first)
            .filter(move |way| *way != except)
            .filter_map(move |way| self.visit(way, ask, budget))
            .filter(move |resident| resident.entry().key == *key)
    }

    /// Every entry that is open.
    pub(super) fn open<'a>(&'a self, budget: &'a Budget) -> impl Iterator<Item = Resident<'a>> {
        (0..WAYS).filter_map(|way| self.visit(way, Ask::AnythingOpen, budget))
    }

    /// Every entry.
    pub(super) fn all<'a>(&'a self, budget: &'a Budget) -> impl Iterator<Item = Resident<'a>> {
        (0..WAYS).filter_map(|way| self.visit(way, Ask::Anything, budget))
    }

    #[inline]
    fn visit<'a>(&'a self, way: usize, ask: Ask, budget: &'a Budget) -> Option<Resident<'a>> {
        let place = Place { set: self, way, budget };
        match self.slot(way)?.enter(ask) {
            Ok(visit) => Some(Resident { place, visit: Some(visit) }),
            Err(emptied) => {
                drop(emptied.map(|emptied| place.tidy(emptied)));
                None
            }
        }
    }

    /// The slot, if it has ever been used.
    fn slot(&self, way: usize) -> Option<&Slot> {
        self.chunks[way / CHUNK].get().map(|chunk| &chunk[way % CHUNK])
    }

    /// Puts an entry into an empty way, hidden; gives it back when there is none. The caller is a visitor.
    pub(super) fn put<'a>(
        &'a self,
        entry: Entry,
        mark: Mark,
        standing: Standing,
        budget: &'a Budget,
    ) -> Result<Resident<'a>, Entry> {
        let Some((way, claim)) = self.claim(mark) else { return Err(entry) };
        self.policy.admit(way, standing);
        self.flip_tag(way, mark.tag);
        let visit = claim.fill(entry, mark.check);
        Ok(Resident { place: Place { set: self, way, budget }, visit: Some(visit) })
    }

    fn claim(&self, mark: Mark) -> Option<(usize, Claim<'_>)> {
        self.tagged(0, mark.first).find_map(|way| {
            let chunk = self.chunks[way / CHUNK].get_or_init(Box::default);
            chunk[way % CHUNK].claim().map(|claim| (way, claim))
        })
    }

    /// Closes the entry that is to go next by the policy, and gives it to the caller.
    pub(super) fn evict<'a>(
        &'a self,
        budget: &'a Budget,
        stale: impl Fn(&Entry) -> bool,
    ) -> Option<Resident<'a>> {
        let is_stale =
            |way| self.visit(way, Ask::Anything, budget).is_some_and(|resident| stale(resident.entry()));
        let resident = self.close_first(budget, |present| self.policy.nominate(present, is_stale))?;
        if !resident.standing().hot() {
            self.policy.remember(Mark::of(&resident.entry().key).ghost);
        }
        Some(resident)
    }

    /// As [`evict`](Self::evict), one that was used so often at most since its last turn in the line.
    pub(super) fn evict_used_up_to<'a>(&'a self, uses: u8, budget: &'a Budget) -> Option<Resident<'a>> {
        self.close_first(budget, |present| self.policy.first_used_up_to(uses, present))
    }

    fn close_first<'a>(
        &'a self,
        budget: &'a Budget,
        choose: impl Fn(u64) -> Option<usize>,
    ) -> Option<Resident<'a>> {
        let mut present = self.present();
        loop {
            let way = choose(present)?;
            if let Some(resident) = self.visit(way, Ask::Anything, budget)
                && resident.close()
            {
                return Some(resident);
            }
            // Somebody else throws it out, or has not yet published it.
            present &= !(1 << way);
        }
    }

    /// Whether the key was evicted a short while ago.
    pub(super) fn recall(&self, mark: Mark) -> bool {
        self.policy.recall(mark.ghost)
    }

    /// How many entries there are, more or less.
    pub(super) fn len(&self) -> usize {
        self.present().count_ones() as usize
    }

    /// The ways that have a tag, one bit each.
    fn present(&self) -> u64 {
        let mut present = 0;
        for (word, tags) in self.tags.iter().enumerate() {
            // Relaxed, as in `tagged`. The multiplication gathers the lowest bit of each byte in the top one.
            let tags = tags.load(Relaxed);
            let low = (((tags & !HIGH_BITS) + !HIGH_BITS) | tags) >> 7 & LOW_BITS;
            present |= (low.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (word * LANES);
        }
        present
    }

    /// The ways with this tag, and now and then one without, beginning with this word.
    #[inline]
    fn tagged(&self, tag: u8, first: u8) -> Tagged<'_> {
        let pattern = u64::from(tag) * LOW_BITS;
        let first = usize::from(first);
        Tagged { tags: &self.tags, pattern, next: first, end: first + WAYS / LANES, found: 0 }
    }

    /// Sets the tag of a way that has none, or takes it away; the caller has the claim. Relaxed: the gate orders it.
    fn flip_tag(&self, way: usize, tag: u8) {
        self.tags[way / LANES].fetch_xor(u64::from(tag) << (way % LANES * LANES), Relaxed);
    }
}

#[cfg(test)]
impl Set {
    /// What a thread has in its hands that stops before it publishes.
    pub(super) fn claim_for_test(&self) -> impl Sized {
        let mark = Mark { tag: 1, check: 0, ghost: 1, first: 0 };
        self.claim(mark).map(|(_, claim)| claim)
    }

    pub(super) fn memory(&self) -> usize {
        let chunks = self.chunks.iter().filter(|chunk| chunk.get().is_some()).count();
        size_of::<Self>() + chunks * size_of::<[Slot; CHUNK]>()
    }
}

/// A way of a set, and who pays for what lies there.
#[derive(Clone, Copy)]
struct Place<'a> {
    set: &'a Set,
    way: usize,
    budget: &'a Budget,
}

impl Place<'_> {
    /// Ends the bookkeeping of what has been taken out.
    fn tidy(self, emptied: Emptied<'_>) -> Entry {
        let Emptied { entry, claim } = emptied;
        self.set.flip_tag(self.way, Mark::of(&entry.key).tag);
        drop(claim);
        self.budget.give_back(entry.stored.body.size());
        entry
    }
}

/// An entry, visited. Leaves when it is dropped, and frees what it leaves last.
pub(super) struct Resident<'a> {
    place: Place<'a>,
    /// `None`: left.
    visit: Option<Visit<'a>>,
}

impl<'a> Resident<'a> {
    pub(super) fn way(&self) -> usize {
        self.place.way
    }

    /// Puts another entry of the same key in its place, hidden, if nobody else looks at it; gives back the old one then, and the
    /// new one otherwise. Their sizes are the caller's to account for.
    pub(super) fn replace(mut self, entry: Entry) -> (Self, Result<Entry, Entry>) {
        let mark = Mark::of(&entry.key);
        match self.visit.take().map(Visit::seize) {
            Some(Ok(Emptied { entry: old, claim })) => {
                self.place.set.policy.touch(self.place.way);
                self.visit = Some(claim.fill(entry, mark.check));
                (self, Ok(old))
            }
            Some(Err(visit)) => {
                self.visit = Some(visit);
                (self, Err(entry))
            }
            None => (self, Err(entry)),
        }
    }

    #[inline]
    pub(super) fn entry(&self) -> &Entry {
        self.inside().entry()
    }

    /// Somebody asked for it.
    pub(super) fn touch(&self) {
        self.place.set.policy.touch(self.place.way);
    }

    pub(super) fn standing(&self) -> Standing {
        self.place.set.policy.standing(self.place.way)
    }

    /// Whether this closed it, and nobody else.
    pub(super) fn close(&self) -> bool {
        self.inside().close()
    }

    /// Whether it is open now; false: it has been closed.
    pub(super) fn reveal(&self) -> bool {
        self.inside().reveal()
    }

    /// Leaves; what this was the last to leave, after it was closed, is the caller's to free.
    pub(super) fn leave(mut self) -> Option<Entry> {
        self.go()
    }

    fn go(&mut self) -> Option<Entry> {
        let emptied = self.visit.take()?.leave()?;
        Some(self.place.tidy(emptied))
    }

    fn inside(&self) -> &Visit<'_> {
        self.visit.as_ref().expect("it is left with the resident")
    }
}

impl Drop for Resident<'_> {
    fn drop(&mut self) {
        drop(self.go());
    }
}
