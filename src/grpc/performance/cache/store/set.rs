//! A set: room for [`WAYS`] entries whose keys fall here, the tags that they are found by, and the policy's notes.
//!
//! A look-up compares the key's tag with those of all ways, and visits the slots that have it: one, as a rule. Slots come
//! in chunks of [`CHUNK`], made when they are first needed and kept, and are filled from the first on, so that a cache of
//! few large entries does not pay for the slots of many small ones.
//!
//! **A way's bookkeeping belongs to whoever has the claim** of its slot: the tag is set before the slot is published, and
//! taken away before it is given back, so that what is open can always be found.

use once_cell::race::OnceBox;

use super::{
    super::key::CacheKey,
    budget::Budget,
    gate::Ask,
    policy::{Policy, Standing, WAYS},
    slot::{Claim, Emptied, Entry, Slot, Visit},
    tags::Tags,
    uptime::Uptime,
};

/// Slots that are made at a time.
const CHUNK: usize = 4;

/// What a key is known by within its set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// Not 0, which stands for nothing.
    tag: u8,
    check: u16,
    /// Not 0, either.
    ghost: u16,
}

impl Mark {
    #[inline]
    pub(super) fn of(key: &CacheKey) -> Self {
        // The bits above tell the sets apart.
        let bits = key.placement();
        Self { tag: (bits as u8).max(1), check: (bits >> 8) as u16, ghost: ((bits >> 24) as u16).max(1) }
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
#[derive(Default)]
#[repr(C)]
pub(super) struct Set {
    tags: Tags,
    chunks: [OnceBox<[Slot; CHUNK]>; WAYS / CHUNK],
    policy: Policy,
}

impl Set {
    /// What can be read for a key.
    #[inline]
    pub(super) fn read<'a>(&'a self, key: &CacheKey, mark: Mark, budget: &'a Budget) -> Option<Resident<'a>> {
        for way in self.tags.ways(mark.tag) {
            if let Some(resident) = self.visit(way, Ask::Open(mark.check), budget)
                && resident.entry().key == *key
            {
                return Some(resident);
            }
        }
        None
    }

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
        self.tags
            .ways(mark.tag)
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
            Err(None) => None,
            Err(Some(emptied)) => {
                place.free(emptied);
                None
            }
        }
    }

    /// The slot, if it has ever been used.
    #[inline]
    fn slot(&self, way: usize) -> Option<&Slot> {
        self.chunks[way / CHUNK].get().map(|chunk| &chunk[way % CHUNK])
    }

    /// Takes what can be read for a key out of its way, if nobody looks at it; with it, as rarely as two keys have the
    /// same mark, what belongs to another.
    pub(super) fn take<'a>(&'a self, mark: Mark, budget: &'a Budget) -> Option<Taken<'a>> {
        self.tags.ways(mark.tag).find_map(|way| self.seize(way, Ask::Open(mark.check), budget))
    }

    fn seize<'a>(&'a self, way: usize, ask: Ask, budget: &'a Budget) -> Option<Taken<'a>> {
        let emptied = self.slot(way)?.seize(ask)?;
        Some(Taken { place: Place { set: self, way, budget }, emptied })
    }

    /// Puts an entry into an empty way, hidden; gives it back when there is none. The caller is a visitor.
    pub(super) fn put<'a>(
        &'a self,
        entry: Entry,
        mark: Mark,
        standing: Standing,
        budget: &'a Budget,
    ) -> Result<Resident<'a>, Entry> {
        let Some((way, claim)) = self.claim() else { return Err(entry) };
        self.policy.admit(way, standing, entry.stored.meta.expires);
        self.tags.flip(way, mark.tag);
        let visit = claim.fill(entry, mark.check);
        Ok(Resident { place: Place { set: self, way, budget }, visit: Some(visit) })
    }

    fn claim(&self) -> Option<(usize, Claim<'_>)> {
        self.tags.ways(0).find_map(|way| {
            let chunk = self.chunks[way / CHUNK].get_or_init(Box::default);
            chunk[way % CHUNK].claim().map(|claim| (way, claim))
        })
    }

    /// Takes the entry out of its way that is to go next by the policy, among those that nobody looks at.
    pub(super) fn take_victim<'a>(&'a self, budget: &'a Budget, now: Uptime) -> Option<Taken<'a>> {
        let take = |way| self.seize(way, Ask::AnythingOpen, budget);
        self.throw_out(budget, now, take, |taken| (taken.place.way, taken.entry()))
    }

    /// Closes the entry that is to go next by the policy, and gives it to the caller.
    pub(super) fn evict<'a>(&'a self, budget: &'a Budget, now: Uptime) -> Option<Resident<'a>> {
        let close = |way| self.close(way, budget);
        self.throw_out(budget, now, close, |closed| (closed.way(), closed.entry()))
    }

    /// As [`evict`](Self::evict), one that was used so often at most since its last turn.
    pub(super) fn evict_used_up_to<'a>(&'a self, uses: u8, budget: &'a Budget) -> Option<Resident<'a>> {
        let choose = |present| self.policy.first_used_up_to(uses, present);
        self.first(choose, |way| self.close(way, budget))
    }

    fn close<'a>(&'a self, way: usize, budget: &'a Budget) -> Option<Resident<'a>> {
        self.visit(way, Ask::Anything, budget).filter(Resident::close)
    }

    fn throw_out<'a, T>(
        &'a self,
        budget: &'a Budget,
        now: Uptime,
        take: impl Fn(usize) -> Option<T>,
        entry: impl Fn(&T) -> (usize, &Entry),
    ) -> Option<T> {
        let may_be_due = self.policy.may_be_due(now);
        let expires = |resident: Resident<'_>| resident.entry().stored.meta.expires;
        let stale =
            |way| may_be_due && self.visit(way, Ask::Anything, budget).map(expires).is_some_and(|e| e <= now);
        let victim = self.first(|present| self.policy.nominate(present, stale), take)?;
        let (way, thrown_out) = entry(&victim);
        if !self.policy.standing(way).hot() {
            self.policy.remember(Mark::of(&thrown_out.key).ghost);
        }
        if may_be_due && thrown_out.stored.meta.expires > now {
            self.policy.is_due(self.all(budget).map(expires).min().unwrap_or(Uptime::NEVER));
        }
        Some(victim)
    }

    /// The first of those that `choose` chooses that can be taken.
    fn first<T>(
        &self,
        choose: impl Fn(u64) -> Option<usize>,
        take: impl Fn(usize) -> Option<T>,
    ) -> Option<T> {
        let mut present = self.tags.present();
        loop {
            let way = choose(present)?;
            if let Some(taken) = take(way) {
                return Some(taken);
            }
            // Somebody else throws it out, or has not yet published it, or is in where nobody may be.
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
    #[cold]
    fn free(self, emptied: Emptied<'_>) {
        drop(self.tidy(emptied));
    }

    /// Ends the bookkeeping of what has been taken out for good.
    fn tidy(self, emptied: Emptied<'_>) -> Entry {
        let Emptied { entry, claim } = emptied;
        self.set.tags.flip(self.way, Mark::of(&entry.key).tag);
        drop(claim);
        self.budget.give_back(entry.stored.body.size());
        entry
    }
}

/// An entry that was taken out, and its way, which is the caller's until it is either refilled or released.
#[must_use = "the way is lost otherwise"]
pub(super) struct Taken<'a> {
    place: Place<'a>,
    emptied: Emptied<'a>,
}

impl<'a> Taken<'a> {
    pub(super) fn entry(&self) -> &Entry {
        &self.emptied.entry
    }

    pub(super) fn standing(&self) -> Standing {
        self.place.set.policy.standing(self.place.way)
    }

    /// Puts another entry there, hidden. Their sizes are the caller's to account for.
    pub(super) fn refill(self, entry: Entry, mark: Mark, standing: Standing) -> (Resident<'a>, Entry) {
        let Self { place, emptied: Emptied { entry: old, claim } } = self;
        let tags = Mark::of(&old.key).tag ^ mark.tag;
        if tags != 0 {
            place.set.tags.flip(place.way, tags);
        }
        place.set.policy.admit(place.way, standing, entry.stored.meta.expires);
        let visit = claim.fill(entry, mark.check);
        (Resident { place, visit: Some(visit) }, old)
    }

    /// Leaves the way empty.
    pub(super) fn release(self) -> Entry {
        self.place.tidy(self.emptied)
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

    #[inline]
    pub(super) fn entry(&self) -> &Entry {
        self.inside().entry()
    }

    /// Somebody asked for it.
    #[inline]
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

    /// The publisher opens it, unless somebody has closed it, and leaves; what that was is the caller's to free, if nobody
    /// else looks at it.
    pub(super) fn reveal_and_leave(mut self) -> Option<Entry> {
        let emptied = self.visit.take()?.reveal_and_leave().err().flatten()?;
        Some(self.place.tidy(emptied))
    }

    /// Leaves; what this was the last to leave, after it was closed, is the caller's to free.
    pub(super) fn leave(mut self) -> Option<Entry> {
        let emptied = self.visit.take()?.leave()?;
        Some(self.place.tidy(emptied))
    }

    #[inline]
    fn inside(&self) -> &Visit<'_> {
        self.visit.as_ref().expect("it is left with the resident")
    }
}

impl Drop for Resident<'_> {
    #[inline]
    fn drop(&mut self) {
        // One that was closed, and that this was the last to look at: apart, since it hardly ever is.
        if let Some(emptied) = self.visit.take().and_then(Visit::leave) {
            self.place.free(emptied);
        }
    }
}
