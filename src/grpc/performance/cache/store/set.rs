//! A set: room for [`WAYS`] entries whose keys fall here, the tags that they are found by, and the policy's notes.
//!
//! A look-up compares the key's tag with those of all ways, and looks into the slots that have it: one, as a rule.
//!
//! **A way's bookkeeping belongs to whoever has the claim** of its slot: the tag is set before the slot is filled, and
//! taken away before it is given back, so that what is open can always be found.

use std::array;

use bytes::Bytes;

use super::{
    super::{key::CacheKey, stats::Counters},
    books::Books,
    hazards::Unlinked,
    policy::{Policy, Standing, WAYS},
    slot::{Ask, Check, Claim, Emptied, Entry, Fresh, Slot, Visit},
    tags::Tags,
    uptime::Uptime,
};

/// What a key is known by within its set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// Not 0, which stands for nothing.
    tag: u8,
    /// Not 0, either.
    ghost: u16,
    check: Check,
}

impl Mark {
    #[inline]
    pub(super) fn of(key: &CacheKey) -> Self {
        // The bits above tell the sets apart.
        let bits = key.placement();
        Self { tag: (bits as u8).max(1), ghost: ((bits >> 24) as u16).max(1), check: Check::of(key) }
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

/// See the module.
#[repr(C)]
pub(super) struct Set {
    tags: Tags,
    slots: [Slot; WAYS],
    policy: Policy,
}

impl Default for Set {
    fn default() -> Self {
        Self { tags: Tags::default(), slots: array::from_fn(|_| Slot::default()), policy: Policy::default() }
    }
}

impl Set {
    /// What can be read for a key.
    #[inline(always)]
    pub(super) fn read<'a>(&'a self, key: &CacheKey, mark: Mark, books: &'a Books) -> Option<Resident<'a>> {
        for way in self.tags.ways(mark.tag) {
            if let Some(resident) = self.look(way, Ask::Open, Some(mark.check), books)
                && resident.entry().key == *key
            {
                return Some(resident);
            }
        }
        None
    }

    /// The key is looked for soon.
    pub(super) fn prefetch(&self, mark: Mark) {
        self.tags.ways(mark.tag).for_each(|way| self.slots[way].prefetch(mark.check));
    }

    /// The entry of a key, and, while one replaces another, that too.
    #[inline]
    pub(super) fn find<'a>(
        &'a self,
        key: &'a CacheKey,
        mark: Mark,
        books: &'a Books,
        which: Which,
    ) -> impl Iterator<Item = Resident<'a>> + use<'a> {
        let (ask, except) = match which {
            Which::Readable => (Ask::Open, WAYS),
            Which::All => (Ask::OpenOrHidden, WAYS),
            Which::AllBut(way) => (Ask::OpenOrHidden, way),
        };
        self.tags
            .ways(mark.tag)
            .filter(move |way| *way != except)
            .filter_map(move |way| self.look(way, ask, Some(mark.check), books))
            .filter(move |resident| resident.entry().key == *key)
    }

    /// Every entry that can be read.
    pub(super) fn open<'a>(&'a self, books: &'a Books) -> impl Iterator<Item = Resident<'a>> {
        (0..WAYS).filter_map(|way| self.look(way, Ask::Open, None, books))
    }

    /// Every entry.
    pub(super) fn all<'a>(&'a self, books: &'a Books) -> impl Iterator<Item = Resident<'a>> {
        (0..WAYS).filter_map(|way| self.look(way, Ask::OpenOrHidden, None, books))
    }

    #[inline(always)]
    fn look<'a>(
        &'a self,
        way: usize,
        ask: Ask,
        check: Option<Check>,
        books: &'a Books,
    ) -> Option<Resident<'a>> {
        let visit = self.slots[way].look(ask, check, books.hazards())?;
        Some(Resident { place: Place { set: self, way, books }, visit })
    }

    /// Puts an entry into an empty way, hidden; gives it back when there is none.
    pub(super) fn put<'a>(
        &'a self,
        entry: Fresh,
        mark: Mark,
        standing: Standing,
        books: &'a Books,
    ) -> Result<Resident<'a>, Fresh> {
        let Some((way, claim)) = self.claim() else { return Err(entry) };
        let place = Place { set: self, way, books };
        Ok(place.fill(claim, entry, mark.tag, standing))
    }

    fn claim(&self) -> Option<(usize, Claim<'_>)> {
        self.tags.ways(0).find_map(|way| self.slots[way].claim().map(|claim| (way, claim)))
    }

    /// Takes the entry out of its way that is to go next by the policy.
    pub(super) fn take_victim<'a>(&'a self, ask: Ask, books: &'a Books, now: Uptime) -> Option<Taken<'a>> {
        let may_be_due = self.policy.may_be_due(now);
        let expires = |resident: Resident<'_>| resident.entry().stored.meta.expires;
        let stale = |way| {
            may_be_due
                && self.look(way, Ask::OpenOrHidden, None, books).map(expires).is_some_and(|e| e <= now)
        };
        let victim = self.first(|present| self.policy.nominate(present, stale), ask, books)?;
        if !victim.standing().hot() {
            self.policy.remember(Mark::of(&victim.entry().key).ghost);
        }
        if may_be_due && victim.entry().stored.meta.expires > now {
            self.policy.is_due(self.all(books).map(expires).min().unwrap_or(Uptime::NEVER));
        }
        Some(victim)
    }

    /// As [`take_victim`](Self::take_victim), one that was used so often at most since its last turn.
    pub(super) fn take_used_up_to<'a>(&'a self, uses: u8, books: &'a Books) -> Option<Taken<'a>> {
        self.first(|present| self.policy.first_used_up_to(uses, present), Ask::OpenOrHidden, books)
    }

    /// The first of those that `choose` chooses that can be taken.
    fn first<'a>(
        &'a self,
        choose: impl Fn(u64) -> Option<usize>,
        ask: Ask,
        books: &'a Books,
    ) -> Option<Taken<'a>> {
        let mut present = self.tags.present();
        loop {
            let way = choose(present)?;
            if let Some(emptied) = self.slots[way].seize(ask) {
                return Some(Taken { place: Place { set: self, way, books }, emptied });
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
        self.tags.present().count_ones() as usize
    }
}

#[cfg(test)]
impl Set {
    /// What a thread has in its hands that stops before it publishes.
    pub(super) fn claim_for_test(&self) -> impl Sized {
        self.claim().map(|(_, claim)| claim)
    }

    /// Bytes, with those of the entries that are there, but for their values.
    pub(super) fn memory(&self) -> usize {
        // What the heap keeps beside each, and the count of those who have its bytes.
        const HEADER: usize = 16;
        size_of::<Self>() + self.len() * (size_of::<super::nodes::Node<Entry>>() + HEADER)
    }
}

/// A way of a set, and who pays for what lies there.
#[derive(Clone, Copy)]
struct Place<'a> {
    set: &'a Set,
    way: usize,
    books: &'a Books,
}

impl<'a> Place<'a> {
    /// Puts an entry there, hidden, whose tag differs so from the one that is there.
    fn fill(self, claim: Claim<'a>, entry: Fresh, difference: u8, standing: Standing) -> Resident<'a> {
        let Self { set, way, books } = self;
        set.policy.admit(way, standing, entry.entry().stored.meta.expires);
        if difference != 0 {
            set.tags.flip(way, difference);
        }
        Resident { place: self, visit: claim.fill(entry, books.hazards()) }
    }

    /// The way has another entry for the same key now.
    fn pass_on(self, old: Unlinked<Entry>, standing: Standing, expires: Uptime) {
        self.set.policy.admit(self.way, standing, expires);
        self.books.retire(old);
    }

    /// Leaves the way empty.
    fn empty(self, emptied: Emptied<'_>) {
        let Emptied { entry, claim } = emptied;
        self.set.tags.flip(self.way, Mark::of(&entry.key).tag);
        drop(claim);
        self.books.removed(entry);
    }
}

/// An entry that was taken out, and its way, which is the caller's until it is either refilled or released.
#[must_use = "the way is lost otherwise"]
pub(super) struct Taken<'a> {
    place: Place<'a>,
    emptied: Emptied<'a>,
}

impl<'a> Taken<'a> {
    fn entry(&self) -> &Entry {
        &self.emptied.entry
    }

    fn standing(&self) -> Standing {
        self.place.set.policy.standing(self.place.way)
    }

    /// Puts another entry there, hidden.
    pub(super) fn refill(self, entry: Fresh, mark: Mark, standing: Standing) -> Resident<'a> {
        let Self { place, emptied: Emptied { entry: old, claim } } = self;
        let resident = place.fill(claim, entry, Mark::of(&old.key).tag ^ mark.tag, standing);
        place.books.retire(old);
        resident
    }

    /// Leaves the way empty. The bytes that come back.
    pub(super) fn release(self) -> u64 {
        let size = self.entry().stored.size();
        self.place.empty(self.emptied);
        size
    }
}

/// An entry that is looked at.
pub(super) struct Resident<'a> {
    place: Place<'a>,
    visit: Visit<'a>,
}

impl<'a> Resident<'a> {
    pub(super) fn way(&self) -> usize {
        self.place.way
    }

    #[inline]
    pub(super) fn entry(&self) -> &Entry {
        self.visit.entry()
    }

    #[inline]
    pub(super) fn counters(&self) -> &'a Counters {
        self.visit.counters()
    }

    #[inline]
    pub(super) fn bytes(&self) -> &Bytes {
        self.visit.bytes()
    }

    /// Somebody asked for it.
    #[inline]
    pub(super) fn touch(&self) {
        self.place.set.policy.touch(self.place.way);
    }

    pub(super) fn standing(&self) -> Standing {
        self.place.set.policy.standing(self.place.way)
    }

    /// Takes it out. Whether this did, and nobody else.
    pub(super) fn close(&self) -> bool {
        let emptied = self.visit.close();
        let closed = emptied.is_some();
        if let Some(emptied) = emptied {
            self.place.empty(emptied);
        }
        closed
    }

    /// Puts another one for the same key in its place, readable at once, if it still is itself.
    pub(super) fn replace(self, entry: Fresh, standing: Standing) -> Result<(), Fresh> {
        let Self { place, visit } = self;
        let expires = entry.entry().stored.meta.expires;
        let old = visit.replace(entry)?;
        // Before it waits for nobody to look at it.
        drop(visit);
        place.pass_on(old, standing, expires);
        Ok(())
    }

    /// The same, hidden.
    pub(super) fn replace_hidden(self, entry: Fresh, standing: Standing) -> Result<Resident<'a>, Fresh> {
        let Self { place, visit } = self;
        let expires = entry.entry().stored.meta.expires;
        let (new, old) = visit.replace_hidden(entry, place.books.hazards())?;
        drop(visit);
        place.pass_on(old, standing, expires);
        Ok(Resident { place, visit: new })
    }

    /// Has those read it who look for it from now on, if nobody has taken it out.
    pub(super) fn reveal(&self) {
        self.visit.reveal();
    }
}
