//! How many instances are kept for the next message, and how large.

use std::{
    sync::{Arc, Barrier},
    thread,
};

use millstream::{OptimizationConfig, OptimizedStreamProcessor, processor::StreamOptions};
use tokio::runtime;

use crate::common::{self, *};

#[tokio::test]
async fn as_many_handlers_are_kept_as_may_be() {
    for (service_pool_size, kept) in [(1, 1), (2, 2), (10, 4)] {
        let processor = processor(OptimizationConfig { worker_count: 4, service_pool_size, ..config() });
        let (busy, keeper) = gate();
        let requests = (0..4).map(|n| request(n, Act::Wait(busy.clone())));
        let mut answers = processor.stream(ready(requests), StreamOptions::default()).unwrap();
        stir(&mut answers).await;
        for _ in 0..4 {
            keeper.await_begin();
        }
        drop(keeper);
        assert_eq!(all(answers).await.len(), 4);
        let handlers = processor.resources().handlers;
        assert_eq!((handlers.idle, handlers.misses), (kept, 4 - kept as u64), "{handlers:?}");
    }
}

#[test]
fn as_many_validators_are_kept_as_may_be() {
    for (validator_pool_size, kept) in [(1, 1), (2, 2), (5, 3)] {
        // Three streams, each on a thread of its own, are at their validators at the same time.
        let all_there = Arc::new(Barrier::new(3));
        let validator = move || {
            let all_there = Arc::clone(&all_there);
            move |_: &common::Request| {
                all_there.wait();
                Ok(())
            }
        };
        let config = OptimizationConfig { validator_pool_size, ..config() };
        let processor = OptimizedStreamProcessor::with_validator(config, Actor::default, validator).unwrap();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(processor.process_one(request(1, Act::Answer))).unwrap();
                });
            }
        });
        let validators = processor.resources().validators;
        // One is made ahead.
        assert_eq!((validators.idle, validators.misses), (kept, 2), "{validators:?}");
    }
}

#[tokio::test]
async fn as_many_buffers_are_kept_as_may_be() {
    for (buffer_pool_size, kept) in [(1, 1), (3, 3), (50, 5)] {
        let processor = processor(OptimizationConfig { buffer_pool_size, ..config() });
        assert_eq!(processor.process_one(request(0, Act::Buffers(5))).await.unwrap(), 5);
        let buffers = processor.resources().buffers;
        assert_eq!(buffers.idle, kept, "{buffers:?}");
    }
}

/// The room in the buffer of a message, after one that filled its own with so many bytes.
async fn room_after(bytes: usize, config: OptimizationConfig) -> u64 {
    let processor = processor(OptimizationConfig { worker_count: 1, buffer_pool_size: 1, ..config });
    processor.process_one(request(0, Act::Buffer(bytes))).await.unwrap();
    processor.process_one(request(1, Act::Buffer(0))).await.unwrap()
}

#[tokio::test]
async fn a_fresh_buffer_has_its_initial_room() {
    for buffer_initial_capacity in [100, 20_000] {
        let config = OptimizationConfig { buffer_initial_capacity, ..config() };
        assert_eq!(room_after(0, config).await, buffer_initial_capacity as u64);
    }
}

#[tokio::test]
async fn a_buffer_keeps_no_more_room_than_it_may() {
    let initial = OptimizationConfig::default().buffer_initial_capacity as u64;
    let strict = OptimizationConfig { buffer_max_capacity: 50_000, ..config() };
    assert_eq!(room_after(100_000, strict).await, initial);
    let generous = OptimizationConfig { buffer_max_capacity: 200_000, ..config() };
    assert!(room_after(100_000, generous).await >= 100_000);
}
