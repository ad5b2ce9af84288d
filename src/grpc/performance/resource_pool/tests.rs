//! The pool by itself, under many threads, and against a model; then the three pools together.
#![cfg(not(millstream_loom))]

use std::{
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use proptest::prelude::*;

use super::*;

/// An instance with a number of its own.
#[derive(Debug)]
struct Instance {
    number: usize,
    resets: usize,
    worn: bool,
}

/// A pool of numbered instances that refuses worn ones.
fn numbered(capacity: usize, preallocate: usize) -> Pool<Instance> {
    let made = AtomicUsize::new(0);
    Pool::new(
        PoolOptions { capacity, preallocate },
        move || Instance { number: made.fetch_add(1, SeqCst), resets: 0, worn: false },
        |instance| {
            instance.resets += 1;
            if instance.worn { Keep::Discard } else { Keep::Yes }
        },
    )
}

#[test]
fn a_checkout_finds_an_idle_instance_or_makes_a_fresh_one() {
    let pool = numbered(2, 1);
    assert_eq!(pool.stats().idle, 1);
    let first = pool.checkout();
    let second = pool.checkout();
    assert_eq!((first.number, second.number), (0, 1));
    let stats = pool.stats();
    assert_eq!((stats.hits, stats.misses, stats.idle, stats.outstanding), (1, 1, 0, 2));
}

#[test]
fn an_instance_is_reset_on_its_way_back_and_the_latest_is_handed_out_first() {
    let pool = numbered(2, 0);
    let (first, second) = (pool.checkout(), pool.checkout());
    drop(first);
    drop(second);
    let latest = pool.checkout();
    assert_eq!((latest.number, latest.resets), (1, 1));
}

#[test]
fn no_more_than_the_capacity_is_kept_and_the_surplus_is_counted() {
    let pool = numbered(2, 9);
    let out: Vec<_> = (0..5).map(|_| pool.checkout()).collect();
    assert_eq!((pool.stats().hits, pool.stats().misses), (2, 3));
    drop(out);
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.returned, stats.discarded, stats.outstanding), (2, 2, 3, 0));
}

#[test]
fn an_instance_that_the_reset_refuses_is_not_used_again() {
    let pool = numbered(2, 1);
    pool.checkout().worn = true;
    assert_eq!(pool.stats().discarded, 1);
    assert_eq!(pool.checkout().number, 1);
}

#[test]
fn an_instance_that_a_panic_unwound_through_is_not_used_again() {
    let pool = numbered(2, 1);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _instance = pool.checkout();
        panic!("in the handler");
    }));
    assert!(panicked.is_err());
    let stats = pool.stats();
    assert_eq!((stats.poisoned, stats.discarded, stats.returned, stats.outstanding), (1, 0, 0, 0));
    assert_eq!(pool.checkout().number, 1);
}

#[test]
fn a_poisoned_instance_is_not_used_again() {
    let pool = numbered(2, 1);
    let mut instance = pool.checkout();
    instance.poison();
    drop(instance);
    assert_eq!((pool.stats().poisoned, pool.stats().returned), (1, 0));
    assert_eq!(pool.checkout().number, 1);
}

#[test]
fn an_instance_that_is_taken_out_does_not_come_back() {
    let pool = numbered(2, 1);
    assert_eq!(pool.checkout().into_inner().number, 0);
    assert_eq!((pool.stats().taken, pool.stats().outstanding), (1, 0));
    assert_eq!(pool.checkout().number, 1);
}

#[test]
fn a_guard_outlives_the_handles_and_may_be_dropped_on_another_thread() {
    let pool = numbered(2, 0);
    let handle = pool.clone();
    let guard = pool.checkout();
    drop(pool);
    thread::spawn(move || drop(guard)).join().unwrap();
    assert_eq!(handle.stats().returned, 1);
    let last = handle.checkout();
    drop(handle);
    assert_eq!(last.number, 0);
}

#[test]
fn a_reset_that_panics_costs_its_instance_and_nobody_else() {
    let pool = Pool::new(
        PoolOptions { capacity: 2, preallocate: 0 },
        || 0_u8,
        |value| if *value == 0 { Keep::Yes } else { panic!("cannot reset {value}") },
    );
    *pool.checkout() = 1;
    assert_eq!((pool.stats().discarded, pool.stats().idle), (1, 0));
    assert_eq!(*pool.checkout(), 0);
}

/// Panics when it is dropped, once armed.
#[derive(Default)]
struct Bomb {
    armed: bool,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, SeqCst);
        if self.armed {
            panic_any("a bomb");
        }
    }
}

fn bombs(capacity: usize) -> Pool<Bomb> {
    Pool::new(PoolOptions { capacity, preallocate: 0 }, Bomb::default, |_| Keep::Yes)
}

#[test]
fn a_destructor_that_panics_stays_inside_even_while_another_panic_unwinds() {
    let pool = bombs(0);
    pool.checkout().armed = true;
    assert_eq!(pool.stats().discarded, 1);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        pool.checkout().armed = true;
        let mut bomb = pool.checkout();
        bomb.armed = true;
        panic!("in the handler");
    }));
    assert_eq!(unwound.unwrap_err().downcast_ref(), Some(&"in the handler"));
    assert_eq!((pool.stats().discarded, pool.stats().poisoned), (2, 1));
}

#[test]
fn a_pool_that_goes_drops_every_idle_instance_whatever_their_destructors_do() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let pool = bombs(3);
    let out: Vec<_> = (0..3)
        .map(|_| {
            let mut bomb = pool.checkout();
            *bomb = Bomb { armed: true, dropped: Arc::clone(&dropped) };
            bomb
        })
        .collect();
    drop(out);
    assert_eq!(dropped.load(SeqCst), 0);
    drop(pool);
    assert_eq!(dropped.load(SeqCst), 3);
}

#[test]
fn a_factory_that_panics_is_the_callers_and_leaves_the_pool_as_it_was() {
    let refuse = Arc::new(AtomicBool::new(true));
    let refused = Arc::clone(&refuse);
    let pool = Pool::new(
        PoolOptions { capacity: 1, preallocate: 0 },
        move || assert!(!refused.load(SeqCst), "nothing to make it of"),
        |()| Keep::Yes,
    );
    assert!(catch_unwind(AssertUnwindSafe(|| drop(pool.checkout()))).is_err());
    assert_eq!(pool.stats(), PoolStats::default());
    refuse.store(false, SeqCst);
    drop(pool.checkout());
    assert_eq!(pool.stats().idle, 1);
}

/// What the threads of the stress test share: who is in use, and how many live.
struct Register {
    in_use: Vec<AtomicBool>,
    made: AtomicUsize,
    live: AtomicUsize,
    most_live: AtomicUsize,
}

struct Registered {
    number: usize,
    register: Arc<Register>,
}

impl Registered {
    fn new(register: &Arc<Register>) -> Self {
        let live = register.live.fetch_add(1, SeqCst) + 1;
        register.most_live.fetch_max(live, SeqCst);
        Self { number: register.made.fetch_add(1, SeqCst), register: Arc::clone(register) }
    }

    fn enter(&self) {
        assert!(!self.register.in_use[self.number].swap(true, SeqCst), "{} is in two hands", self.number);
    }

    fn leave(&self) {
        assert!(self.register.in_use[self.number].swap(false, SeqCst), "{} was in no hands", self.number);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.register.live.fetch_sub(1, SeqCst);
    }
}

#[test]
fn under_eight_threads_nothing_is_in_two_hands_the_bound_holds_and_the_figures_add_up() {
    const THREADS: usize = 8;
    const CHECKOUTS: usize = 10_000;
    const CAPACITY: usize = 6;
    const HELD: usize = 3;

    let register = Arc::new(Register {
        in_use: (0..THREADS * CHECKOUTS + CAPACITY).map(|_| AtomicBool::new(false)).collect(),
        made: AtomicUsize::new(0),
        live: AtomicUsize::new(0),
        most_live: AtomicUsize::new(0),
    });
    let factory = Arc::clone(&register);
    let pool = Pool::new(
        PoolOptions { capacity: CAPACITY, preallocate: CAPACITY },
        move || Registered::new(&factory),
        |instance: &mut Registered| if instance.number % 13 == 12 { Keep::Discard } else { Keep::Yes },
    );
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (pool, start) = (&pool, &start);
            scope.spawn(move || {
                start.wait();
                let mut held = Vec::with_capacity(HELD);
                for turn in 0..CHECKOUTS {
                    let instance = pool.checkout();
                    instance.enter();
                    held.push(instance);
                    if held.len() == HELD || (turn + thread) % 3 == 0 {
                        for mut instance in held.drain(..) {
                            instance.leave();
                            if (turn + thread) % 101 == 0 {
                                instance.poison();
                            }
                        }
                    }
                    assert!(pool.stats().outstanding >= held.len());
                }
                held.iter().for_each(|instance| instance.leave());
            });
        }
    });

    let stats = pool.stats();
    assert_eq!(stats.hits + stats.misses, (THREADS * CHECKOUTS) as u64);
    assert_eq!(stats.returned + stats.discarded + stats.poisoned, (THREADS * CHECKOUTS) as u64);
    assert!(stats.poisoned > 0 && stats.discarded > 0 && stats.hits > 0, "{stats:?}");
    assert_eq!(stats.outstanding, 0);
    assert_eq!(stats.misses as usize + CAPACITY, register.made.load(SeqCst));
    assert!(register.most_live.load(SeqCst) <= CAPACITY + THREADS * HELD);
    assert_eq!(stats.idle, register.live.load(SeqCst));
    assert!(stats.idle <= CAPACITY);
    drop(pool);
    assert_eq!(register.live.load(SeqCst), 0);
}

#[test]
fn what_is_idle_at_the_desk_of_a_thread_is_found_by_the_others() {
    let pool = numbered(4, 0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| drop(pool.checkout())).join().unwrap();
        }
    });
    let out: Vec<_> = (0..4).map(|_| pool.checkout()).collect();
    let stats = pool.stats();
    assert_eq!((stats.hits, stats.misses, stats.idle, out.len()), (2, 4, 0, 4));
}

#[test]
fn a_guard_may_go_with_its_thread_after_all_that_the_thread_had() {
    thread_local! {
        static KEPT: std::cell::RefCell<Vec<Pooled<Instance>>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let pool = numbered(4, 0);
    thread::scope(|scope| {
        let keeper = scope.spawn(|| {
            KEPT.with_borrow_mut(|kept| kept.extend([pool.checkout(), pool.checkout(), pool.checkout()]));
        });
        keeper.join().unwrap();
    });
    let stats = pool.stats();
    assert_eq!((stats.returned, stats.idle, stats.outstanding), (3, 3, 0));
}

#[test]
fn a_pool_that_goes_while_guards_come_back_leaves_nothing_behind() {
    const THREADS: usize = 3;
    let live = Arc::new(AtomicUsize::new(0));
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
    for capacity in (0..600).map(|round| round % 8) {
        let made = Arc::clone(&live);
        let make = move || {
            made.fetch_add(1, SeqCst);
            Counted(Arc::clone(&made))
        };
        let pool = Pool::new(PoolOptions { capacity, preallocate: 2 }, make, |_| Keep::Yes);
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                let (pool, start) = (pool.clone(), &start);
                scope.spawn(move || {
                    let guards = [pool.checkout(), pool.checkout()];
                    start.wait();
                    drop(pool);
                    drop(guards);
                });
            }
            drop(pool);
        });
        assert_eq!(live.load(SeqCst), 0, "a pool for {capacity}");
    }
    assert_eq!(Arc::strong_count(&live), 1, "a factory lives, so a pool does");
}

#[derive(Debug, Clone)]
enum Step {
    Checkout,
    Return(usize),
    Refuse(usize),
    Poison(usize),
    Take(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Checkout),
        2 => any::<usize>().prop_map(Step::Return),
        1 => any::<usize>().prop_map(Step::Refuse),
        1 => any::<usize>().prop_map(Step::Poison),
        1 => any::<usize>().prop_map(Step::Take),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn a_pool_does_what_a_bounded_stack_would(capacity in 0..6_usize, ahead in 0..8_usize, steps in steps()) {
        let pool = numbered(capacity, ahead);
        let mut idle: Vec<usize> = (0..ahead.min(capacity)).collect();
        let mut made = idle.len();
        let mut out = Vec::new();
        let mut expected = PoolStats { idle: made, ..PoolStats::default() };
        for step in steps {
            match step {
                Step::Checkout => {
                    let number = idle.pop().inspect(|_| expected.hits += 1).unwrap_or_else(|| {
                        expected.misses += 1;
                        made += 1;
                        made - 1
                    });
                    let instance = pool.checkout();
                    prop_assert_eq!(instance.number, number);
                    out.push(instance);
                }
                Step::Return(_) | Step::Refuse(_) | Step::Poison(_) | Step::Take(_) if out.is_empty() => {}
                Step::Return(which) => {
                    let instance = out.swap_remove(which % out.len());
                    if idle.len() < capacity {
                        idle.push(instance.number);
                        expected.returned += 1;
                    } else {
                        expected.discarded += 1;
                    }
                }
                Step::Refuse(which) => {
                    out.swap_remove(which % out.len()).worn = true;
                    expected.discarded += 1;
                }
                Step::Poison(which) => {
                    out.swap_remove(which % out.len()).poison();
                    expected.poisoned += 1;
                }
                Step::Take(which) => {
                    drop(out.swap_remove(which % out.len()).into_inner());
                    expected.taken += 1;
                }
            }
            expected.idle = idle.len();
            expected.outstanding = out.len();
            prop_assert_eq!(pool.stats(), expected);
        }
    }
}

fn config() -> OptimizationConfig {
    OptimizationConfig {
        worker_count: 3,
        service_pool_size: 5,
        validator_pool_size: 2,
        buffer_pool_size: 4,
        ..OptimizationConfig::default()
    }
}

#[test]
fn the_three_pools_have_their_configured_sizes_and_a_handler_ahead_for_each_worker() {
    let factories =
        ResourceFactories { handler: || 1_u8, reset_handler: |_: &mut u8| {}, validator: || 2_u8 };
    let pool = ResourcePool::new(&config(), factories).unwrap();
    let stats = pool.stats();
    assert_eq!((stats.handlers.idle, stats.validators.idle, stats.buffers.idle), (3, 1, 3));

    drop((0..9).map(|_| pool.handler()).collect::<Vec<_>>());
    drop((0..9).map(|_| pool.validator()).collect::<Vec<_>>());
    drop((0..9).map(|_| pool.buffers().checkout()).collect::<Vec<_>>());
    let stats = pool.stats();
    assert_eq!((stats.handlers.idle, stats.validators.idle, stats.buffers.idle), (5, 2, 4));

    let small = OptimizationConfig { service_pool_size: 2, ..config() };
    assert_eq!(ResourcePool::new(&small, factories).unwrap().stats().handlers.idle, 2);
}

#[test]
fn a_handler_is_reset_before_its_next_message() {
    let factories =
        ResourceFactories { handler: Vec::new, reset_handler: Vec::<u8>::clear, validator: || () };
    let pool = ResourcePool::new(&config(), factories).unwrap();
    pool.handler().push(7);
    let handlers: Vec<_> = (0..5).map(|_| pool.handler()).collect();
    assert!(handlers.iter().all(|handler| handler.is_empty()));
}

#[test]
fn a_factory_that_panics_ahead_of_time_is_an_error_that_names_it() {
    fn broken() -> u8 {
        panic!("no model file")
    }
    let reset_handler = |_: &mut u8| {};
    let error =
        ResourcePool::new(&config(), ResourceFactories { handler: broken, reset_handler, validator: || () })
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Resource pool error: the handler factory panicked while instances were made ahead: no model file"
    );
    let error =
        ResourcePool::new(&config(), ResourceFactories { handler: || 1, reset_handler, validator: broken })
            .unwrap_err();
    assert!(error.to_string().contains("the validator factory panicked"), "{error}");
}
