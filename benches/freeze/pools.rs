//! Object pools: a buffer of 8 KiB is taken, written to and given back; the system allocator stands beside them.

use std::hint::black_box;

use millstream::resource_pool::{Keep, Pool, PoolOptions};

use super::{
    pause::Aim,
    rig::{Kind, Progress, Rig, Row},
};

const BUFFER: usize = 8 << 10;
/// More than are ever taken at a time.
const BUFFERS: usize = 16;

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

/// Every pool in turn.
pub(crate) fn run(injections: usize) -> Vec<Row> {
    let ours = Pool::new(PoolOptions { capacity: BUFFERS, preallocate: BUFFERS }, fresh, |_| Keep::Yes);
    let object_pool = object_pool::Pool::new(BUFFERS, fresh);
    let linear = lockfree_object_pool::LinearObjectPool::new(fresh, |_: &mut Vec<u8>| ());
    let opool = opool::Pool::new_prefilled(BUFFERS, Buffers);
    let slab = sharded_slab::Pool::<Vec<u8>>::new();
    let pools: [(&str, &(dyn Fn() + Sync)); 6] = [
        ("malloc", &|| touch(&mut fresh())),
        ("object-pool", &|| touch(&mut object_pool.pull(fresh))),
        ("lockfree-object-pool", &|| touch(&mut linear.pull())),
        ("opool", &|| touch(&mut opool.get())),
        ("sharded-slab", &|| {
            let mut buffer = slab.create().expect("a few buffers are no more than a slab can count");
            buffer.reserve(BUFFER);
            touch(&mut buffer);
            let key = buffer.key();
            drop(buffer);
            slab.clear(key);
        }),
        ("millstream", &|| touch(&mut ours.checkout())),
    ];
    pools.into_iter().flat_map(|(name, once)| one(name, once, injections)).collect()
}

fn one(name: &'static str, once: &(dyn Fn() + Sync), injections: usize) -> Vec<Row> {
    let (aim, progress) = (&Aim::default(), &Progress::new(Kind::Pool));
    Rig {
        name,
        aims: vec![aim],
        loops: vec![
            Box::new(move || {
                once();
                aim.rest();
            }),
            Box::new(move || {
                once();
                progress.made();
            }),
        ],
        progress: vec![progress],
    }
    .run(injections)
}
