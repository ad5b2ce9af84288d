//! Many threads, and threads that are stopped halfway.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use super::{super::set::Which, *};

const KEYS: usize = 64;
/// Values say which key they belong to, and in which order they were stored.
const LENGTH: usize = 300;

fn value(n: usize, version: u32) -> Vec<u8> {
    let mut value = vec![n as u8; LENGTH];
    value[..4].copy_from_slice(&version.to_le_bytes());
    value
}

fn version(n: usize, value: &[u8]) -> u32 {
    assert!(
        value.len() == LENGTH && value[4..].iter().all(|byte| *byte == n as u8),
        "a value of another key"
    );
    u32::from_le_bytes(value[..4].try_into().unwrap())
}

/// Each key has one writer, which counts its versions up and says which it has replaced or removed. Readers never see
/// one that had gone before they asked, while others resize and clear.
#[test]
fn no_value_of_another_key_is_returned_and_nothing_that_has_gone_comes_back() {
    const WRITERS: usize = 2;
    const ROUNDS: u32 = 1500;
    let store = store(48, MIB);
    // The oldest version that may still be seen.
    let least: Vec<AtomicU32> = (0..KEYS).map(|_| AtomicU32::new(0)).collect();
    let running = AtomicU32::new(WRITERS as u32);
    std::thread::scope(|scope| {
        let (store, least, running) = (&store, &least, &running);
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for round in 1..=ROUNDS {
                    for n in (writer..KEYS).step_by(WRITERS) {
                        store.put(n, &value(n, round));
                        least[n].store(round, SeqCst);
                        if (n as u32 + round).is_multiple_of(3) {
                            store.remove(&key(n));
                            least[n].store(round + 1, SeqCst);
                        }
                    }
                }
                running.fetch_sub(1, SeqCst);
            });
        }
        for reader in 0..2 {
            scope.spawn(move || {
                let mut n = reader;
                while running.load(SeqCst) > 0 {
                    n = (n + 7) % KEYS;
                    let oldest = least[n].load(SeqCst);
                    if let Some(found) = store.read(n) {
                        let found = version(n, &found);
                        assert!(found >= oldest, "version {found} of {n} after {oldest}");
                    }
                }
            });
        }
        let mut entries = 48;
        while running.load(SeqCst) > 0 {
            entries = if entries > 3000 { 16 } else { entries * 2 };
            store.resize(entries, MIB).unwrap();
            if entries == 64 {
                store.clear();
            }
        }
    });
    store.resize(48, MIB).unwrap();
    store.audit(48, MIB);
    store.clear();
    store.audit(0, 0);
}

/// What is there is never more than what was allowed, at any moment at which somebody looks.
#[test]
fn neither_budget_is_exceeded_at_any_moment() {
    const BYTES: usize = 100_000;
    const ENTRIES: usize = 50;
    let store = store(ENTRIES, BYTES);
    let (stop, writers) = (AtomicBool::new(false), 4);
    std::thread::scope(|scope| {
        let (store, stop) = (&store, &stop);
        for writer in 0..writers {
            scope.spawn(move || {
                for round in 0..4000 {
                    let n = (round * 7 + writer * 13) % 150;
                    store.put(n, &vec![n as u8; (round * 31 + writer * 977) % 9000]);
                    if round % 5 == 0 {
                        store.remove(&key(n + 1));
                    }
                }
                stop.store(true, SeqCst);
            });
        }
        while !stop.load(SeqCst) {
            let stats = store.stats();
            assert!(stats.bytes <= BYTES && stats.entries <= ENTRIES, "{stats:?}");
        }
    });
    store.audit(ENTRIES, BYTES);
}

#[test]
fn a_thread_that_is_stopped_while_it_looks_at_an_entry_holds_nobody_up() {
    let store = store(3, MIB);
    for n in 0..3 {
        store.put(n, b"old");
    }
    let first = key(0);
    let request = store.request(&first);
    let stopped =
        request.find(store.tables.of(store.tables.generation()), &store.books, Which::All).next().unwrap();
    // Replaced, removed and evicted around it.
    store.put(0, b"new");
    assert_eq!(store.read(0).unwrap(), "new");
    for n in 10..200 {
        store.put(n, b"others");
        assert!(store.has(n));
        let stats = store.stats();
        // What the stopped one looks at is there, too.
        assert!(stats.entries <= 3 && stats.bytes >= size(3) as usize + stats.entries * size(0) as usize);
    }
    assert!(!store.has(0));
    assert_eq!(stopped.entry().stored.data(), b"old");
    // It goes on, and its room is free again.
    let before = store.stats().bytes as u64;
    drop(stopped);
    assert_eq!(store.stats().bytes as u64, before - size(3));
}

#[test]
fn a_thread_that_is_stopped_while_it_stores_holds_nobody_up() {
    let store = store(3, MIB);
    let first = key(0);
    let request = store.request(&first);
    let set = store.tables.of(store.tables.generation()).set(request.home);
    // It has its room, and its slot, and stops.
    assert!(request.shard.budget.take_entry() && request.shard.budget.take_bytes(size(3)));
    let stopped = set.claim_for_test();
    for n in 0..100 {
        store.put(n, b"new");
        assert_eq!(store.read(n).unwrap(), "new");
        assert!(store.remove(&key(n)));
        store.put(n, b"again");
        assert!(store.has(n));
        assert!(store.stats().entries <= 3);
    }
    drop(stopped);
}

#[test]
fn entries_that_move_to_a_larger_table_stay_readable_but_for_the_moment_of_the_move() {
    let store = store(20, 8 * MIB);
    for n in 0..20 {
        store.put(n, &value(n, 1));
    }
    for entries in [40, 100, 400, 2000, 10_000] {
        store.resize(entries, 8 * MIB).unwrap();
        for n in 0..20 {
            assert_eq!(version(n, &store.read(n).unwrap()), 1, "{n} in {entries}");
        }
    }
    for n in 20..9000 {
        store.put(n, b"small");
    }
    assert!(store.stats().entries > 8500, "{}", store.stats().entries);
    store.audit(10_000, 8 * MIB);
}

/// One stops before its table is left behind, and publishes and reveals afterwards; another, who stores the same, finds that
/// before the first goes on.
#[test]
fn what_was_invalidated_where_nobody_looks_any_more_is_not_moved_to_where_somebody_does() {
    let store = store(20, MIB);
    let first = key(0);
    let now = store.uptime(Instant::now());
    let insertion = |wanted| Insertion {
        request: store.request(&first),
        generation: store.tables.generation(),
        now,
        wanted,
    };
    let is_valid = AtomicBool::new(true);
    let wanted = || is_valid.load(SeqCst);
    let (stopped, mut another) = (insertion(Some(&wanted)), insertion(None));
    store.resize(2000, 2 * MIB).unwrap();
    assert_ne!(store.tables.generation(), stopped.generation);

    let Prepared::Fits(body) = store.prepare(b"old", None) else { panic!("it fits") };
    store
        .admit(&stopped, store.books.fresh(Entry { key: first, stored: Stored::new(body, store.meta(now)) }));
    is_valid.store(false, SeqCst);
    store.remove(&first);
    store.follow(&mut another);
    assert!(!store.has(0));
    store.audit(0, 0);
}

/// What is moved is there twice while it is; of other entries nothing is left behind.
#[test]
fn a_budget_is_exceeded_by_one_value_at_most_while_entries_are_moved() {
    const LENGTH: usize = 4096;
    const ENTRIES: usize = 200;
    let bytes = ENTRIES * size(LENGTH) as usize;
    for _ in 0..20 {
        let store = store(ENTRIES, bytes);
        (0..2 * ENTRIES).for_each(|n| store.put(n, &[7; LENGTH]));
        let budget = &store.books.shards()[0].budget;
        let (begin, moved) = (Barrier::new(2), AtomicBool::new(false));
        let most = std::thread::scope(|scope| {
            let most = scope.spawn(|| {
                begin.wait();
                let held = std::iter::from_fn(|| (!moved.load(SeqCst)).then(|| budget.bytes()));
                held.max().unwrap_or(0)
            });
            begin.wait();
            store.resize(10 * ENTRIES, bytes).unwrap();
            moved.store(true, SeqCst);
            most.join().unwrap()
        });
        assert!(most <= bytes as u64 + size(LENGTH), "{most} bytes of {bytes}");
    }
}
