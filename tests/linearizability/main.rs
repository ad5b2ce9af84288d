//! What threads see of a structure that they share could have been seen if one of them had used it at a time.
//!
//! Threads do short series of operations at once, each noted with its outcome and with when it began and ended. A
//! checker ([`checker`]) then looks for one order of all operations that respects those times and is right for a model of
//! the structure ([`models`]). Where there is none, the structure did what no sequence explains.
#![allow(missing_docs)]

mod checker;
mod models;
mod recording;

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use millstream::{
    CacheKey, OptimizationConfig, StreamCache,
    proof::Lane,
    resource_pool::{Keep, Pool, PoolOptions, Pooled},
};

use checker::explained;
use models::{Answers, AnswersDone, Hands, HandsDone, Line, LineDone};
use recording::{Note, THREADS, record};

/// Histories of each structure.
const ROUNDS: usize = 400;
/// Operations of a thread in one history.
const EACH: usize = 10;

/// An operation that the numbers of thread, round and operation pick: the same ones with every run, well mixed.
fn choice(thread: usize, round: usize, operation: usize) -> usize {
    let seed = (thread * 1_000_003 + round * 10_007 + operation) as u64;
    // Steele and others' SplitMix64.
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 33) as usize
}

#[test]
fn a_lane_is_a_queue_first_in_first_out() {
    let lane = Arc::new(Lane::new(THREADS * EACH, THREADS / 2, THREADS));
    for round in 0..ROUNDS {
        let history = record(|thread, note| {
            for operation in 0..EACH {
                if choice(thread, round, operation).is_multiple_of(2) {
                    let value = thread * EACH + operation;
                    note(&mut || {
                        lane.try_push(value).expect("there is room for all that are pushed");
                        LineDone::Pushed(value)
                    });
                } else {
                    note(&mut || LineDone::Popped(lane.pop()));
                }
            }
        });
        assert!(explained(Line::default(), &history), "no queue does this: {history:#?}");
        while lane.pop().is_some() {}
    }
}

thread_local! {
    /// The instance that this thread has thrown away last.
    static THROWN_AWAY: Cell<Option<usize>> = const { Cell::new(None) };
}

/// An instance that says when it goes.
struct Numbered(usize);

impl Drop for Numbered {
    fn drop(&mut self) {
        THROWN_AWAY.set(Some(self.0));
    }
}

#[test]
fn an_instance_of_a_pool_is_in_one_pair_of_hands_and_no_more_are_kept_than_there_is_room_for() {
    const CAPACITY: usize = 3;
    for round in 0..ROUNDS {
        let made = AtomicUsize::new(0);
        let make = move || Numbered(made.fetch_add(1, SeqCst));
        let pool = Pool::new(PoolOptions { capacity: CAPACITY, preallocate: 0 }, make, |_| Keep::Yes);
        let history = record(|thread, note| {
            let mut held: VecDeque<Pooled<Numbered>> = VecDeque::new();
            for operation in 0..EACH {
                if held.is_empty() || held.len() < 2 && choice(thread, round, operation).is_multiple_of(2) {
                    note(&mut || {
                        held.push_back(pool.checkout());
                        HandsDone::CheckedOut(held.back().expect("pushed just now").0)
                    });
                } else {
                    give_back(&mut held, note);
                }
            }
            while !held.is_empty() {
                give_back(&mut held, note);
            }
        });
        // One that a thread moves from its desk to the shelf, to make way, is at neither for a moment.
        let model = Hands::with_room_for(CAPACITY + THREADS);
        assert!(explained(model, &history), "no pool does this: {history:#?}");
    }
}

fn give_back(held: &mut VecDeque<Pooled<Numbered>>, note: Note<'_, HandsDone>) {
    note(&mut || {
        let instance = held.pop_front().expect("something is held");
        let number = instance.0;
        THROWN_AWAY.set(None);
        drop(instance);
        HandsDone::Returned { number, kept: THROWN_AWAY.get() != Some(number) }
    });
}

#[test]
fn a_cache_holds_for_each_key_what_was_stored_last_or_nothing() {
    let config = OptimizationConfig { cache_capacity: 64, ..OptimizationConfig::default() };
    let cache = StreamCache::new(&config).expect("the configuration works");
    for round in 0..ROUNDS {
        // One key to a history, and more than the cache has room for, so that some are thrown out.
        let key = CacheKey::of(&[&(round as u64 % 100).to_le_bytes()]);
        cache.invalidate(&key);
        let history = record(|thread, note| {
            for operation in 0..EACH {
                match choice(thread, round, operation) % 8 {
                    0..4 => note(&mut || {
                        let found =
                            cache.get(&key).map(|value| value.as_ref().try_into().expect("eight bytes"));
                        AnswersDone::Got(found.map(usize::from_le_bytes))
                    }),
                    4..7 => {
                        let value = (round * THREADS + thread) * EACH + operation;
                        note(&mut || {
                            cache.insert(key, &value.to_le_bytes());
                            AnswersDone::Stored(value)
                        });
                    }
                    _ => note(&mut || {
                        cache.invalidate(&key);
                        AnswersDone::Removed
                    }),
                }
            }
        });
        assert!(explained(Answers::default(), &history), "no cache does this: {history:#?}");
    }
}
