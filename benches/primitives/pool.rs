//! What does a buffer cost: from the system allocator, from the pools that there are, and from ours?
//!
//! One operation takes a buffer of 8 KiB, writes a cache line to it, and gives it back.
//!
//! Not every pool that one finds is here. `rpool` 1.0.1 crashes under this load: its stack is a list of nodes of their own, and
//! who takes the first one reads its successor, while another thread may have taken and freed it. With 8 threads that
//! was a segmentation fault within three seconds in 4 of 5 runs.

use std::hint::black_box;

use millstream::resource_pool::{Keep, Pool, PoolOptions};

use crate::{
    room::{
        Effort, Measure, Room,
        Standing::{Ours, Peer},
    },
    speed::{self, Repeat},
};

pub(crate) const ROOM: Room =
    Room { name: "pool", question: "What does it take to have a buffer for a while?", measure };

/// The contender that is no pool.
pub(crate) const MALLOC: &str = "malloc";
const BUFFER: usize = 8 << 10;
/// More than are ever taken at a time.
const BUFFERS: usize = 64;
const THREADS: [usize; 3] = [1, 2, 8];

/// Work on a buffer, as little as there can be.
fn touch(buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(&[7; 64]);
    black_box(&buffer);
    buffer.clear();
}

fn fresh() -> Vec<u8> {
    Vec::with_capacity(BUFFER)
}

struct Buffers;

impl opool::PoolAllocator<Vec<u8>> for Buffers {
    fn allocate(&self) -> Vec<u8> {
        fresh()
    }
}

fn measure(effort: &Effort) -> Vec<Measure> {
    let ours = Pool::new(PoolOptions { capacity: BUFFERS, preallocate: BUFFERS }, fresh, |_| Keep::Yes);
    let object_pool = object_pool::Pool::new(BUFFERS, fresh);
    let linear = lockfree_object_pool::LinearObjectPool::new(fresh, |_: &mut Vec<u8>| ());
    let opool = opool::Pool::new_prefilled(BUFFERS, Buffers);
    let slab = sharded_slab::Pool::<Vec<u8>>::new();
    let pools: [(&str, _, Repeat<'_>); 6] = [
        (MALLOC, Peer, &|times| (0..times).for_each(|_| touch(&mut fresh()))),
        ("object-pool", Peer, &|times| (0..times).for_each(|_| touch(&mut object_pool.pull(fresh)))),
        ("lockfree-object-pool", Peer, &|times| (0..times).for_each(|_| touch(&mut linear.pull()))),
        ("opool", Peer, &|times| (0..times).for_each(|_| touch(&mut opool.get()))),
        ("sharded-slab", Peer, &|times| {
            for _ in 0..times {
                let mut buffer = slab.create().expect("a few buffers are no more than a slab can count");
                buffer.reserve(BUFFER);
                touch(&mut buffer);
                let key = buffer.key();
                drop(buffer);
                slab.clear(key);
            }
        }),
        ("millstream", Ours, &|times| (0..times).for_each(|_| touch(&mut ours.checkout()))),
    ];
    speed::with_threads("a buffer of 8 KiB, taken and given back", &THREADS, effort, &pools)
}
