//! What is stored for a key, and how it is closed: by who removes it, by who finds that it is too old, and by who has
//! published another beside it.
//!
//! An entry is *closed* by one exchange of its slot's word (see `slot`), which one thread wins; from then on nobody finds
//! it, and who looks at it may go on.
//!
//! **At most one answer to a key can be read at a time.** An insertion publishes its entry hidden; closes all others of the
//! key, hidden ones too; and then reveals its own, if nobody has closed it. Of two at a time at least one finds the other,
//! since each publishes before it looks round, and closes it before it reveals its own; if each finds the other, one or
//! both are lost, which a cache may do. An insertion that exchanges what can be read for its own changes nothing in that:
//! there is one before and after, and who has found the one before, and comes too late to close it, looks again. So
//! what is read was stored last, or was there when the reading began, and what was replaced or removed does not come back:
//! what has left its slot is never put into one again.
//!
//! Who removes looks into all tables, and once more if another has come into use meanwhile: then what it was to remove may
//! have been moved there (see `resize`).

use super::{
    super::{key::CacheKey, stats::Count, value::Stored},
    Store,
    books::{Books, Shard},
    set::{Mark, Resident, Which},
    table::{Home, Table},
    uptime::Uptime,
};

/// One key, and all that belongs to it.
pub(super) struct Request<'a> {
    pub(super) key: &'a CacheKey,
    pub(super) mark: Mark,
    pub(super) home: Home,
    pub(super) shard: &'a Shard,
}

impl Store {
    #[inline]
    pub(super) fn request<'a>(&'a self, key: &'a CacheKey) -> Request<'a> {
        let shards = self.books.shards();
        let home = Home::of(key, shards.len());
        Request { key, mark: Mark::of(key), home, shard: &shards[home.shard] }
    }

    /// What there is for the key in this table was found to be too old.
    #[cold]
    #[inline(never)]
    pub(super) fn expire(&self, key: &CacheKey, table: &Table, is_to_come: &dyn Fn(Uptime) -> bool) {
        let is_due = |found: &Resident<'_>| !is_to_come(found.entry().stored.expires());
        let mut closed = 0;
        self.request(key).close(table, &self.books, Which::Readable, is_due, |_| closed += 1);
        self.counters().add(Count::Expired, closed);
    }

    /// Removes the answer; whether there was one.
    pub(in super::super) fn remove(&self, key: &CacheKey) -> bool {
        self.remove_if(key, |_| true)
    }

    /// Removes everything.
    pub(in super::super) fn clear(&self) {
        self.retain(|_, _| false);
    }

    /// Removes the answer if it is one of those; whether there was one.
    pub(in super::super) fn remove_if(&self, key: &CacheKey, which: impl Fn(&Stored) -> bool) -> bool {
        let request = self.request(key);
        let mut removed = false;
        loop {
            let generation = self.tables.generation();
            // The oldest first: see `resize`.
            for table in self.tables.all() {
                request.close(
                    table,
                    &self.books,
                    Which::All,
                    |found| which(&found.entry().stored),
                    |_| removed = true,
                );
            }
            if self.tables.generation() == generation {
                return removed;
            }
        }
    }

    /// Keeps those only. Entry by entry: what is inserted meanwhile may or may not be looked at.
    pub(in super::super) fn retain(&self, which: impl Fn(&CacheKey, &Stored) -> bool) {
        loop {
            let generation = self.tables.generation();
            for table in self.tables.all() {
                for number in 0..self.books.shards().len() {
                    for resident in table.shard(number).iter().flat_map(|set| set.all(&self.books)) {
                        if !which(&resident.entry().key, &resident.entry().stored) {
                            resident.close();
                        }
                    }
                }
            }
            if self.tables.generation() == generation {
                return self.books.reclaim();
            }
        }
    }
}

impl<'a> Request<'a> {
    /// What is stored for the key in this table; as a rule one entry or none.
    pub(super) fn find(
        &self,
        table: &'a Table,
        books: &'a Books,
        which: Which,
    ) -> impl Iterator<Item = Resident<'a>> + use<'a> {
        table.set(self.home).find(self.key, self.mark, books, which)
    }

    /// Takes out what is `chosen` of what is stored for the key in this table.
    pub(super) fn close(
        &self,
        table: &'a Table,
        books: &'a Books,
        which: Which,
        chosen: impl Fn(&Resident<'_>) -> bool,
        mut closed: impl FnMut(&Resident<'_>),
    ) {
        let mut again = true;
        while again {
            again = false;
            for resident in self.find(table, books, which).filter(|found| chosen(found)) {
                if resident.close() {
                    closed(&resident);
                } else {
                    // Another may be where it was, readable, and has not looked round.
                    again = true;
                }
            }
        }
    }
}
