//! What becomes of messages that run far longer than most.

use std::{
    collections::VecDeque,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use millstream::{Class, JobHandle, JobOptions, OptimizationConfig, WorkerPool};

use crate::common::*;

const SHORT: Class = Class::new("short");
const LONG_CLASS: Class = Class::new("long");

fn of(class: Class) -> JobOptions {
    JobOptions { class, ..JobOptions::default() }
}

/// Keeps a core busy.
fn burn(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        black_box(start);
    }
}

fn pool(config: OptimizationConfig) -> WorkerPool {
    WorkerPool::new(&OptimizationConfig { worker_queue_capacity: 100, ..config }).unwrap()
}

/// A pool of one worker that knows both classes.
async fn taught(config: OptimizationConfig) -> WorkerPool {
    let pool = pool(OptimizationConfig { worker_count: 1, ..config });
    for _ in 0..100 {
        pool.spawn_with(of(SHORT), |_| burn(Duration::from_micros(20))).await.unwrap();
    }
    for _ in 0..8 {
        pool.spawn_with(of(LONG_CLASS), |_| burn(Duration::from_millis(5))).await.unwrap();
    }
    pool
}

/// A job that keeps its core busy until it is told to stop; there when it runs.
async fn endless(pool: &WorkerPool, class: Class) -> (Arc<AtomicBool>, JobHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let job = pool.spawn_with(of(class), {
        let stop = Arc::clone(&stop);
        move |_| {
            begun.send(()).unwrap();
            while !stop.load(SeqCst) {
                black_box(&stop);
            }
        }
    });
    has_begun.await.unwrap();
    (stop, job)
}

#[tokio::test]
async fn what_is_short_does_not_wait_for_what_is_long_if_lengths_are_told_apart() {
    let pool_of =
        |enable_length_scheduling| taught(OptimizationConfig { enable_length_scheduling, ..config() });
    // Learnt.
    let pool = pool_of(true).await;
    let (stop, long) = endless(&pool, LONG_CLASS).await;
    for _ in 0..100 {
        pool.spawn_with(of(SHORT), |_| ()).await.unwrap();
    }
    stop.store(true, SeqCst);
    long.await.unwrap();
    // Unknown: it runs on the worker, until it is seen to be in the way.
    let (stop, long) = endless(&pool, SHORT).await;
    pool.spawn_with(of(SHORT), |_| ()).await.unwrap();
    stop.store(true, SeqCst);
    long.await.unwrap();
    // Not told apart: first come, first served.
    let pool = pool_of(false).await;
    let (stop, long) = endless(&pool, LONG_CLASS).await;
    let short = pool.spawn_with(of(SHORT), |_| ());
    let in_vain = tokio::time::timeout(Duration::from_millis(50), short).await;
    assert!(in_vain.is_err());
    stop.store(true, SeqCst);
    long.await.unwrap();
}

/// What is spawned here is of one class, whoever asks for it, and tells on which thread it was.
fn spawn_long(pool: &WorkerPool) -> JobHandle<String> {
    pool.spawn(|| {
        burn(Duration::from_millis(5));
        std::thread::current().name().unwrap_or_default().to_owned()
    })
}

#[tokio::test]
async fn closures_without_a_class_are_told_apart_by_where_in_the_code_they_are() {
    let pool = pool(OptimizationConfig { worker_count: 1, ..config() });
    let in_background = |thread: &String| thread.starts_with("millstream-b");
    let mut threads = Vec::new();
    for _ in 0..8 {
        threads.push(spawn_long(&pool).await.unwrap());
    }
    assert!(!threads.iter().any(in_background), "nothing is known to be shorter: {threads:?}");
    for _ in 0..100 {
        pool.spawn(|| burn(Duration::from_micros(20))).await.unwrap();
    }
    let thread = spawn_long(&pool).await.unwrap();
    assert!(in_background(&thread), "{thread}");
    let short = pool.try_spawn(|| std::thread::current().name().unwrap_or_default().to_owned());
    let thread = short.unwrap().await.unwrap();
    assert!(!in_background(&thread), "{thread}");
}

/// How many short messages a worker has run at most without a pause, while there were always more, and something long was
/// to be done. (How far the long one gets is the platform's doing, and that of whatever else wants the core.)
async fn longest_stretch(long_work_share: f64) -> usize {
    const JOBS: usize = 3000;
    const PAUSE: Duration = Duration::from_micros(150);
    let pool = taught(OptimizationConfig { long_work_share, ..config() }).await;
    let (stop, long) = endless(&pool, LONG_CLASS).await;
    let mut shorts = VecDeque::new();
    let mut times = Vec::new();
    while times.len() < JOBS {
        // So many that the worker never runs out of them.
        while shorts.len() < 50 {
            shorts.push_back(pool.spawn_with(of(SHORT), |_| {
                let start = Instant::now();
                burn(Duration::from_micros(100));
                (start, Instant::now())
            }));
        }
        times.push(shorts.pop_front().unwrap().await.unwrap());
    }
    stop.store(true, SeqCst);
    long.await.unwrap();
    let stretches = times.chunk_by(|(_, end), (start, _)| *start < *end + PAUSE);
    stretches.map(<[_]>::len).max().unwrap()
}

#[tokio::test]
async fn long_work_keeps_its_share_while_short_work_never_ends() {
    // A worker that steps aside for half of the time does so after every 200 µs.
    let (half, none) = (longest_stretch(0.5).await, longest_stretch(0.0).await);
    assert!(half <= 8, "{half} messages without a pause");
    assert!(none >= 16, "{none} messages without a pause, where none is to be made");
}

#[tokio::test]
async fn no_more_threads_sink_than_may() {
    for demotions in [0, 1] {
        let pool = taught(OptimizationConfig { worker_demotions: demotions, ..config() }).await;
        let mut jobs = Vec::new();
        for _ in 0..demotions + 1 {
            // Each but the last sinks, and makes way for the next.
            jobs.push(endless(&pool, SHORT).await);
        }
        let short = pool.spawn_with(of(SHORT), |_| ());
        let in_vain = tokio::time::timeout(Duration::from_millis(50), short).await;
        assert!(in_vain.is_err(), "{demotions}");
        for (stop, job) in jobs {
            stop.store(true, SeqCst);
            job.await.unwrap();
        }
    }
}
