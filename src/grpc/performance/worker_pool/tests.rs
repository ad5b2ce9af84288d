//! What the pool promises, with real threads: first what it promises of each job.
#![cfg(not(millstream_loom))]

mod drain;
mod lending;
#[cfg(target_os = "linux")]
mod sinking;
mod threads;

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use crossbeam::channel::{Sender, bounded, unbounded};

use super::*;
use crate::grpc::performance::error::{Interruption, Refusal};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

fn config(workers: usize) -> OptimizationConfig {
    OptimizationConfig { worker_count: workers, backpressure_threshold: 1.0, ..OptimizationConfig::default() }
}

fn pool(config: &OptimizationConfig) -> WorkerPool {
    WorkerPool::new(config).unwrap()
}

/// Keeps one worker busy until the sender is dropped; returns when it is.
async fn occupy(pool: &WorkerPool) -> (Sender<()>, JobHandle<()>) {
    let deadline = Instant::now() + LONG;
    loop {
        let (release, wait) = bounded::<()>(0);
        let (started, is_started) = oneshot::channel();
        let handle = pool.spawn(move || {
            started.send(()).unwrap();
            assert!(wait.recv().is_err());
        });
        if is_started.await.is_ok() {
            return (release, handle);
        }
        // On a busy machine it may overstay before it is begun.
        assert!(Instant::now() < deadline, "it is never begun: {:?}", handle.await);
    }
}

/// Something runs to its end. On a busy machine that may take longer than `worker_timeout`, and is tried again.
async fn capacity_is_back(pool: &WorkerPool) {
    let deadline = Instant::now() + LONG;
    while let Err(error) = pool.spawn(|| ()).await {
        assert!(matches!(error, OptimizationError::Interrupted(Interruption::Overstayed)), "{error}");
        assert!(Instant::now() < deadline, "the capacity never comes back");
    }
}

#[tokio::test]
async fn a_closure_comes_back_with_its_outcome() {
    let pool = pool(&config(2));
    assert_eq!(pool.spawn(|| 6 * 7).await.unwrap(), 42);
    assert_eq!(pool.drain(Instant::now() + LONG).await, Drained { unfinished: 0 });
    assert!(matches!(pool.spawn(|| ()).await, Err(OptimizationError::Refused(Refusal::Draining))));
    assert!(matches!(pool.try_spawn(|| ()), Err(TrySpawnError::Closed(_))));
}

#[tokio::test]
async fn a_full_pool_gives_the_closure_back_and_makes_others_wait_in_order() {
    let pool = pool(&OptimizationConfig { worker_queue_capacity: 1, ..config(1) });
    let (release, busy) = occupy(&pool).await;
    let (done, order) = unbounded();
    let queued = pool.try_spawn(|| ()).unwrap();
    let handed_back = pool.try_spawn(|| "mine").unwrap_err().into_inner();
    assert_eq!(handed_back(), "mine");
    let waiting: Vec<_> = (0..10)
        .map(|n| {
            let done = done.clone();
            tokio::spawn(pool.spawn(move || done.send(n).unwrap()))
        })
        .collect();
    drop(release);
    busy.await.unwrap();
    queued.await.unwrap();
    for handle in waiting {
        handle.await.unwrap().unwrap();
    }
    drop(done);
    assert_eq!(order.iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_panic_is_answered_and_the_worker_lives_on() {
    struct PanicsInDrop;
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let pool = pool(&config(1));
    let error = pool.spawn(|| panic!("of {}", 7)).await.unwrap_err();
    assert!(matches!(&error, OptimizationError::Panicked(text) if text == "of 7"), "{error}");
    let error = pool.spawn(|| std::panic::panic_any(PanicsInDrop)).await.unwrap_err();
    assert!(matches!(error, OptimizationError::Panicked(_)));
    // The outcome of a job that nobody waits for is dropped by the worker.
    let (release, handle) = {
        let (release, wait) = bounded::<()>(0);
        let (started, is_started) = oneshot::channel();
        let handle = pool.spawn(move || {
            started.send(()).unwrap();
            assert!(wait.recv().is_err());
            PanicsInDrop
        });
        let _ = is_started.await;
        (release, handle)
    };
    drop(handle);
    drop(release);
    assert_eq!(pool.spawn(|| 1).await.unwrap(), 1);
}

#[tokio::test]
async fn urgent_work_goes_first_and_the_rest_is_not_starved() {
    let pool = pool(&config(1));
    let (release, busy) = occupy(&pool).await;
    let (done, order) = unbounded();
    let mut handles = Vec::new();
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        for _ in 0..16 {
            let done = done.clone();
            let options = JobOptions { priority, ..JobOptions::default() };
            handles.push(pool.spawn_with(options, move |_| done.send(priority).unwrap()));
        }
    }
    drop(release);
    busy.await.unwrap();
    for handle in handles {
        handle.await.unwrap();
    }
    drop(done);
    let order: Vec<_> = order.iter().collect();
    assert_eq!(order[0], Priority::High);
    assert!(order[..16].contains(&Priority::Low), "{order:?}");
    assert!(order[..16].iter().filter(|&&p| p == Priority::High).count() >= 11, "{order:?}");
}

#[tokio::test]
async fn a_dropped_handle_cancels_what_has_not_started_and_frees_it() {
    let pool = pool(&config(1));
    let (release, busy) = occupy(&pool).await;
    let kept = Arc::new(());
    let alive = Arc::downgrade(&kept);
    let options = JobOptions { weight: 1000, ..JobOptions::default() };
    let handle = pool.spawn_with(options, move |_| drop(kept));
    assert_eq!(pool.bytes_in_flight(), 1000);
    drop(handle);
    assert_eq!(pool.bytes_in_flight(), 0);
    assert!(alive.upgrade().is_none(), "its closure is gone before any worker came");
    drop(release);
    busy.await.unwrap();
}

#[tokio::test]
async fn a_running_job_sees_its_cancellation_at_a_checkpoint() {
    let pool = pool(&config(1));
    let (started, is_started) = oneshot::channel();
    let (seen, outcome) = oneshot::channel();
    let handle = pool.spawn_with(JobOptions::default(), move |job| {
        started.send(()).unwrap();
        let why = loop {
            if let Err(why) = job.checkpoint() {
                break why;
            }
        };
        seen.send(why).unwrap();
    });
    is_started.await.unwrap();
    drop(handle);
    assert_eq!(outcome.await.unwrap(), Interruption::Cancelled);
}

#[tokio::test]
async fn a_job_whose_deadline_passes_in_the_lane_is_answered_while_all_workers_are_busy() {
    let pool = pool(&config(1));
    let (release, busy) = occupy(&pool).await;
    let options =
        JobOptions { deadline: Some(Instant::now() + Duration::from_millis(20)), ..JobOptions::default() };
    let outcome = pool.spawn_with(options, |_| panic!("started after its deadline")).await;
    assert!(
        matches!(outcome, Err::<(), _>(OptimizationError::Interrupted(Interruption::DeadlineExceeded))),
        "{outcome:?}"
    );
    drop(release);
    busy.await.unwrap();
}

#[tokio::test]
async fn what_weighs_more_than_all_that_may_be_in_flight_is_refused() {
    let pool = pool(&OptimizationConfig { max_bytes_in_flight: 1024, ..config(1) });
    let options = JobOptions { weight: 1025, ..JobOptions::default() };
    let outcome = pool.spawn_with(options, |_| ()).await;
    assert!(matches!(
        outcome,
        Err(OptimizationError::Refused(Refusal::TooLarge { weight: 1025, limit: 1024 }))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_under_many_submitters_and_few_places() {
    let pool = pool(&OptimizationConfig { worker_queue_capacity: 4, ..config(3) });
    let ran = Arc::new(AtomicUsize::new(0));
    let submitters: Vec<_> = (0..8)
        .map(|submitter| {
            let (pool, ran) = (pool.clone(), Arc::clone(&ran));
            tokio::spawn(async move {
                let mut finished = 0;
                for n in 0..1000 {
                    let ran = Arc::clone(&ran);
                    let priority = Priority::ALL[(submitter + n) % 3];
                    let options = JobOptions { priority, weight: n, ..JobOptions::default() };
                    let handle = pool.spawn_with(options, move |_| ran.fetch_add(1, SeqCst));
                    if n % 10 == 0 {
                        drop(handle);
                    } else {
                        handle.await.unwrap();
                        finished += 1;
                    }
                }
                finished
            })
        })
        .collect();
    let mut finished = 0;
    for submitter in submitters {
        finished += submitter.await.unwrap();
    }
    assert_eq!(pool.drain(Instant::now() + LONG).await, Drained { unfinished: 0 });
    assert_eq!(finished, 8 * 900);
    assert!(ran.load(SeqCst) >= finished);
    assert_eq!((pool.queued(), pool.bytes_in_flight()), (0, 0));
}
