//! Closures that run where they are spawned: which, for how long, and that nobody can tell but by the clock and the thread.
//!
//! Whether one may run in place is learnt from how long those before it took, and on a busy machine that may be long: so
//! what is asked for is that it happens, within the time of a test.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use millstream::{
    Class, JobContext, JobHandle, JobOptions, OptimizationConfig, OptimizationError, Refusal, TrySpawnError,
    WorkerPool,
};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// The most that is allowed, for a machine that is busy with other tests.
const BUDGET: Duration = Duration::from_millis(1);

const BRIEF: Class = Class::new("brief");

fn config() -> OptimizationConfig {
    OptimizationConfig {
        worker_count: 2,
        in_place_budget: BUDGET,
        backpressure_threshold: 1.0,
        ..OptimizationConfig::default()
    }
}

fn pool() -> WorkerPool {
    WorkerPool::new(&config()).unwrap()
}

fn vouched() -> JobOptions {
    JobOptions { class: BRIEF, may_run_in_place: true, ..JobOptions::default() }
}

fn whereabouts(_: &mut JobContext<'_>) -> ThreadId {
    thread::current().id()
}

/// Spawns what takes no time, one after the other, until one runs in place.
async fn learn(pool: &WorkerPool) {
    let before = pool.ran_in_place();
    let deadline = Instant::now() + LONG;
    while pool.ran_in_place() == before {
        assert!(Instant::now() < deadline, "nothing ever runs in place");
        pool.spawn_with(vouched(), |_| ()).await.unwrap();
    }
}

/// Spawns such jobs until one has run in place; its handle.
async fn spawned_in_place<F, T>(
    pool: &WorkerPool,
    options: JobOptions,
    mut job: impl FnMut() -> F,
) -> JobHandle<T>
where
    F: FnOnce(&mut JobContext<'_>) -> T + Send + 'static,
    T: Send + 'static,
{
    let deadline = Instant::now() + LONG;
    loop {
        learn(pool).await;
        let before = pool.ran_in_place();
        let handle = pool.spawn_with(options, job());
        if pool.ran_in_place() > before {
            return handle;
        }
        // A worker has it, and is to be done with it. Nobody drops what it leaves, which may panic at that.
        std::mem::forget(handle.await);
        assert!(Instant::now() < deadline, "it never runs in place");
    }
}

/// The same; what came of it.
async fn in_place<T: Send + 'static>(
    pool: &WorkerPool,
    job: fn(&mut JobContext<'_>) -> T,
) -> Result<T, OptimizationError> {
    spawned_in_place(pool, vouched(), || job).await.await
}

/// Keeps a thread busy.
fn busy(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[tokio::test]
async fn what_costs_less_than_its_hand_off_has_run_where_it_was_spawned_when_the_call_returns() {
    let pool = pool();
    // The first thousand tell how long they take.
    for _ in 0..1000 {
        let ran_on = pool.spawn_with(vouched(), whereabouts).await.unwrap();
        assert_ne!(ran_on, thread::current().id());
    }
    assert_eq!(pool.ran_in_place(), 0);
    let ran_on = in_place(&pool, whereabouts).await.unwrap();
    assert_eq!(ran_on, thread::current().id());
    let mut is_done = None;
    // Nobody polls it.
    let handle = spawned_in_place(&pool, vouched(), || {
        let (done, receiver) = mpsc::channel();
        is_done = Some(receiver);
        move |_: &mut JobContext<'_>| done.send(()).unwrap()
    })
    .await;
    assert_eq!(is_done.unwrap().try_recv(), Ok(()));
    assert_eq!((pool.queued(), pool.bytes_in_flight()), (0, 0));
    drop(handle);
}

#[tokio::test]
async fn without_a_word_or_a_budget_everything_goes_to_a_worker() {
    let pool = pool();
    learn(&pool).await;
    let before = pool.ran_in_place();
    let here = thread::current().id();
    for _ in 0..100 {
        let options = JobOptions { class: BRIEF, ..JobOptions::default() };
        assert_ne!(pool.spawn_with(options, whereabouts).await.unwrap(), here);
        assert_ne!(pool.spawn(|| thread::current().id()).await.unwrap(), here);
    }
    assert_eq!(pool.ran_in_place(), before);

    let without =
        WorkerPool::new(&OptimizationConfig { in_place_budget: Duration::ZERO, ..config() }).unwrap();
    for _ in 0..3000 {
        assert_ne!(without.spawn_with(vouched(), whereabouts).await.unwrap(), here);
    }
    assert_eq!(without.ran_in_place(), 0);
}

#[tokio::test]
async fn a_closure_without_a_class_is_known_by_its_type() {
    let pool = pool();
    let options = JobOptions { may_run_in_place: true, ..JobOptions::default() };
    let deadline = Instant::now() + LONG;
    while pool.ran_in_place() == 0 {
        assert!(Instant::now() < deadline, "nothing ever runs in place");
        pool.spawn_with(options, |_| ()).await.unwrap();
    }
    let before = pool.ran_in_place();
    for _ in 0..100 {
        pool.spawn_with(options, |_| black_box(1)).await.unwrap();
    }
    assert_eq!(pool.ran_in_place(), before, "another closure has yet to be learnt");
}

fn black_box<T>(value: T) -> T {
    std::hint::black_box(value)
}

#[tokio::test]
async fn what_takes_longer_than_was_learnt_goes_to_a_worker_before_long() {
    let pool = pool();
    learn(&pool).await;
    let begin = pool.ran_in_place();
    // Once in a while a class is looked at anew; one in a thousand may be long.
    let mut last = begin;
    let deadline = Instant::now() + LONG;
    loop {
        for _ in 0..40 {
            pool.spawn_with(vouched(), |_| busy(2 * BUDGET)).await.unwrap();
        }
        let now = pool.ran_in_place();
        if now == last {
            break;
        }
        assert!(Instant::now() < deadline, "{} long jobs ran in place", now - begin);
        last = now;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_turn_of_a_task_runs_what_the_budget_allows_and_one_job_more() {
    let pool = pool();
    learn(&pool).await;
    let spawner = pool.clone();
    tokio::spawn(async move {
        let deadline = Instant::now() + LONG;
        loop {
            assert!(Instant::now() < deadline, "nothing runs in place any more");
            let before = spawner.ran_in_place();
            // All in one turn. As long as the budget each, which is not what its class was learnt to be.
            let handles: Vec<_> = (0..20).map(|_| spawner.spawn_with(vouched(), |_| busy(BUDGET))).collect();
            let in_place = spawner.ran_in_place() - before;
            assert!(in_place <= 1, "{in_place} in one turn");
            for handle in handles {
                handle.await.unwrap();
            }
            if in_place == 1 {
                break;
            }
            learn(&spawner).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_task_that_only_spawns_and_awaits_what_runs_in_place_lets_others_live() {
    let pool = pool();
    learn(&pool).await;
    let others = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&others);
    let other = tokio::spawn(async move {
        loop {
            count.fetch_add(1, SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let spawner = tokio::spawn(async move {
        let deadline = Instant::now() + LONG;
        while others.load(SeqCst) < 10 {
            assert!(Instant::now() < deadline, "it keeps the thread");
            pool.spawn_with(vouched(), |_| busy(BUDGET / 10)).await.unwrap();
        }
    });
    spawner.await.unwrap();
    other.abort();
}

#[test]
fn a_thread_without_a_runtime_runs_half_of_the_time_at_most_in_place() {
    let pool = pool();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(learn(&pool));
    let here = thread::current().id();
    let mut handles = Vec::new();
    let start = Instant::now();
    while start.elapsed() < 20 * BUDGET {
        handles.push(pool.spawn_with(vouched(), |_| {
            let start = Instant::now();
            busy(BUDGET / 50);
            (thread::current().id(), start.elapsed())
        }));
    }
    let took = start.elapsed();
    let outcomes = handles.into_iter().map(|handle| runtime.block_on(handle).unwrap());
    let in_place: Vec<_> = outcomes.filter(|(ran_on, _)| *ran_on == here).collect();
    let total: Duration = in_place.iter().map(|(_, time)| *time).sum();
    let longest = in_place.iter().map(|(_, time)| *time).max().unwrap_or_default();
    // A budget is exceeded by what its last job takes beyond what was learnt: each may be stopped.
    assert!(total <= took / 2 + 2 * BUDGET + 20 * longest, "{total:?} of {took:?}");
}

#[tokio::test]
async fn what_is_spawned_by_a_job_that_runs_in_place_goes_to_a_worker() {
    let pool = pool();
    let deadline = Instant::now() + LONG;
    loop {
        learn(&pool).await;
        let before = pool.ran_in_place();
        let within = pool.clone();
        let outer = pool.spawn_with(vouched(), move |_| {
            (thread::current().id(), within.spawn_with(vouched(), whereabouts))
        });
        let ran = pool.ran_in_place() - before;
        let (outer, inner) = outer.await.unwrap();
        let inner = inner.await.unwrap();
        // On a worker the inner one may run in place there.
        if outer == thread::current().id() {
            assert_eq!(ran, 1);
            assert_ne!(inner, outer);
            break;
        }
        assert!(Instant::now() < deadline, "it never runs in place");
    }
}

#[tokio::test]
async fn a_panic_in_place_is_the_outcome_of_its_job_and_nobody_elses() {
    struct PanicsInDrop;
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let pool = pool();
    let outcome = in_place::<()>(&pool, |_| panic!("of {}", 7)).await;
    assert!(matches!(&outcome, Err(OptimizationError::Panicked(text)) if text == "of 7"), "{outcome:?}");
    // An outcome that nobody takes is nobody's trouble either.
    drop(spawned_in_place(&pool, vouched(), || |_: &mut JobContext<'_>| PanicsInDrop).await);
    assert_eq!(in_place(&pool, |_| 7).await.unwrap(), 7);
    assert_eq!((pool.queued(), pool.bytes_in_flight()), (0, 0));
}

#[tokio::test]
async fn an_outcome_that_is_larger_than_its_handle_comes_back_as_well() {
    let pool = pool();
    let outcome = in_place(&pool, |_| [7_u8; 1000]).await.unwrap();
    assert_eq!(outcome, [7; 1000]);
    let text = in_place(&pool, |_| (String::from("some text"), vec![1_u64, 2, 3])).await.unwrap();
    assert_eq!(text, (String::from("some text"), vec![1, 2, 3]));
}

#[tokio::test]
async fn its_context_knows_its_deadline_and_what_is_late_is_not_started() {
    let pool = pool();
    let deadline = Instant::now() + LONG;
    loop {
        learn(&pool).await;
        let before = pool.ran_in_place();
        let options = JobOptions { deadline: Some(deadline), ..vouched() };
        let handle = pool.spawn_with(options, |job| (job.checkpoint().is_ok(), job.deadline(), job.lent()));
        let ran = pool.ran_in_place() > before;
        assert_eq!(handle.await.unwrap(), (true, Some(deadline), Duration::ZERO));
        if ran {
            break;
        }
        assert!(Instant::now() < deadline, "it never runs in place");
    }
    for _ in 0..10 {
        learn(&pool).await;
        let options = JobOptions { deadline: Some(Instant::now()), ..vouched() };
        let outcome = pool.spawn_with(options, |_| panic!("started after its deadline")).await;
        assert!(matches!(outcome, Err::<(), _>(OptimizationError::Interrupted(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn it_holds_its_place_and_its_bytes_until_it_is_done_and_a_drain_waits_for_it() {
    let pool = pool();
    let weight = 1000;
    let options = JobOptions { weight, ..vouched() };
    let deadline = Instant::now() + LONG;
    // What it says of the pool while it runs.
    let handle = spawned_in_place(&pool, options, || {
        let within = pool.clone();
        move |_: &mut JobContext<'_>| (within.queued(), within.bytes_in_flight())
    })
    .await;
    assert_eq!(handle.await.unwrap(), (1, weight));
    assert_eq!((pool.queued(), pool.bytes_in_flight()), (0, 0));
    // One that begins a drain, and looks whether that ends before it does.
    loop {
        let within = WorkerPool::new(&config()).unwrap();
        learn(&within).await;
        let before = within.ran_in_place();
        let (drained, is_drained) = mpsc::channel();
        let drains = within.clone();
        let handle = within.spawn_with(options, move |_| {
            let drain = drains.drain(Instant::now() + LONG);
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                drained.send(runtime.block_on(drain)).unwrap();
            });
            busy(Duration::from_millis(5));
            is_drained.try_recv().is_err().then_some(is_drained)
        });
        let ran = within.ran_in_place() > before;
        let is_drained = handle.await.unwrap().expect("the drain waits for it");
        assert_eq!(is_drained.recv_timeout(LONG).unwrap().unfinished, 0);
        if ran {
            break;
        }
        assert!(Instant::now() < deadline, "it never runs in place");
    }
}

#[tokio::test]
async fn a_pool_that_drains_or_is_full_runs_nothing_in_place() {
    let pool = WorkerPool::new(&OptimizationConfig { worker_queue_capacity: 1, worker_count: 1, ..config() });
    let pool = pool.unwrap();
    learn(&pool).await;
    let (release, wait) = mpsc::channel::<()>();
    let busy = pool.spawn(move || wait.recv().unwrap_err());
    let deadline = Instant::now() + LONG;
    let queued = loop {
        match pool.try_spawn(|| ()) {
            Ok(queued) => break queued,
            Err(TrySpawnError::Full(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
        assert!(Instant::now() < deadline, "the worker never comes for its job");
    };
    let before = pool.ran_in_place();
    let waits = pool.spawn_with(vouched(), |_| ());
    assert_eq!(pool.ran_in_place(), before, "it would take the place of one more");
    drop(release);
    busy.await.unwrap();
    queued.await.unwrap();
    waits.await.unwrap();
    let before = pool.ran_in_place();
    pool.drain(Instant::now() + LONG).await;
    let refused = pool.spawn_with(vouched(), |_| ()).await;
    assert!(matches!(refused, Err(OptimizationError::Refused(Refusal::Draining))), "{refused:?}");
    assert_eq!(pool.ran_in_place(), before);
}
