//! Where workers run, and when they sleep, as Linux tells it.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Barrier, mpsc},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use millstream::{JobHandle, OptimizationConfig, Pinning, WorkerPool};

use crate::common::*;

/// The cores that the calling thread may run on.
fn own_cores() -> BTreeSet<usize> {
    let status = fs::read_to_string("/proc/thread-self/status").expect("Linux describes each thread");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let ranges = list.expect("with its cores").trim().split(',');
    ranges
        .flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse::<usize>().unwrap()..=last.parse().unwrap()
        })
        .collect()
}

/// The cores of each worker: as many jobs as workers wait for each other, so each has a worker of its own.
async fn cores_of_workers(worker_pinning: Pinning, workers: usize) -> BTreeSet<BTreeSet<usize>> {
    let pool =
        WorkerPool::new(&OptimizationConfig { worker_count: workers, worker_pinning, ..config() }).unwrap();
    let all_there = Arc::new(Barrier::new(workers));
    let jobs: Vec<_> = (0..workers)
        .map(|_| {
            let all_there = Arc::clone(&all_there);
            pool.spawn(move || {
                all_there.wait();
                own_cores()
            })
        })
        .collect();
    let mut cores = BTreeSet::new();
    for job in jobs {
        cores.insert(job.await.unwrap());
    }
    cores
}

#[tokio::test]
async fn workers_run_on_the_cores_that_they_are_pinned_to() {
    let allowed = own_cores();
    let one_each = |cores: &[usize]| cores.iter().map(|core| BTreeSet::from([*core])).collect();
    let cores: Vec<_> = allowed.iter().copied().collect();
    let workers = cores.len();

    assert_eq!(cores_of_workers(Pinning::Off, workers).await, BTreeSet::from([allowed.clone()]));
    if num_cpus::get() < workers {
        // A quota: nobody is pinned.
        assert_eq!(cores_of_workers(Pinning::AllCores, workers).await, BTreeSet::from([allowed]));
        return;
    }
    assert_eq!(cores_of_workers(Pinning::AllCores, workers).await, one_each(&cores));
    // One core stays for the workers, however few there are.
    let beside_io = &cores[1.min(workers - 1)..];
    assert_eq!(cores_of_workers(Pinning::ReserveForIo(1), workers).await, one_each(beside_io));
}

/// The outcome, without a waker that a worker could get stuck at.
fn look_until_done<T>(job: &mut JobHandle<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Poll::Ready(outcome) = Pin::new(&mut *job).poll(&mut Context::from_waker(Waker::noop())) {
            return outcome.unwrap();
        }
        assert!(Instant::now() < deadline, "the job was never done");
        thread::yield_now();
    }
}

/// How long the worker of a pool of one is awake after a job.
fn awake_after_a_job(pool: &WorkerPool) -> Duration {
    let mut job = pool.spawn(|| (fs::read_link("/proc/thread-self").unwrap(), Instant::now()));
    let (worker, ended) = look_until_done(&mut job);
    let state = PathBuf::from("/proc").join(worker).join("stat");
    let deadline = Instant::now() + LONG;
    // `job` is still here, so that the worker does not have to free it, and cannot wait for the allocator.
    while !fs::read_to_string(&state).unwrap().contains(") S ") {
        assert!(Instant::now() < deadline, "the worker never slept");
        thread::yield_now();
    }
    ended.elapsed()
}

#[test]
fn a_worker_without_work_stays_awake_while_that_has_paid() {
    let pool = |worker_spin| {
        WorkerPool::new(&OptimizationConfig { worker_count: 1, worker_spin, ..config() }).unwrap()
    };
    let spin = Duration::from_millis(1);
    let spinning = pool(spin);
    for _ in 0..2 {
        assert!(awake_after_a_job(&spinning) >= spin);
    }
    // No job has come while it was awake.
    for pool in [spinning, pool(Duration::ZERO)] {
        let deadline = Instant::now() + LONG;
        while awake_after_a_job(&pool) >= spin {
            assert!(Instant::now() < deadline, "it never sleeps sooner");
        }
    }
}

/// How long the first look at a job takes that is expected to be short, and is not.
fn first_look(pool: &WorkerPool) -> Duration {
    for _ in 0..10 {
        look_until_done(&mut pool.spawn(|| ()));
    }
    let (gate, closed) = mpsc::channel::<()>();
    let mut job = pool.spawn(move || closed.recv().is_err());
    let start = Instant::now();
    assert!(Pin::new(&mut job).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let look = start.elapsed();
    drop(gate);
    assert!(look_until_done(&mut job));
    look
}

#[test]
fn who_awaits_a_short_job_looks_out_for_as_long_as_it_is_told_to() {
    let pool = |await_spin| WorkerPool::new(&OptimizationConfig { worker_count: 1, await_spin, ..config() });
    let spin = Duration::from_millis(1);
    let deadline = Instant::now() + LONG;
    // A pool afresh for each try: one that loses learns to let it be, and after a pause nobody looks.
    while first_look(&pool(spin).unwrap()) < spin {
        assert!(Instant::now() < deadline, "it never looks for so long");
    }
    let sleepy = pool(Duration::ZERO).unwrap();
    while first_look(&sleepy) >= spin {
        assert!(Instant::now() < deadline, "it never sleeps sooner");
    }
}

/// The niceness of the calling thread: the 19th field of its `stat`, whose second is a name in parentheses.
fn own_niceness() -> i8 {
    let stat = fs::read_to_string("/proc/thread-self/stat").expect("Linux describes each thread");
    let after_name = stat.rsplit(')').next().expect("with a name");
    after_name.split_whitespace().nth(16).expect("and its niceness").parse().expect("a number")
}

#[tokio::test]
async fn workers_give_way_as_much_as_they_are_told_to() {
    for (worker_niceness, expected) in [(0, own_niceness()), (19, 19)] {
        let pool = WorkerPool::new(&OptimizationConfig { worker_niceness, ..config() }).unwrap();
        assert_eq!(pool.spawn(own_niceness).await.unwrap(), expected);
    }
}
