//! The store as a whole, with more threads than loom can hold: tags, slots and what waits to be freed.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use shuttle::thread;

use super::*;
use crate::platform::atomic::{AtomicU32, random_runs};

const WRITERS: usize = 2;
const WRITES: u32 = 3;

/// Small enough that others push the key out.
fn store() -> Store {
    let config = OptimizationConfig { cache_capacity: 3, ..OptimizationConfig::default() };
    Store::new(&config).expect("these settings work")
}

fn key(n: u32) -> CacheKey {
    CacheKey::of(&[&n.to_le_bytes()])
}

impl Store {
    fn put_pair(&self, n: u32, value: [u32; 2]) {
        let bytes: Vec<u8> = value.into_iter().flat_map(u32::to_le_bytes).collect();
        let now = self.uptime(clock::now());
        self.insert(key(n), self.prepare(&bytes, None), self.meta(now), now);
    }

    fn pair(&self, n: u32) -> Option<[u32; 2]> {
        let bytes = self.get_now(&key(n))?.packed().open();
        let (first, second) = bytes.split_at(4);
        Some([first, second].map(|part| u32::from_le_bytes(part.try_into().expect("two times four bytes"))))
    }
}

/// What is known of one writer.
#[derive(Default)]
struct Known {
    written: AtomicU32,
    /// What was written up to here was removed since.
    removed: AtomicU32,
}

/// Who reads sees of each writer what it wrote last or later than what was seen before, and nothing that was removed.
#[test]
fn nothing_that_was_replaced_or_removed_comes_back() {
    random_runs(|| {
        let shared: Arc<(Store, [Known; WRITERS])> = Arc::new((store(), Default::default()));
        let spawn = |work: fn(&Store, &[Known; WRITERS], usize), which| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || work(&shared.0, &shared.1, which))
        };
        let write = |store: &Store, known: &[Known; WRITERS], which: usize| {
            for n in 1..=WRITES {
                store.put_pair(0, [which as u32, n]);
                known[which].written.store(n, SeqCst);
            }
        };
        let crowd = |store: &Store, _: &[Known; WRITERS], _| {
            for n in 1..=4 {
                store.put_pair(n, [n, n]);
                assert!(store.pair(n).is_none_or(|read| read == [n, n]));
            }
        };
        let remove = |store: &Store, known: &[Known; WRITERS], _| {
            let written = known.each_ref().map(|known| known.written.load(SeqCst));
            store.remove(&key(0));
            for (known, written) in known.iter().zip(written) {
                known.removed.store(written, SeqCst);
            }
        };
        let read = |store: &Store, known: &[Known; WRITERS], _| {
            let mut seen = [0; WRITERS];
            for _ in 0..4 {
                let removed = known.each_ref().map(|known| known.removed.load(SeqCst));
                if let Some([writer, n]) = store.pair(0) {
                    let writer = writer as usize;
                    assert!(n >= seen[writer], "{n} after {}", seen[writer]);
                    assert!(n > removed[writer], "{n} was removed");
                    seen[writer] = n;
                }
            }
        };
        let threads = [
            spawn(write, 0),
            spawn(write, 1),
            spawn(crowd, 0),
            spawn(remove, 0),
            spawn(read, 0),
            spawn(read, 1),
        ];
        threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        let stats = shared.0.stats();
        assert!(stats.entries <= 3, "{stats:?}");
        shared.0.clear();
        let stats = shared.0.stats();
        assert_eq!((stats.entries, stats.bytes), (0, 0), "what has gone has given its room back");
    });
}

#[test]
fn entries_that_move_to_a_larger_table_are_neither_doubled_nor_brought_back() {
    random_runs(|| {
        let store = Arc::new(store());
        store.put_pair(0, [0, 1]);
        let spawn = |work: fn(&Store)| {
            let store = Arc::clone(&store);
            thread::spawn(move || work(&store))
        };
        let grow: fn(&Store) = |store| store.resize(2_000, 64 << 20).expect("it can grow");
        let replace: fn(&Store) = |store| store.put_pair(0, [0, 2]);
        let remove: fn(&Store) = |store| {
            store.remove(&key(1));
            assert_eq!(store.pair(1), None);
        };
        let read: fn(&Store) = |store| {
            let first = store.pair(0).map_or(0, |[_, n]| n);
            let second = store.pair(0).map_or(first, |[_, n]| n);
            assert!(second >= first, "{second} after {first}");
        };
        store.put_pair(1, [1, 1]);
        let threads = [spawn(grow), spawn(replace), spawn(remove), spawn(read)];
        threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        assert!(store.pair(0).is_none_or(|read| read == [0, 2]));
        assert_eq!(store.pair(1), None);
    });
}
