//! A door for this repository's own tests, benches and fuzz targets to parts that are not public. Nothing here belongs
//! to the crate's face, and all of it may change any day.

use std::time::{Duration, Instant};

use crate::{
    grpc::performance::{
        config::OptimizationConfig,
        processor::proof as processor,
        worker_pool::{Priority, proof as worker_pool},
    },
    platform::{cpu_clock, park},
};

/// CPU time of the calling thread: work that is measured by it is the same work on a busy machine.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    cpu_clock::thread_cpu_time()
}

/// The queue that a lane of the worker pool is.
pub struct Lane<T>(worker_pool::Lane<T>);

impl<T> Lane<T> {
    /// Room for `capacity` values, rounded up to a power of two, with a cell for each of so many threads, and `loans` for
    /// others.
    #[must_use]
    pub fn new(capacity: usize, own: usize, loans: usize) -> Self {
        Self(worker_pool::Lane::new(capacity, own, loans))
    }

    /// Queues a value.
    ///
    /// # Errors
    /// The value, if there is no room, or every cell on loan.
    pub fn try_push(&self, value: T) -> Result<(), T> {
        self.0.try_push(value)
    }

    /// Takes the value that was queued first.
    #[must_use]
    pub fn pop(&self) -> Option<T> {
        self.0.pop()
    }

    /// Values in the lane: never fewer than there are.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.len()
    }
}

/// The batches of a stream that messages may still join.
#[derive(Default)]
pub struct Batches(processor::Batches);

impl Batches {
    /// The slot behind which a message may be chained.
    #[must_use]
    pub fn joinable(&self, priority: Priority, now: Instant, config: &OptimizationConfig) -> Option<u32> {
        self.0.joinable(priority.into(), now, config.batch_size, config)
    }

    /// A message was chained behind the last.
    pub fn joined(&mut self, priority: Priority, slot: u32, now: Instant) {
        self.0.joined(priority.into(), slot, now);
    }

    /// A message was queued by itself.
    pub fn opened(&mut self, priority: Priority, slot: u32, now: Instant) {
        self.0.opened(priority.into(), slot, now);
    }

    /// A slot is about to be filled anew.
    pub fn forget(&mut self, slot: u32) {
        self.0.forget(slot);
    }
}

/// Where a worker sleeps.
#[derive(Debug)]
pub struct ParkingSpot(park::ParkingSpot);

impl ParkingSpot {
    /// A spot that nobody sleeps at.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "as the spot itself has it")]
    pub fn new() -> Self {
        Self(park::ParkingSpot::new())
    }

    /// Sleeps until the next wake, or not at all when that came before.
    pub fn park(&self) {
        self.0.park();
    }

    /// Wakes who sleeps here, or the next who would.
    pub fn unpark(&self) {
        self.0.unpark();
    }
}
