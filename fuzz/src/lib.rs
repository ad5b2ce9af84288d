//! What the fuzz targets do, so that libFuzzer and the replay of the corpus run the same code.
//!
//! Each target reads operations out of the bytes it is given, does them on the real structure and on a model beside it,
//! and panics where the two differ. Bytes that say nothing that makes sense do nothing.

mod batcher;
mod cache;
mod flight;
mod pool;
mod queue;

use std::thread;

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

/// Threads of a plan that are run.
const THREADS: usize = 4;

/// Does the works of several threads at once. They are joined, and not just waited for: what a thread holds to its very
/// end would look like a leak.
fn together<W: Sync, R: Send>(works: &[W], work: impl Fn(usize, &W) -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let works = works.iter().take(THREADS).enumerate();
        let threads: Vec<_> = works.map(|(me, each)| scope.spawn(move || work(me, each))).collect();
        threads.into_iter().map(|thread| thread.join().expect("its assertions hold")).collect()
    })
}
