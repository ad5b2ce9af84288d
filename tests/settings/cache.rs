//! What the cache keeps, how long, and how.

use std::time::{Duration, Instant};

use bytes::Bytes;
use millstream::{
    CacheKey, CacheStats, HandlerError, JobScope, MessageHandler, OptimizationConfig,
    OptimizedStreamProcessor, processor::Message,
};

use crate::common::{self, busy::Busy, *};

/// Asks for the answer to a key; whether the cache had it.
async fn ask(processor: &OptimizedStreamProcessor<Actor>, key: u64) -> bool {
    let keyed = common::Request { key: Some(key), ..request(key, Act::Answer) };
    let answer = processor.answer(Message::new(keyed), None).await;
    assert_eq!(answer.result.unwrap(), key);
    answer.cache_hit
}

/// Asks for 100 keys, and then again for all of them: the figures between, and how many the cache had.
async fn hundred_twice(config: OptimizationConfig) -> (CacheStats, usize) {
    let processor = processor(config);
    for key in 0..100 {
        assert!(!ask(&processor, key).await);
    }
    let stats = processor.cache().stats();
    let mut hits = 0;
    for key in (0..100).rev() {
        hits += usize::from(ask(&processor, key).await);
    }
    (stats, hits)
}

#[tokio::test]
async fn no_more_answers_are_kept_than_may_be() {
    let (few, hits) = hundred_twice(OptimizationConfig { cache_capacity: 10, ..config() }).await;
    assert!((1..=10).contains(&few.entries) && hits < 50, "{few:?}, {hits} hits");
    let (all, hits) = hundred_twice(OptimizationConfig { cache_capacity: 1000, ..config() }).await;
    assert_eq!((all.entries, hits), (100, 100));
}

#[tokio::test]
async fn answers_take_no_more_bytes_than_they_may() {
    let (few, hits) = hundred_twice(OptimizationConfig { cache_byte_capacity: 4096, ..config() }).await;
    assert!((1..=4096).contains(&few.bytes) && hits < 50, "{few:?}, {hits} hits");
    let (all, hits) = hundred_twice(OptimizationConfig { cache_byte_capacity: 1 << 20, ..config() }).await;
    assert!(all.bytes > 4096 && hits == 100, "{all:?}, {hits} hits");
}

#[tokio::test]
async fn an_answer_is_served_for_its_time_to_live() {
    let short = Duration::from_millis(5);
    for cache_ttl in [short, Duration::from_secs(3600)] {
        let processor = processor(OptimizationConfig { cache_ttl, ..config() });
        assert!(!ask(&processor, 7).await);
        passed(Instant::now() + short).await;
        assert_eq!(ask(&processor, 7).await, cache_ttl > short, "cache_ttl = {cache_ttl:?}");
    }
}

#[tokio::test]
async fn a_stale_answer_is_served_for_so_long_while_it_is_computed_anew() {
    let cache_ttl = Duration::from_millis(5);
    for cache_stale_ttl in [Duration::ZERO, Duration::from_secs(3600)] {
        let processor = processor(OptimizationConfig { cache_ttl, cache_stale_ttl, ..config() });
        assert!(!ask(&processor, 7).await);
        passed(Instant::now() + cache_ttl).await;
        let stale = !cache_stale_ttl.is_zero();
        assert_eq!(ask(&processor, 7).await, stale, "cache_stale_ttl = {cache_stale_ttl:?}");
        assert_eq!(processor.cache().stats().stale_hits, u64::from(stale));
        eventually("it is computed anew", || processor.cache().stats().insertions == 2).await;
    }
}

#[tokio::test]
async fn a_stale_answer_is_computed_anew_once_an_overload_is_over_though_nothing_else_comes() {
    let (ms, interval) = (Duration::from_millis(1), Duration::from_millis(20));
    let deadline = Instant::now() + LONG;
    let processor = loop {
        let processor = processor(OptimizationConfig {
            worker_count: 1,
            cache_ttl: interval,
            cache_stale_ttl: Duration::from_secs(3600),
            enable_metrics: false,
            enable_length_scheduling: false,
            queue_target_max: ms,
            queue_interval: interval,
            ..config()
        });
        assert!(!ask(&processor, 7).await);
        let mut busy = Busy::on(processor.clone(), 1).await;
        busy.send((1..100).map(|number| Message::new(request(number, Act::Busy(ms))))).await;
        passed(Instant::now() + interval).await;
        busy.finish().await;
        if !processor.has_time_to_spare() {
            break processor;
        }
        // A machine that holds up the look has let the level fall again.
        assert!(Instant::now() < deadline, "all have waited for longer than twice the target");
    };
    // A step down for each interval, and one in which nobody waited.
    passed(Instant::now() + 5 * interval).await;
    assert!(ask(&processor, 7).await, "it is stale");
    eventually("it is computed anew", || processor.cache().stats().insertions == 2).await;
}

/// Answers with so many zeros.
struct Zeros;

impl MessageHandler for Zeros {
    type Request = usize;
    type Response = Bytes;

    fn handle(&mut self, zeros: usize, _: &mut JobScope<'_>) -> Result<Bytes, HandlerError> {
        Ok(vec![0; zeros].into())
    }

    fn cache_key(zeros: &usize) -> Option<CacheKey> {
        Some(CacheKey::of(&[&zeros.to_le_bytes()]))
    }

    fn to_cache(response: &Bytes) -> Option<Bytes> {
        Some(response.clone())
    }

    fn from_cache(stored: Bytes) -> Option<Bytes> {
        Some(stored)
    }
}

#[tokio::test]
async fn answers_are_stored_compressed_and_come_back_whole() {
    const SIZE: usize = 100_000;
    for enable_cache_compression in [true, false] {
        let config = OptimizationConfig { enable_cache_compression, ..config() };
        let processor = OptimizedStreamProcessor::new(config, || Zeros).unwrap();
        let computed = processor.process_one(SIZE).await.unwrap();
        let hit = processor.answer(Message::new(SIZE), None).await;
        assert!(hit.cache_hit && hit.result.unwrap() == computed);
        let stats = processor.cache().stats();
        assert_eq!(stats.compressed, u64::from(enable_cache_compression));
        assert_eq!(stats.bytes < SIZE / 10, enable_cache_compression, "{stats:?}");
    }
}
