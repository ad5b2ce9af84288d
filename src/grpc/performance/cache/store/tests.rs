use std::{cell::RefCell, collections::HashMap, sync::Barrier};

use bytes::Bytes;
use proptest::prelude::*;

use super::{super::value::ENTRY_OVERHEAD, *};

mod together;

const MIB: usize = 1 << 20;

fn store(entries: usize, bytes: usize) -> Store {
    configured(|c| (c.cache_capacity, c.cache_byte_capacity) = (entries, bytes))
}

fn configured(turn: impl FnOnce(&mut OptimizationConfig)) -> Store {
    let mut config = OptimizationConfig::default();
    turn(&mut config);
    Store::new(&config).unwrap()
}

fn key(n: usize) -> CacheKey {
    CacheKey::of(&[&n.to_le_bytes()])
}

impl Store {
    fn put(&self, n: usize, value: &[u8]) {
        self.put_at(n, value, Instant::now());
    }

    fn put_at(&self, n: usize, value: &[u8], now: Instant) {
        self.put_prepared(n, self.prepare(value, None), now);
    }

    fn put_prepared(&self, n: usize, prepared: Prepared, now: Instant) {
        let now = self.uptime(now);
        self.insert(key(n), prepared, self.meta(now), now);
    }

    fn has(&self, n: usize) -> bool {
        self.read(n).is_some()
    }

    fn read(&self, n: usize) -> Option<Bytes> {
        self.read_at(n, Instant::now())
    }

    fn read_at(&self, n: usize, now: Instant) -> Option<Bytes> {
        self.get(&key(n), now).map(|found| found.packed().open())
    }

    /// Of each entry.
    fn sizes(&self) -> Vec<u64> {
        let sizes = RefCell::new(Vec::new());
        self.retain(|_, stored| {
            sizes.borrow_mut().push(stored.size());
            true
        });
        sizes.into_inner()
    }

    /// What lies in the table agrees with the books, and is within the budgets.
    fn audit(&self, entries: usize, bytes: usize) {
        let sizes = self.sizes();
        assert!(sizes.len() <= entries, "{} of {entries} entries", sizes.len());
        assert!(sizes.iter().sum::<u64>() <= bytes as u64, "{} of {bytes} bytes", sizes.iter().sum::<u64>());
        assert_eq!(self.stats().entries, sizes.len());
        assert_eq!(self.stats().bytes as u64, sizes.iter().sum::<u64>());
    }
}

#[test]
fn a_cache_of_any_size_holds_as_many_as_it_says_and_takes_one_more_in() {
    for entries in [1, 2, 3, 10, 100, 255] {
        let store = store(entries, MIB);
        for n in 0..entries {
            store.put(n, b"small");
        }
        assert!((0..entries).all(|n| store.has(n)), "{entries} entries");
        for n in entries..3 * entries {
            store.put(n, b"small");
            assert!(store.has(n), "the newest of {n} in {entries}");
            store.audit(entries, MIB);
        }
        assert_eq!(store.stats().evictions, 2 * entries as u64);
    }
}

#[test]
fn shards_are_few_enough_to_fill_up() {
    for entries in [256, 1000, 5000] {
        let store = store(entries, 64 * MIB);
        for n in 0..entries {
            store.put(n, b"small");
        }
        store.audit(entries, 64 * MIB);
        assert!(store.stats().entries * 100 >= entries * 88, "{} of {entries}", store.stats().entries);
    }
    assert_eq!(shards(100, 64 * MIB), 1);
    assert_eq!(shards(1_000_000, 31 * MIB), 1);
    assert_eq!(shards(1000, 64 * MIB), 4);
    assert!(shards(1 << 28, 1 << 40) <= 4 * num_cpus::get());
}

#[test]
fn what_the_budget_cannot_hold_is_refused_counted_and_hides_what_was_there() {
    let store = store(100, MIB);
    store.put(1, b"before");
    store.put(1, &vec![1; MIB]);
    assert!(!store.has(1));
    // Within the whole, and above the 97% that one entry may take: the table itself refuses it.
    store.put(2, b"before");
    store.put(2, &vec![2; MIB - ENTRY_OVERHEAD - 10]);
    assert!(!store.has(2));
    let stats = store.stats();
    assert_eq!((stats.rejected_too_large, stats.insertions, stats.evictions, stats.entries), (2, 2, 0, 0));
    store.audit(0, 0);

    store.put(3, &vec![3; MIB * 96 / 100]);
    assert!(store.has(3));
}

#[test]
fn a_value_that_is_replaced_is_not_counted_as_evicted() {
    let store = store(10, MIB);
    store.put(1, b"");
    store.put(1, b"");
    store.put(1, b"longer");
    assert_eq!(store.read(1).unwrap(), "longer");
    let stats = store.stats();
    assert_eq!((stats.insertions, stats.evictions, stats.rejected_too_large), (3, 0, 0));
    store.audit(1, ENTRY_OVERHEAD + 6);
    assert!(store.remove(&key(1)));
    assert!(!store.remove(&key(1)));
    store.audit(0, 0);
}

#[test]
fn what_was_replaced_waits_to_be_freed_but_not_for_ever_and_not_without_bound() {
    let store = store(10, MIB);
    let held = || store.books.shards()[0].budget.bytes();
    store.put(1, b"old");
    store.put(1, b"new");
    assert_eq!(held(), 2 * size(3));
    (0..HITS_TO_TIDY).for_each(|_| store.count_hit(store.counters()));
    assert_eq!(held(), 2 * size(3), "some have stored since the last time");
    (0..HITS_TO_TIDY).for_each(|_| store.count_hit(store.counters()));
    assert_eq!(held(), size(3));

    for _ in 0..1000 {
        store.put(1, b"new");
        // As many wait, and as many are spare.
        assert!(held() <= (1 + 2 * u64::from(hazards::ENOUGH)) * size(3), "{} bytes", held());
    }
    // A few large ones are as much as many small ones.
    for _ in 0..100 {
        store.put(1, &[0; MIB / 8]);
        assert!(held() <= 3 * size(MIB / 8), "{} bytes", held());
    }
}

#[test]
fn what_is_asked_for_often_outlives_what_is_asked_for_once() {
    let store = store(100, MIB);
    for n in 0..10 {
        store.put(n, b"popular");
    }
    for n in 100..1000 {
        store.put(n, b"once");
        assert!((0..10).filter(|popular| store.has(*popular)).count() > 0);
    }
    assert!((0..10).all(|n| store.has(n)));
}

#[test]
fn an_expired_answer_is_never_served() {
    let store = configured(|c| c.cache_ttl = Duration::from_secs(10));
    let start = Instant::now();
    store.put_at(1, b"old", start);
    let due = start + Duration::from_secs(10);
    assert_eq!(store.read_at(1, due - Duration::from_nanos(1)).unwrap(), "old");
    assert_eq!(store.read_at(1, due), None);
    assert_eq!((store.stats().expired, store.stats().entries), (1, 0));
    store.audit(0, 0);

    store.put_at(1, b"old", start);
    store.put_at(1, b"new", due);
    assert_eq!(store.read_at(1, due).unwrap(), "new");
    assert_eq!(store.stats().expired, 1);
}

#[test]
fn what_was_stored_since_an_answer_was_found_too_old_stays() {
    let store = configured(|c| c.cache_ttl = Duration::from_secs(10));
    let start = Instant::now();
    let due = start + Duration::from_secs(10);
    store.put_at(1, b"old", start);
    // Between the look that found the old one and the removal.
    store.put_at(1, b"new", due);
    let expire = |now| store.expire(&key(1), store.tables.of(store.tables.generation()), &|due| now < due);
    expire(store.uptime(due));
    assert_eq!(store.read_at(1, due).unwrap(), "new");
    assert_eq!(store.stats().expired, 0);
    expire(store.uptime(due + Duration::from_secs(10)));
    assert_eq!((store.stats().expired, store.stats().entries), (1, 0));
    store.audit(0, 0);
}

#[test]
fn what_compression_saves_is_counted() {
    let store = store(100, MIB);
    let long = vec![42; 100_000];
    let now = Instant::now();
    store.put_prepared(1, store.prepare(&long, Body::compressed(&long)), now);
    store.put(2, b"incompressible");
    assert_eq!(store.read(1).unwrap(), long);
    assert_eq!(store.read(2).unwrap(), "incompressible");
    let stats = store.stats();
    assert_eq!(stats.compressed, 1);
    assert_eq!(stats.bytes as u64 + stats.bytes_saved, size(long.len()) + size(14));
    assert!(stats.bytes < 2000, "{} bytes", stats.bytes);
    store.audit(2, 2000);
}

#[test]
fn compression_makes_room_for_values_that_would_be_too_large() {
    let store = store(100, MIB);
    let large = vec![0; 8 * MIB];
    let now = Instant::now();
    store.put_prepared(1, store.prepare(&large, Body::compressed(&large)), now);
    assert_eq!(store.read(1).unwrap().len(), 8 * MIB);
}

#[test]
fn a_resize_keeps_what_fits() {
    let store = store(100, MIB);
    for n in 0..100 {
        store.put(n, &[0; 1000]);
    }
    for (entries, bytes) in
        [(200, MIB), (200, 8 * MIB), (100, MIB), (100, 100 * (1000 + ENTRY_OVERHEAD) + 1000)]
    {
        store.resize(entries, bytes).unwrap();
        assert_eq!(store.stats().entries, 100, "in {entries} entries and {bytes} bytes");
    }
    store.resize(10, MIB).unwrap();
    assert_eq!(store.stats().entries, 10);
    store.audit(10, MIB);
    store.resize(100, 5 * (1000 + ENTRY_OVERHEAD) + 200).unwrap();
    assert_eq!(store.stats().entries, 5);
    assert_eq!(store.stats().evictions, 95);
    store.resize(1, MIB).unwrap();
    store.put(200, b"the only one");
    assert!(store.has(200));
    store.audit(1, MIB);
}

#[test]
fn a_resize_evicts_the_least_useful_first() {
    let store = store(100, MIB);
    for n in 0..100 {
        store.put(n, b"");
    }
    for _ in 0..3 {
        assert!((90..100).all(|n| store.has(n)));
    }
    store.resize(10, MIB).unwrap();
    assert!((90..100).all(|n| store.has(n)));
}

#[test]
fn a_resize_that_cannot_work_says_what_would() {
    let store = store(1000, 64 * MIB);
    assert_eq!(
        store.resize(3, 64 * MIB).unwrap_err().to_string(),
        "Configuration error: cache_capacity = 3 cannot work: \
         it must be at least 4, since the cache was made with 4 shards"
    );
    assert!(store.resize(4, 2000).unwrap_err().to_string().contains("cache_byte_capacity = 2000"));
    assert!(store.resize(0, MIB).is_err());
    assert!(store.resize(4, usize::MAX).is_err());
    store.resize(4, 4096).unwrap();
    for n in 0..100 {
        store.put(n, b"");
        store.audit(4, 4096);
    }
}

#[test]
fn budgets_hold_after_a_resize_amid_insertions() {
    let store = store(100, MIB);
    let (begin, end) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10_000 {
                begin.wait();
                (0..4).for_each(|n| store.put(n, b""));
                end.wait();
            }
        });
        for _ in 0..10_000 {
            begin.wait();
            store.resize(1, MIB).unwrap();
            end.wait();
            store.audit(1, MIB);
            store.resize(100, MIB).unwrap();
            store.clear();
        }
    });
}

#[test]
fn the_overhead_of_an_entry_covers_what_the_table_really_uses() {
    let store = store(10_000, MIB * 31);
    for n in 0..100_000 {
        store.put(n, b"");
    }
    let per_entry = store.tables.memory() / store.stats().entries;
    // Beside the table: two allocations of the value, their headers included.
    let heap = 64;
    assert!(per_entry + heap <= ENTRY_OVERHEAD, "{per_entry} bytes per entry in the table");
}

#[test]
fn a_budget_of_bytes_covers_the_table_too_where_many_more_entries_are_allowed_than_fit() {
    // As 1 GiB to 4 million.
    let (bytes, entries) = (64 * MIB, 250_000);
    for len in [1024, 4096, 65536] {
        let store = store(entries, bytes);
        let fit = bytes / (len + ENTRY_OVERHEAD);
        // So often that each set has had as many as it ever has at a time.
        for n in 0..10 * fit {
            store.put(n, &vec![7; len]);
        }
        let stored = store.stats().entries;
        assert!(stored * 100 > fit * 95, "{stored} of {fit}");
        // Beside keys and values: the table, and what the heap takes for two allocations.
        let taken = store.tables.memory() + stored * (len + 64);
        assert!(taken * 100 <= bytes * 105, "{taken} bytes of {bytes} with values of {len}");
    }
}

#[test]
fn there_is_room_for_one_entry_in_the_least_of_bytes() {
    let store = store(1000, 4 * LEAST_ENTRY);
    for n in 0..100 {
        store.put(n, b"");
        store.audit(4, 4 * ENTRY_OVERHEAD);
    }
    assert_eq!(store.stats().entries, 4);
    store.resize(1000, 8 * LEAST_ENTRY).unwrap();
    for n in 0..100 {
        store.put(n, b"");
    }
    assert_eq!(store.stats().entries, 8);
}

#[test]
fn the_least_cache_keeps_one_empty_answer() {
    let store = store(1, 1024);
    store.put(0, &[]);
    store.audit(1, 1024);
    assert_eq!(store.read(0).unwrap(), b""[..]);
    store.clear();
    store.audit(0, 0);
}

proptest! {
    #[test]
    fn budgets_hold_after_any_insertions(
        entries in 1..2000_usize,
        bytes in 1024..4_000_000_usize,
        values in prop::collection::vec((0..500_usize, 0..20_000_usize), 1..400),
    ) {
        let store = store(entries, bytes);
        let mut last = HashMap::new();
        for (n, len) in values {
            store.put(n, &vec![n as u8; len]);
            last.insert(n, len);
        }
        store.audit(entries, bytes);
        for (n, len) in last {
            if let Some(value) = store.read(n) {
                prop_assert_eq!(value, vec![n as u8; len]);
            }
        }
        store.clear();
        store.audit(0, 0);
    }
}
