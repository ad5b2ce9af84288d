//! A pool of resources, against a bounded stack; and with several threads, each instance in one pair of hands.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use arbitrary::Arbitrary;
use millstream::resource_pool::{Keep, Pool, PoolOptions, Pooled};

#[derive(Debug, Arbitrary)]
enum Plan {
    Alone { sizes: Sizes, steps: Vec<Step> },
    Together { sizes: Sizes, threads: Vec<Vec<Step>> },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Sizes {
    capacity: u8,
    ahead: u8,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Step {
    Checkout,
    Return(u8),
    Refuse(u8),
    Poison(u8),
    Take(u8),
}

/// What the instances of one pool have in common.
#[derive(Default)]
struct Register {
    made: AtomicUsize,
    live: AtomicUsize,
}

struct Instance {
    number: usize,
    worn: bool,
    held: AtomicBool,
    register: Arc<Register>,
}

impl Instance {
    fn new(register: &Arc<Register>) -> Self {
        register.live.fetch_add(1, SeqCst);
        let number = register.made.fetch_add(1, SeqCst);
        Self { number, worn: false, held: AtomicBool::new(false), register: Arc::clone(register) }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.register.live.fetch_sub(1, SeqCst);
    }
}

/// See the module.
pub fn pool(data: &[u8]) {
    match crate::read(data) {
        Some(Plan::Alone { sizes, steps }) => alone(sizes, &steps),
        Some(Plan::Together { sizes, threads }) => together(sizes, &threads),
        None => {}
    }
}

fn make(sizes: Sizes) -> (Pool<Instance>, PoolOptions, Arc<Register>) {
    let options =
        PoolOptions { capacity: usize::from(sizes.capacity % 8), preallocate: usize::from(sizes.ahead % 12) };
    let register = Arc::new(Register::default());
    let factory = Arc::clone(&register);
    let reset = |instance: &mut Instance| if instance.worn { Keep::Discard } else { Keep::Yes };
    (Pool::new(options, move || Instance::new(&factory), reset), options, register)
}

/// Does to one of those that are out what the step says.
fn give_back(out: &mut Vec<Pooled<Instance>>, step: Step) {
    let (Step::Return(which) | Step::Refuse(which) | Step::Poison(which) | Step::Take(which)) = step else {
        return;
    };
    let mut instance = out.swap_remove(usize::from(which) % out.len());
    assert!(instance.held.swap(false, SeqCst), "{} is in two hands", instance.number);
    match step {
        Step::Refuse(_) => instance.worn = true,
        Step::Poison(_) => instance.poison(),
        Step::Take(_) => drop(instance.into_inner()),
        Step::Checkout | Step::Return(_) => {}
    }
}

fn alone(sizes: Sizes, steps: &[Step]) {
    let (pool, PoolOptions { capacity, preallocate }, register) = make(sizes);
    let mut idle: Vec<usize> = (0..preallocate.min(capacity)).collect();
    let mut made = idle.len();
    let mut out = Vec::new();
    for &step in steps {
        match step {
            Step::Checkout => {
                let expected = idle.pop().unwrap_or_else(|| {
                    made += 1;
                    made - 1
                });
                let instance = pool.checkout();
                assert_eq!(instance.number, expected);
                assert!(!instance.held.swap(true, SeqCst));
                out.push(instance);
            }
            _ if out.is_empty() => {}
            Step::Return(which) if idle.len() < capacity => {
                idle.push(out[usize::from(which) % out.len()].number);
                give_back(&mut out, step);
            }
            _ => give_back(&mut out, step),
        }
        let stats = pool.stats();
        assert_eq!((stats.idle, stats.outstanding), (idle.len(), out.len()), "{stats:?}");
        assert_eq!(register.live.load(SeqCst), idle.len() + out.len());
    }
    drop(pool);
    assert_eq!(register.live.load(SeqCst), out.len(), "idle ones go with the pool");
    drop(out);
    assert_eq!(register.live.load(SeqCst), 0);
}

/// Each instance is in one pair of hands, the figures add up, and no more is kept than there is room for.
fn together(sizes: Sizes, threads: &[Vec<Step>]) {
    let (pool, PoolOptions { capacity, .. }, register) = make(sizes);
    let run = |_, steps: &Vec<Step>| {
        let mut out = Vec::new();
        for &step in steps {
            match step {
                Step::Checkout => {
                    let instance = pool.checkout();
                    assert!(!instance.held.swap(true, SeqCst), "{} is in two hands", instance.number);
                    out.push(instance);
                }
                _ if out.is_empty() => {}
                step => give_back(&mut out, step),
            }
            assert!(pool.stats().outstanding >= out.len());
        }
        while !out.is_empty() {
            give_back(&mut out, Step::Return(0));
        }
    };
    crate::together(threads, run);
    let stats = pool.stats();
    assert_eq!(stats.outstanding, 0);
    assert_eq!(stats.idle, register.live.load(SeqCst), "{stats:?}");
    assert!(stats.idle <= capacity, "{stats:?}");
    drop(pool);
    assert_eq!(register.live.load(SeqCst), 0);
}
