use std::{collections::HashMap, sync::Barrier};

use proptest::prelude::*;

use super::*;

const KEYS: usize = 24;

/// Keys that fall into one bucket, so that it has to grow, and some of other buckets.
fn keys() -> Vec<CacheKey> {
    let all = (0_u32..).map(|n| CacheKey::of(&[&n.to_le_bytes()]));
    let crowded = all.clone().filter(|key| (key.placement() as usize).is_multiple_of(BUCKETS));
    crowded.take(KEYS - 4).chain(all.take(4)).collect()
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Begin(usize),
    /// The nth of those that were ever begun.
    Strike(usize),
    StrikeKey(usize),
    StrikeAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..KEYS).prop_map(Step::Begin),
        6 => any::<prop::sample::Index>().prop_map(|nth| Step::Strike(nth.index(1000))),
        3 => (0..KEYS).prop_map(Step::StrikeKey),
        1 => Just(Step::StrikeAll),
    ]
}

proptest! {
    #[test]
    fn the_table_does_what_a_map_does(steps in prop::collection::vec(step(), 1..400)) {
        let (table, keys) = (Table::new(), keys());
        let mut model: HashMap<usize, Arc<Flight>> = HashMap::new();
        let mut begun: Vec<(usize, Arc<Flight>)> = Vec::new();
        for step in steps {
            match step {
                Step::Begin(key) => match (table.begin(keys[key]), model.get(&key)) {
                    (Ok(flight), None) => {
                        model.insert(key, Arc::clone(&flight));
                        begun.push((key, flight));
                    }
                    (Err(flight), Some(there)) => prop_assert!(Arc::ptr_eq(&flight, there)),
                    (begun, there) => prop_assert!(false, "{}, {}", begun.is_ok(), there.is_some()),
                },
                Step::Strike(nth) if !begun.is_empty() => {
                    let (key, flight) = &begun[nth % begun.len()];
                    table.strike(flight);
                    if model.get(key).is_some_and(|there| Arc::ptr_eq(there, flight)) {
                        model.remove(key);
                    }
                }
                Step::Strike(_) => {}
                Step::StrikeKey(key) => {
                    table.strike_key(&keys[key]);
                    model.remove(&key);
                }
                Step::StrikeAll => {
                    table.strike_all();
                    model.clear();
                }
            }
            for (key, flight) in &begun {
                let on = model.get(key).is_some_and(|there| Arc::ptr_eq(there, flight));
                prop_assert_eq!(flight.listing.is_on(), on);
                // Ours, and the model's; and the table lets go of what was struck.
                prop_assert_eq!(Arc::strong_count(flight), if on { 3 } else { 1 });
            }
            prop_assert_eq!(table.len(), model.len());
        }
    }
}

#[test]
fn berths_are_used_again() {
    let (table, keys) = (Table::new(), keys());
    for _ in 0..1000 {
        let flights: Vec<_> = keys.iter().filter_map(|key| table.begin(*key).ok()).collect();
        flights.iter().for_each(|flight| table.strike(flight));
    }
    let longest = table.buckets.iter().map(|bucket| bucket.piers().count()).max();
    assert!(longest <= Some(KEYS.div_ceil(BERTHS) + 1), "{longest:?}");
}

#[test]
fn who_is_stopped_in_a_berth_keeps_nobody_from_the_bucket() {
    let (table, keys) = (Table::new(), keys());
    let flight = table.begin(keys[0]).ok().unwrap();
    let bucket = table.bucket(&keys[0]);
    let stopped = bucket.berths().find_map(|berth| berth.visit(Ask::AnythingOpen)).unwrap();
    table.strike(&flight);
    let next = table.begin(keys[0]).ok().unwrap();
    assert!(!Arc::ptr_eq(&flight, &next) && Arc::ptr_eq(&flight, &stopped));
    assert!(table.begin(keys[0]).is_err() && table.begin(keys[1]).is_ok());
    drop(stopped);
    assert_eq!(Arc::strong_count(&flight), 1);
}

#[test]
fn who_is_stopped_before_it_has_marked_its_flight_keeps_nobody_from_the_bucket() {
    let (table, keys) = (Table::new(), keys());
    let bucket = table.bucket(&keys[0]);
    // As far as the exchange of the word.
    let flight = Arc::new(Flight::new(keys[0]));
    let next = bucket.latest().next(bucket.moor(&flight));
    flight.listing.0.store(next.0, SeqCst);
    bucket.latest.store(next.0, SeqCst);
    assert!(!flight.listing.is_on());
    let there = table.begin(keys[0]).err().unwrap();
    assert!(Arc::ptr_eq(&flight, &there) && flight.listing.is_on());
}

#[test]
fn threads_that_begin_and_strike_the_same_keys_never_have_two_flights_of_one() {
    const THREADS: usize = 4;
    let (table, keys) = (&Table::new(), &keys());
    let flying: &Vec<AtomicU64> = &keys.iter().map(|_| AtomicU64::new(0)).collect();
    let barrier = &Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                barrier.wait();
                for n in 0..20_000 {
                    let key = (n * 7 + thread) % KEYS;
                    if let Ok(flight) = table.begin(keys[key]) {
                        assert_eq!(flying[key].swap(1, SeqCst), 0, "two at a time");
                        assert_eq!(flying[key].swap(0, SeqCst), 1);
                        table.strike(&flight);
                    }
                }
            });
        }
    });
    assert!(table.is_empty());
}
