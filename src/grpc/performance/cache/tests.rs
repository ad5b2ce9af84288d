use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;

use super::*;

const TTL: Duration = Duration::from_secs(10);

fn cache(turn: impl FnOnce(&mut OptimizationConfig)) -> StreamCache {
    let mut config = OptimizationConfig::default();
    turn(&mut config);
    StreamCache::new(&config).unwrap()
}

fn key(n: u8) -> CacheKey {
    CacheKey::of(&[&[n]])
}

#[test]
fn a_setting_that_cannot_work_is_refused() {
    let config = OptimizationConfig { cache_capacity: 0, ..OptimizationConfig::default() };
    assert!(StreamCache::new(&config).unwrap_err().to_string().contains("cache_capacity = 0"));
}

#[test]
fn clones_are_the_same_cache_and_every_look_up_counts() {
    let cache = cache(|_| {});
    let other = cache.clone();
    assert_eq!(cache.hit_ratio(), 0.0);
    assert_eq!(cache.get(&key(1)), None);
    cache.insert(key(1), b"here");
    assert_eq!(other.get(&key(1)).unwrap(), "here");
    assert_eq!(other.hit_ratio(), 0.5);
    assert!(format!("{cache:?}").contains("hits: 1, misses: 1"));
    assert!(other.invalidate(&key(1)));
    assert_eq!(cache.get(&key(1)), None);
}

#[test]
fn a_hit_shares_the_bytes_that_are_stored() {
    let cache = cache(|_| {});
    cache.insert(key(1), b"shared");
    let (one, two) = (cache.get(&key(1)).unwrap(), cache.get(&key(1)).unwrap());
    assert_eq!(one.as_ptr(), two.as_ptr());
}

mod freshness;

impl StreamCache {
    fn get_at(&self, key: &CacheKey, now: Instant) -> Option<Bytes> {
        self.flights.answer_at(key, now)
    }
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u8, u8, usize),
    /// As a stream does it: join, and complete when it is one's own.
    Join(u8, u8, usize),
    Get(u8),
    Invalidate(u8),
    Clear,
    Advance(Duration),
    Resize(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..12_u8;
    let len = prop_oneof![0..200_usize, 1000..5000_usize, Just(40_000_usize)];
    prop_oneof![
        4 => (key.clone(), any::<u8>(), len.clone()).prop_map(|(key, fill, len)| Op::Insert(key, fill, len)),
        4 => (key.clone(), any::<u8>(), len).prop_map(|(key, fill, len)| Op::Join(key, fill, len)),
        6 => key.clone().prop_map(Op::Get),
        1 => key.prop_map(Op::Invalidate),
        1 => Just(Op::Clear),
        1 => (0..12_000_u64).prop_map(|ms| Op::Advance(Duration::from_millis(ms))),
        1 => (1..20_usize, 1024..60_000_usize).prop_map(|(entries, bytes)| Op::Resize(entries, bytes)),
    ]
}

proptest! {
    /// What the cache returns was inserted last, is not too old, and was not invalidated. It may always have nothing.
    #[test]
    fn the_cache_never_returns_what_it_should_not(
        ops in prop::collection::vec(op(), 1..200),
        compression in any::<bool>(),
    ) {
        let (mut entries, mut bytes) = (8, 30_000);
        let cache = cache(|c| {
            (c.cache_capacity, c.cache_byte_capacity) = (entries, bytes);
            (c.cache_ttl, c.enable_cache_compression) = (TTL, compression);
        });
        let mut model: HashMap<u8, (Vec<u8>, Instant)> = HashMap::new();
        let mut now = Instant::now();
        let check = |model: &HashMap<u8, (Vec<u8>, Instant)>, n: u8, found: Bytes, now| {
            let (value, expires) = model.get(&n).expect("it was inserted, and not invalidated");
            assert!(now < *expires);
            assert_eq!(found, value);
        };
        for op in ops {
            match op {
                Op::Insert(n, fill, len) => {
                    cache.insert_at(key(n), &vec![fill; len], Freshness::new(), now);
                    model.insert(n, (vec![fill; len], now + TTL));
                }
                Op::Join(n, fill, len) => match cache.join_at(key(n), || panic!("nobody leads"), now) {
                    Lookup::Hit(found) => check(&model, n, found, now),
                    Lookup::Follow => panic!("nobody leads"),
                    Lookup::Failure(_) => panic!("nobody fails"),
                    Lookup::Lead(lead) => {
                        lead.complete_at(vec![fill; len].into(), now);
                        model.insert(n, (vec![fill; len], now + TTL));
                    }
                },
                Op::Get(n) => {
                    if let Some(found) = cache.get_at(&key(n), now) {
                        check(&model, n, found, now);
                    }
                }
                Op::Invalidate(n) => {
                    cache.invalidate(&key(n));
                    model.remove(&n);
                }
                Op::Clear => {
                    cache.clear();
                    model.clear();
                }
                Op::Advance(time) => now += time,
                Op::Resize(e, b) => {
                    (entries, bytes) = (e, b);
                    cache.resize(e, b).unwrap();
                }
            }
            let stats = cache.stats();
            prop_assert!(stats.entries <= entries && stats.bytes <= bytes, "{:?}", stats);
        }
    }
}
