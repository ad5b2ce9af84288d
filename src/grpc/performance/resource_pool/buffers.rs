//! Byte buffers for handlers: scratch space and results, without an allocation per message.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use super::{
    pool::{Keep, Pool, PoolOptions, Pooled},
    stats::PoolStats,
};
use crate::grpc::performance::config::OptimizationConfig;

/// Bytes of buffers that are made ahead at most: an idle server stays small, whatever a buffer's initial capacity.
const MADE_AHEAD_BYTES: usize = 1 << 20;

/// Byte buffers: `buffer_pool_size` of them are kept, each fresh one has room for `buffer_initial_capacity` bytes.
///
/// One buffer for each worker is made ahead (a megabyte of them at most), the others when they are needed. On its way
/// back a buffer is cleared; one that has grown keeps its room up to `buffer_max_capacity`, and shrinks to
/// `buffer_initial_capacity` above that. One whose room was taken away (by `mem::take`, say) is not kept.
///
/// ```
/// use millstream::{BufferPool, OptimizationConfig};
///
/// let buffers = BufferPool::new(&OptimizationConfig::default());
/// let mut buffer = buffers.checkout();
/// buffer.extend_from_slice(b"scratch");
/// drop(buffer);
/// assert!(buffers.checkout().is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct BufferPool {
    buffers: Pool<Vec<u8>>,
}

impl BufferPool {
    /// A pool with the sizes of `config`.
    #[must_use]
    pub fn new(config: &OptimizationConfig) -> Self {
        let (initial, max) = (config.buffer_initial_capacity, config.buffer_max_capacity);
        let options = PoolOptions {
            capacity: config.buffer_pool_size,
            preallocate: config.worker_count.min(MADE_AHEAD_BYTES / initial.max(1)),
        };
        let buffers =
            Pool::new(options, move || Vec::with_capacity(initial), move |buffer| tidy(buffer, initial, max));
        Self { buffers }
    }

    /// An empty buffer. Waits for nobody.
    #[must_use]
    pub fn checkout(&self) -> PooledBuffer {
        PooledBuffer { buffer: self.buffers.checkout() }
    }

    /// What the pool has done so far.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.buffers.stats()
    }
}

fn tidy(buffer: &mut Vec<u8>, initial: usize, max: usize) -> Keep {
    buffer.clear();
    if buffer.capacity() < initial {
        return Keep::Discard;
    }
    if buffer.capacity() > max {
        buffer.shrink_to(initial);
    }
    Keep::Yes
}

/// A buffer on loan, empty at first: it goes back to its pool when this is dropped.
pub struct PooledBuffer {
    buffer: Pooled<Vec<u8>>,
}

impl PooledBuffer {
    /// Takes the buffer out of the pool for good, with its bytes, which are not copied.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.buffer.into_inner()
    }
}

impl Deref for PooledBuffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.buffer
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

/// Payloads stay out of logs: lengths only.
impl fmt::Debug for PooledBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBuffer")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use std::mem;

    use super::*;

    fn small() -> BufferPool {
        BufferPool::new(&OptimizationConfig {
            worker_count: 1,
            buffer_pool_size: 2,
            buffer_initial_capacity: 64,
            buffer_max_capacity: 1024,
            ..OptimizationConfig::default()
        })
    }

    #[test]
    fn a_buffer_comes_empty_with_its_initial_room_whatever_was_in_it_before() {
        let buffers = small();
        for _ in 0..2 {
            let mut buffer = buffers.checkout();
            assert!(buffer.is_empty());
            assert!(buffer.capacity() >= 64);
            buffer.extend_from_slice(&[7; 10]);
        }
        assert_eq!((buffers.stats().hits, buffers.stats().misses), (2, 0));
    }

    #[test]
    fn a_buffer_that_has_grown_keeps_its_room_up_to_the_maximum_and_shrinks_above_it() {
        let buffers = small();
        buffers.checkout().reserve_exact(1024);
        assert_eq!(buffers.checkout().capacity(), 1024);
        buffers.checkout().reserve_exact(1025);
        assert_eq!(buffers.checkout().capacity(), 64);
        assert_eq!(buffers.stats().discarded, 0);
    }

    #[test]
    fn a_buffer_whose_room_was_taken_away_is_not_kept() {
        let buffers = small();
        let stolen = mem::take(&mut *buffers.checkout());
        assert!(stolen.capacity() >= 64);
        assert_eq!(buffers.stats().discarded, 1);
        assert!(buffers.checkout().capacity() >= 64);
    }

    #[test]
    fn a_buffer_that_is_taken_out_keeps_its_bytes_and_does_not_come_back() {
        let buffers = small();
        let mut buffer = buffers.checkout();
        buffer.extend_from_slice(b"result");
        let at = buffer.as_ptr();
        let bytes = buffer.into_vec();
        assert_eq!((bytes.as_slice(), bytes.as_ptr()), (&b"result"[..], at));
        let stats = buffers.stats();
        assert_eq!((stats.taken, stats.idle, stats.outstanding), (1, 0, 0));
    }

    #[test]
    fn one_buffer_for_each_worker_is_made_ahead_but_not_more_than_a_megabyte() {
        let idle = |workers, initial| {
            let config = OptimizationConfig {
                worker_count: workers,
                buffer_initial_capacity: initial,
                buffer_max_capacity: 1 << 30,
                ..OptimizationConfig::default()
            };
            BufferPool::new(&config).stats().idle
        };
        assert_eq!(idle(4, 8192), 4);
        assert_eq!(idle(1024, 8192), 50);
        assert_eq!(idle(8, 1 << 19), 2);
        assert_eq!(idle(8, 1 << 30), 0);
    }

    #[test]
    fn a_buffer_does_not_show_its_bytes_in_logs() {
        let mut buffer = small().checkout();
        buffer.extend_from_slice(b"secret");
        assert_eq!(format!("{buffer:?}"), "PooledBuffer { len: 6, capacity: 64, .. }");
    }
}
