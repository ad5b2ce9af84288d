//! What the fuzz targets do, so that libFuzzer and the replay of the corpus run the same code.
//!
//! Each target reads operations out of the bytes it is given, does them on the real structure and on a model beside it,
//! and panics where the two differ. Bytes that say nothing that makes sense do nothing.

mod batcher;
mod cache;
mod flight;
mod pool;
mod queue;

pub use self::{batcher::batcher, cache::cache, flight::flight, pool::pool, queue::queue};

/// A target: what it is called, as its corpus is, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 5] =
    [("queue", queue), ("cache", cache), ("pool", pool), ("flight", flight), ("batcher", batcher)];

/// What the bytes say, as far as they reach.
fn read<'a, T: arbitrary::Arbitrary<'a>>(data: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(arbitrary::Unstructured::new(data)).ok()
}
