//! Room for a new entry, and the entry into it.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    super::stats::Count,
    Request, Store,
    books::Shard,
    policy::Standing,
    set::{Resident, Set, Which},
    slot::{Ask, Fresh},
    table::Generation,
    uptime::Uptime,
};

/// Part of its shard that is thrown out at a time where bytes are what binds: to free them costs as much for many as for
/// one.
const AHEAD: u64 = 64;

/// A set gives way to its own newcomers as long as it has all but one of so many parts of the average. With no part to be
/// missing, 0.3 points fewer are answered where a loop is larger than the cache, and as many elsewhere.
const PARTS: u64 = 8;

/// An insertion under way.
pub(super) struct Insertion<'a> {
    pub(super) request: Request<'a>,
    pub(super) generation: Generation,
    pub(super) now: Uptime,
    /// Asked once the entry is published: if not, it is closed, and not revealed.
    pub(super) wanted: Option<&'a dyn Fn() -> bool>,
}

/// How an entry is where it belongs.
enum Put<'a> {
    Open,
    Hidden(Resident<'a>),
}

impl Store {
    /// Stores in the table of the insertion's generation, if there is room, and neither another insertion of the same
    /// key nor somebody who removes it comes between.
    pub(super) fn admit(&self, insertion: &Insertion<'_>, entry: Fresh) {
        let shard = insertion.request.shard;
        let size = entry.entry().stored.size();
        let mut replaced = None;
        let has_room = shard.budget.take_bytes(size) || self.make_room(insertion, size, &mut replaced);
        if has_room {
            let put = match self.replace(insertion, entry) {
                Ok(put) => Ok(put),
                Err(entry) => self.add(insertion, entry, replaced).map(Put::Hidden),
            };
            match put {
                Ok(Put::Hidden(new)) => return self.publish(insertion, &new),
                Ok(Put::Open) => return,
                Err(entry) => drop(entry),
            }
            shard.budget.give_back_bytes(size);
        }
        self.counters().add(Count::Evictions, 1);
    }

    /// Hidden, others gone, revealed: in this order, which the module explains.
    pub(super) fn publish(&self, insertion: &Insertion<'_>, new: &Resident<'_>) {
        if insertion.wanted.is_none_or(|wanted| wanted()) {
            self.supersede(insertion, Which::AllBut(new.way()));
            new.reveal();
        } else {
            new.close();
        }
    }

    /// Takes room for so many bytes, and throws out what has to go for it; the old entry of the key first, so that nobody
    /// else has to. False: all that there is has been taken out, and is still looked at.
    fn make_room(&self, insertion: &Insertion<'_>, size: u64, replaced: &mut Option<Standing>) -> bool {
        let budget = &insertion.request.shard.budget;
        let has_room = || {
            self.books.reclaim();
            budget.take_bytes(size)
        };
        if has_room() {
            return true;
        }
        *replaced = self.supersede(insertion, Which::All);
        if replaced.is_some() && has_room() {
            return true;
        }
        loop {
            let mut thrown_out = 0;
            while thrown_out < size.max(budget.byte_limit() / AHEAD) {
                let Some(size) = self.evict_one(insertion) else { break };
                thrown_out += size;
            }
            if has_room() {
                return true;
            }
            if thrown_out == 0 {
                return false;
            }
        }
    }

    /// Puts the entry where the old one of its key lies; for all to read, if nobody is to be asked first.
    fn replace<'a>(&'a self, insertion: &Insertion<'a>, entry: Fresh) -> Result<Put<'a>, Fresh> {
        let table = self.tables.of(insertion.generation);
        let Some(old) = insertion.request.find(table, &self.books, Which::Readable).next() else {
            return Err(entry);
        };
        let standing = old.standing().used();
        match insertion.wanted {
            None => old.replace(entry, standing).map(|()| Put::Open),
            Some(_) => old.replace_hidden(entry, standing).map(Put::Hidden),
        }
    }

    /// Puts the entry into an empty slot, or empties one for it.
    fn add<'a>(
        &'a self,
        insertion: &Insertion<'a>,
        mut entry: Fresh,
        replaced: Option<Standing>,
    ) -> Result<Resident<'a>, Fresh> {
        let Request { ref home, mark, shard, .. } = insertion.request;
        let table = self.tables.of(insertion.generation);
        let set = table.set(*home);
        let mut filling = shard.budget.is_filling();
        if !shard.budget.take_entry() {
            filling = false;
            let has_its_part = || has_its_part(set, table.shard(home.shard), shard.budget.entries());
            if replaced.is_none()
                && has_its_part()
                && let Some(victim) = set.take_victim(Ask::Open, &self.books, insertion.now)
            {
                self.counters().add(Count::Evictions, 1);
                return Ok(victim.refill(entry, mark, Standing::new(set.recall(mark))));
            }
            while !shard.budget.take_entry() {
                if self.evict_one(insertion).is_none() {
                    return Err(entry);
                }
            }
        }
        let standing = replaced.unwrap_or_else(|| Standing::new(filling || set.recall(mark)));
        loop {
            match set.put(entry, mark, standing, &self.books) {
                Ok(resident) => return Ok(resident),
                Err(back) => entry = back,
            }
            if self.evict_from(set, insertion).is_none() {
                shard.budget.give_back_entry();
                return Err(entry);
            }
        }
    }

    /// Closes what else there is for the key, hidden or not. Returns how the last that it closed stood.
    fn supersede(&self, insertion: &Insertion<'_>, which: Which) -> Option<Standing> {
        let mut standing = None;
        // The oldest first: see `resize`.
        for (generation, table) in self.tables.in_use().rev() {
            let which = if generation == insertion.generation { which } else { Which::All };
            insertion.request.close(
                table,
                &self.books,
                which,
                |_| true,
                |closed| {
                    standing = Some(closed.standing().used());
                },
            );
        }
        standing
    }

    /// Throws out one entry of the shard: from the set of the insertion, or from another that has its part.
    /// The bytes that come back.
    pub(super) fn evict_one(&self, insertion: &Insertion<'_>) -> Option<u64> {
        let Request { shard, home, .. } = insertion.request;
        let table = self.tables.of(insertion.generation);
        let (own, sets) = (table.set(home), table.shard(home.shard));
        let entries = shard.budget.entries();
        let has_its_part = |set: &Set| has_its_part(set, sets, entries);
        let evict = |set: &Set| self.evict_from(set, insertion);
        if has_its_part(own)
            && let Some(size) = evict(own)
        {
            return Some(size);
        }
        // The hand goes round once for those that have their part, and once for any.
        let hand = || &sets[shard.hand.fetch_add(1, Relaxed) % sets.len()];
        (0..sets.len())
            .find_map(|_| Some(hand()).filter(|set| has_its_part(set)).and_then(evict))
            .or_else(|| (0..sets.len()).find_map(|_| evict(hand())))
    }

    fn evict_from(&self, set: &Set, insertion: &Insertion<'_>) -> Option<u64> {
        let victim = set.take_victim(Ask::OpenOrHidden, &self.books, insertion.now)?;
        self.counters().add(Count::Evictions, 1);
        Some(victim.release())
    }

    /// Throws out what is beyond the limits of a shard, as long as there is somebody to throw out.
    pub(super) fn shrink_to_limits(&self, shard: &Shard, mut evict: impl FnMut() -> Option<u64>) {
        // What was thrown out and is not yet freed.
        let mut waiting = 0;
        while shard.budget.is_overdrawn(0) {
            if waiting == 0 || !shard.budget.is_overdrawn(waiting) {
                self.books.reclaim();
                waiting = 0;
            }
            if shard.budget.is_overdrawn(waiting) {
                let Some(size) = evict() else { return self.books.reclaim() };
                waiting += size;
            }
        }
    }
}

/// Whether a set has most of the entries that its shard's sets have on average, with the one that is to come.
fn has_its_part(set: &Set, sets: &[Set], entries: u64) -> bool {
    (set.len() as u64 + 1) * sets.len() as u64 * PARTS > entries * (PARTS - 1)
}
