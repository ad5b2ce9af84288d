//! Room for a new entry, and the entry into it.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::{
    super::value::Stored,
    Displaced, Request, Store,
    budget::Budget,
    policy::Standing,
    set::{Resident, Set, Which},
    slot::Entry,
    table::Generation,
};
use crate::platform::coarse_clock::coarse_now;

/// How far the coarse clock may lag behind: a hundred times what it does on a healthy machine.
const MOST_LAG: Duration = Duration::from_secs(1);

/// An insertion under way.
pub(super) struct Insertion<'a> {
    pub(super) request: Request<'a>,
    pub(super) generation: Generation,
    pub(super) now: Instant,
}

impl Store {
    /// Stores in the table of the insertion's generation, and stays in as a visitor. `None`: it found no room, or another
    /// insertion of the same key, or somebody who removes it, came between.
    pub(super) fn admit<'a>(
        &'a self,
        insertion: &Insertion<'a>,
        stored: Stored,
        displaced: &mut Displaced,
    ) -> Option<Resident<'a>> {
        let request = &insertion.request;
        let table = self.tables.of(insertion.generation);
        let left = stored.meta.expires.saturating_duration_since(insertion.now);
        let fresh_until = coarse_now() + left.saturating_sub(MOST_LAG);
        let entry = Entry { key: *request.key, stored, fresh_until };
        let old = request.find(table, Which::All).next();
        let standing = old.as_ref().map(|old| old.standing().used());
        let exchanged = match old {
            Some(old) => exchange(old, entry, &request.shard.budget),
            None => Err(entry),
        };
        let new = match exchanged {
            Ok((new, old)) => {
                displaced.extend(Some(old));
                new
            }
            Err(entry) => self.add(insertion, entry, standing, displaced)?,
        };
        // Hidden, others gone, revealed: in this order, which the module explains.
        self.supersede(insertion, Which::AllBut(new.way()), displaced);
        if new.reveal() {
            return Some(new);
        }
        displaced.extend(new.leave());
        None
    }

    /// Puts the entry into an empty slot.
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
            while !budget.take(size) {
                if !self.evict_one(insertion, displaced) {
                    // All that there is has been closed, and its last visitors have not left yet.
                    self.counters.evictions.add(1);
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
                    self.counters.evictions.add(1);
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
        let has_its_part = |set: &Set| set.len() as u64 * sets.len() as u64 >= entries;
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
        let stale = |entry: &Entry| entry.stored.meta.expires <= insertion.now;
        let victim = set.evict(&insertion.request.shard.budget, stale);
        let evicted = victim.is_some();
        if let Some(victim) = victim {
            self.counters.evictions.add(1);
            displaced.extend(victim.leave());
        }
        evicted
    }
}

/// Puts an entry, hidden, where the old one of its key lies, if nobody else looks at that, and the budget allows it:
/// nobody else has to give way.
fn exchange<'a>(old: Resident<'a>, entry: Entry, budget: &Budget) -> Result<(Resident<'a>, Entry), Entry> {
    let (before, after) = (old.entry().stored.body.size(), entry.stored.body.size());
    let more = after.saturating_sub(before);
    if !budget.take_bytes(more) {
        return Err(entry);
    }
    match old.replace(entry) {
        (new, Ok(old)) => {
            budget.give_back_bytes(before.saturating_sub(after));
            Ok((new, old))
        }
        (_, Err(entry)) => {
            budget.give_back_bytes(more);
            Err(entry)
        }
    }
}
