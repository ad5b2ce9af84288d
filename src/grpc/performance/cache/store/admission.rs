//! Room for a new entry, and the entry into it.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    super::{stats::Count, value::Stored},
    Displaced, Request, Store,
    policy::Standing,
    set::{Resident, Set, Which},
    slot::Entry,
    table::Generation,
    uptime::Uptime,
};

/// An insertion under way.
pub(super) struct Insertion<'a> {
    pub(super) request: Request<'a>,
    pub(super) generation: Generation,
    pub(super) now: Uptime,
    /// Asked once the entry is published: if not, it is closed, and not revealed.
    pub(super) wanted: &'a dyn Fn() -> bool,
}

/// What became of looking for a place.
enum Place<'a> {
    Found(Resident<'a>),
    /// There is none yet; what was there for the key stood like that.
    None(Entry, Option<Standing>),
}

impl Store {
    /// Stores in the table of the insertion's generation, if there is room, and neither another insertion of the same
    /// key nor somebody who removes it comes between.
    pub(super) fn admit(&self, insertion: &Insertion<'_>, stored: Stored, displaced: &mut Displaced) {
        let entry = Entry { key: *insertion.request.key, stored };
        let new = match self.exchange(insertion, entry, displaced) {
            Place::Found(new) => Some(new),
            Place::None(entry, standing) => self.add(insertion, entry, standing, displaced),
        };
        match new {
            Some(new) => self.publish(insertion, new, displaced),
            None => self.counters.add(Count::Evictions, 1),
        }
    }

    /// Hidden, others gone, revealed: in this order, which the module explains.
    pub(super) fn publish(&self, insertion: &Insertion<'_>, new: Resident<'_>, displaced: &mut Displaced) {
        if (insertion.wanted)() {
            self.supersede(insertion, Which::AllBut(new.way()), displaced);
        } else {
            new.close();
        }
        displaced.extend(new.reveal_and_leave());
    }

    /// Puts the entry where the old one of its key lies, if nobody looks at that, and the budget allows it: nobody else
    /// has to give way.
    fn exchange<'a>(
        &'a self,
        insertion: &Insertion<'a>,
        entry: Entry,
        displaced: &mut Displaced,
    ) -> Place<'a> {
        let request = &insertion.request;
        let (set, budget) = (self.tables.of(insertion.generation).set(request.home), &request.shard.budget);
        let Some(taken) = set.take(request.mark, budget) else { return Place::None(entry, None) };
        if taken.entry().key != entry.key {
            self.counters.add(Count::Evictions, 1);
            displaced.extend(Some(taken.release()));
            return Place::None(entry, None);
        }
        let standing = taken.standing().used();
        if !budget.exchange(taken.entry().stored.body.size(), entry.stored.body.size()) {
            displaced.extend(Some(taken.release()));
            return Place::None(entry, Some(standing));
        }
        let (new, old) = taken.refill(entry, request.mark, standing);
        displaced.extend(Some(old));
        Place::Found(new)
    }

    /// Puts the entry where another one has to go, if its set has as many as the average.
    fn reuse<'a>(
        &'a self,
        insertion: &Insertion<'a>,
        entry: Entry,
        displaced: &mut Displaced,
    ) -> Result<Resident<'a>, Entry> {
        let request = &insertion.request;
        let table = self.tables.of(insertion.generation);
        let (set, budget) = (table.set(request.home), &request.shard.budget);
        if !has_its_part(set, table.shard(request.home.shard), budget.entries()) {
            return Err(entry);
        }
        let Some(victim) = set.take_victim(budget, insertion.now) else { return Err(entry) };
        self.counters.add(Count::Evictions, 1);
        if !budget.exchange(victim.entry().stored.body.size(), entry.stored.body.size()) {
            displaced.extend(Some(victim.release()));
            return Err(entry);
        }
        let standing = Standing::new(set.recall(request.mark));
        let (new, old) = victim.refill(entry, request.mark, standing);
        displaced.extend(Some(old));
        Ok(new)
    }

    /// Puts the entry into an empty slot, or empties one for it.
    fn add<'a>(
        &'a self,
        insertion: &Insertion<'a>,
        mut entry: Entry,
        standing: Option<Standing>,
        displaced: &mut Displaced,
    ) -> Option<Resident<'a>> {
        let request = &insertion.request;
        let set = self.tables.of(insertion.generation).set(request.home);
        let budget = &request.shard.budget;
        let size = entry.stored.body.size();
        let mut replaced = standing;
        let filling = budget.take(size);
        if !filling {
            // What is replaced gives way first, so that nobody else has to.
            replaced = self.supersede(insertion, Which::All, displaced).or(replaced);
            if replaced.is_none() {
                match self.reuse(insertion, entry, displaced) {
                    Ok(resident) => return Some(resident),
                    Err(back) => entry = back,
                }
            }
            while !budget.take(size) {
                if !self.evict_one(insertion, displaced) {
                    // All that there is has been closed, and its last visitors have not left yet.
                    return None;
                }
            }
        }
        let standing = replaced.unwrap_or_else(|| Standing::new(filling || set.recall(request.mark)));
        loop {
            match set.put(entry, request.mark, standing, budget) {
                Ok(resident) => return Some(resident),
                Err(back) if self.evict_from(set, insertion, displaced) => entry = back,
                Err(_) => {
                    budget.give_back(size);
                    return None;
                }
            }
        }
    }

    /// Closes what else there is for the key, hidden or not. Returns how the last that it closed stood.
    fn supersede(
        &self,
        insertion: &Insertion<'_>,
        which: Which,
        displaced: &mut Displaced,
    ) -> Option<Standing> {
        let mut standing = None;
        // The oldest first: see `resize`.
        for (generation, table) in self.tables.in_use().rev() {
            let which = if generation == insertion.generation { which } else { Which::All };
            for resident in insertion.request.find(table, which) {
                if resident.close() {
                    standing = Some(resident.standing().used());
                    displaced.extend(resident.leave());
                }
            }
        }
        standing
    }

    /// Throws out one entry of the shard: from the set of the insertion, or from another that has as many as the average.
    pub(super) fn evict_one(&self, insertion: &Insertion<'_>, displaced: &mut Displaced) -> bool {
        let Request { shard, home, .. } = insertion.request;
        let table = self.tables.of(insertion.generation);
        let (own, sets) = (table.set(home), table.shard(home.shard));
        let entries = shard.budget.entries();
        let has_its_part = |set: &Set| has_its_part(set, sets, entries);
        if has_its_part(own) && self.evict_from(own, insertion, displaced) {
            return true;
        }
        // The hand goes round once for those that have their part, and once for any.
        let hand = || &sets[shard.hand.fetch_add(1, Relaxed) % sets.len()];
        let mut evict = |set: &Set| self.evict_from(set, insertion, displaced);
        (0..sets.len()).any(|_| Some(hand()).filter(|set| has_its_part(set)).is_some_and(&mut evict))
            || (0..sets.len()).any(|_| evict(hand()))
    }

    fn evict_from(&self, set: &Set, insertion: &Insertion<'_>, displaced: &mut Displaced) -> bool {
        let victim = set.evict(&insertion.request.shard.budget, insertion.now);
        let evicted = victim.is_some();
        if let Some(victim) = victim {
            self.counters.add(Count::Evictions, 1);
            displaced.extend(victim.leave());
        }
        evicted
    }
}

/// Whether a set has as many entries as its shard's sets have on average, in whole ones.
fn has_its_part(set: &Set, sets: &[Set], entries: u64) -> bool {
    (set.len() as u64 + 1) * sets.len() as u64 > entries
}
