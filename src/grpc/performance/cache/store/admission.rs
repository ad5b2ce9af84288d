//! Room for a new entry, and the entry into it.

use std::{sync::atomic::Ordering::Relaxed, time::Instant};

use super::{
    super::value::Stored,
    Displaced, Request, Store,
    gate::Publish,
    policy::Standing,
    set::{Resident, Set},
    slot::Entry,
    table::{Generation, Table},
};

/// What became of the entries that were there for a key.
struct Superseded {
    /// How the last one that was closed stood.
    standing: Option<Standing>,
    /// There is one whose insertion began later.
    beaten: bool,
}

impl Store {
    /// Stores in the table of this generation. `None`: it found no room, or a later insertion of the same key won.
    pub(super) fn admit<'a>(
        &'a self,
        generation: Generation,
        request: &Request<'a>,
        stored: Stored,
        now: Instant,
        displaced: &mut Displaced,
    ) -> Option<Resident<'a>> {
        let table = self.tables.of(generation);
        let set = table.set(request.home);
        let budget = &request.shard.budget;
        let (ticket, size) = (set.ticket(), stored.body.size());
        let mut replaced = None;
        let filling = budget.take(size);
        if !filling {
            // What is replaced gives way first, so that nobody else has to.
            replaced = self.supersede(generation, request, ticket, displaced).standing;
            while !budget.take(size) {
                if !self.evict_one(request, table, now, displaced) {
                    // All that there is has been closed, and its last visitors have not left yet.
                    self.counters.evictions.add(1);
                    return None;
                }
            }
        }
        let replaced = replaced.or_else(|| request.find(table, true).next().map(|old| old.standing()));
        let standing = match replaced {
            Some(standing) => standing.used(),
            None => Standing::new(filling || set.recall(request.mark)),
        };
        let mut entry = Entry { key: *request.key, stored, ticket };
        let resident = loop {
            match set.put(entry, request.mark, standing, Publish::Open, budget) {
                Ok(resident) => break resident,
                Err(back) if self.evict_from(set, request, now, displaced) => entry = back,
                Err(_) => {
                    budget.give_back(size);
                    self.counters.evictions.add(1);
                    return None;
                }
            }
        };
        if self.supersede(generation, request, ticket, displaced).beaten {
            resident.close();
            displaced.extend(resident.leave());
            return None;
        }
        Some(resident)
    }

    /// Closes what was stored for the key by insertions that began before this one.
    fn supersede(
        &self,
        generation: Generation,
        request: &Request<'_>,
        ticket: u64,
        displaced: &mut Displaced,
    ) -> Superseded {
        let mut outcome = Superseded { standing: None, beaten: false };
        for (of, table) in self.tables.in_use().rev() {
            for resident in request.find(table, true) {
                let began = (of, resident.entry().ticket);
                if began > (generation, ticket) {
                    outcome.beaten = true;
                } else if began < (generation, ticket) && resident.close() {
                    outcome.standing = Some(resident.standing());
                    displaced.extend(resident.leave());
                }
            }
        }
        outcome
    }

    /// Throws out one entry of the shard, from the set of the request, or from another that has as many as the average.
    pub(super) fn evict_one(
        &self,
        request: &Request<'_>,
        table: &Table,
        now: Instant,
        displaced: &mut Displaced,
    ) -> bool {
        let sets = table.shard(request.home.shard);
        let entries = request.shard.budget.entries();
        let has_its_part = |set: &Set| set.len() as u64 * sets.len() as u64 >= entries;
        let own = table.set(request.home);
        if has_its_part(own) && self.evict_from(own, request, now, displaced) {
            return true;
        }
        // The hand goes round once for those that have their part, and once for any; beginning anywhere.
        let hand = || &sets[request.shard.hand.fetch_add(1, Relaxed) % sets.len()];
        let mut evict = |set: &Set| self.evict_from(set, request, now, displaced);
        (0..sets.len()).any(|_| Some(hand()).filter(|set| has_its_part(set)).is_some_and(&mut evict))
            || (0..sets.len()).any(|_| evict(hand()))
    }

    fn evict_from(&self, set: &Set, request: &Request<'_>, now: Instant, displaced: &mut Displaced) -> bool {
        let stale = |entry: &Entry| entry.stored.meta.expires <= now;
        let victim = set.evict(&request.shard.budget, stale);
        let evicted = victim.is_some();
        if let Some(victim) = victim {
            self.counters.evictions.add(1);
            displaced.extend(victim.leave());
        }
        evicted
    }
}
