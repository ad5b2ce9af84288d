//! What is short runs within a checkpoint of what is long.

use std::{
    sync::atomic::AtomicBool,
    thread::{self, ThreadId},
};

use super::*;
use crate::grpc::performance::monitor::Class;

/// A pool of one worker, of which nothing ever sinks: what comes while it is busy runs within a checkpoint, or waits.
fn single_minded(change: impl FnOnce(&mut OptimizationConfig)) -> WorkerPool {
    let mut config = OptimizationConfig { worker_demotions: 0, ..config(1) };
    change(&mut config);
    pool(&config)
}

/// A job that does nothing but come by checkpoints, until it is told to stop or a checkpoint says why; there when it runs,
/// and has done so for longer than anything short. It gives the last word of its checkpoints, its thread, and what it has lent.
async fn lender(
    pool: &WorkerPool,
    options: JobOptions,
) -> (Arc<AtomicBool>, JobHandle<(Result<(), Interruption>, ThreadId, Duration)>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (started, is_started) = oneshot::channel();
    let job = pool.spawn_with(options, {
        let stop = Arc::clone(&stop);
        move |job| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(15) {}
            started.send(()).unwrap();
            let mut outcome = Ok(());
            while !stop.load(SeqCst) && outcome.is_ok() {
                outcome = job.checkpoint();
            }
            (outcome, thread::current().id(), job.lent())
        }
    });
    is_started.await.unwrap();
    (stop, job)
}

#[tokio::test]
async fn what_is_short_runs_within_a_checkpoint_of_what_is_long_and_is_not_counted_as_its_time() {
    const LENDING: Class = Class::new("lending");
    // All of one class: of two, that which takes 2 ms is long beside one that takes nothing.
    let short = JobOptions { class: Class::new("short"), ..JobOptions::default() };
    let pool = single_minded(|_| ());
    let begun = Instant::now();
    let (stop, long) = lender(&pool, JobOptions { class: LENDING, ..JobOptions::default() }).await;
    let mut threads = Vec::new();
    for _ in 0..10 {
        let busy = pool.spawn_with(short, |_| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(2) {}
            thread::current().id()
        });
        let faulty = pool.spawn_with(short, |_| panic!("a fault within a checkpoint"));
        threads.push(busy.await.unwrap());
        let outcome = faulty.await;
        assert!(matches!(outcome, Err::<(), _>(OptimizationError::Panicked(_))), "{outcome:?}");
    }
    stop.store(true, SeqCst);
    let (outcome, thread, lent) = long.await.unwrap();
    assert_eq!(outcome, Ok(()));
    assert!(threads.iter().all(|&short| short == thread), "each runs on the thread of the long one");
    assert!(lent >= Duration::from_millis(20), "{lent:?}");
    let learnt = pool.seam().forecast.service(LENDING);
    assert!(learnt + lent <= begun.elapsed(), "{learnt:?}, {lent:?} lent");
}

#[tokio::test]
async fn nothing_runs_within_a_job_that_is_undivided_or_runs_within_another_itself() {
    let pool = single_minded(|_| ());
    let (stop, long) = lender(&pool, JobOptions { undivided: true, ..JobOptions::default() }).await;
    let mut short = pool.spawn(|| ());
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut short).await.is_err());
    stop.store(true, SeqCst);
    assert_eq!(long.await.unwrap().2, Duration::ZERO);
    short.await.unwrap();

    let (stop, long) = lender(&pool, JobOptions::default()).await;
    let (stop_within, within) = lender(&pool, JobOptions::default()).await;
    let mut short = pool.spawn(|| ());
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut short).await.is_err());
    stop_within.store(true, SeqCst);
    assert_eq!(within.await.unwrap().2, Duration::ZERO);
    short.await.unwrap();
    stop.store(true, SeqCst);
    assert!(long.await.unwrap().2 > Duration::ZERO);
}

/// What a job's last checkpoint says, and whether it has lent, where it lends until after the deadline. A busy machine may
/// let the deadline pass before anything is lent.
async fn last_word(time: Duration) -> (Interruption, bool) {
    let pool = single_minded(|_| ());
    let deadline = Instant::now() + time;
    let options = JobOptions { deadline: Some(deadline), ..JobOptions::default() };
    let (seen, what) = oneshot::channel();
    let (started, is_started) = oneshot::channel();
    // Nobody polls it, so that nobody but itself looks at its deadline.
    let long = pool.spawn_with(options, move |job| {
        started.send(()).unwrap();
        let mut checkpoints = 0;
        let why = loop {
            let lent = job.lent();
            match job.checkpoint() {
                Err(why) => break (why, job.lent() > lent),
                Ok(()) => checkpoints += 1,
            }
        };
        assert!(checkpoints > 0 || !why.1, "it is seen before anything is lent");
        seen.send(why).unwrap();
    });
    is_started.await.unwrap();
    pool.spawn(move || while Instant::now() < deadline {}).await.unwrap();
    let word = what.await.unwrap();
    drop(long);
    word
}

#[tokio::test]
async fn a_deadline_that_passes_within_a_checkpoint_is_seen_at_its_end() {
    let mut time = Duration::from_millis(300);
    while last_word(time).await != (Interruption::DeadlineExceeded, true) {
        assert!(time < LONG, "it is never seen at the checkpoint that has lent");
        time *= 2;
    }
}

#[tokio::test]
async fn when_what_runs_within_a_checkpoint_overstays_both_are_answered_and_their_thread_is_replaced() {
    let pool = single_minded(|config| config.worker_timeout = Duration::from_millis(100));
    let (_stop, long) = lender(&pool, JobOptions::default()).await;
    let (release, stuck) = occupy(&pool).await;
    for outcome in [stuck.await, long.await.map(drop)] {
        assert!(
            matches!(outcome, Err(OptimizationError::Interrupted(Interruption::Overstayed))),
            "{outcome:?}"
        );
    }
    capacity_is_back(&pool).await;
    drop(release);
    assert_eq!(pool.drain(Instant::now() + LONG).await, Drained { unfinished: 0 });
}

#[tokio::test]
async fn what_turns_out_long_within_a_checkpoint_sinks_with_what_lies_beneath_it() {
    let pool = pool(&config(1));
    let (stop, long) = lender(&pool, JobOptions::default()).await;
    let (stop_within, within) = lender(&pool, JobOptions::default()).await;
    // Nobody is left at the seat for this one but a fresh worker.
    let fresh = pool.spawn(|| thread::current().id()).await.unwrap();
    stop_within.store(true, SeqCst);
    let (_, sunk, _) = within.await.unwrap();
    stop.store(true, SeqCst);
    let (outcome, thread, lent) = long.await.unwrap();
    assert_eq!((outcome, thread), (Ok(()), sunk));
    assert_ne!(thread, fresh);
    assert!(lent > Duration::ZERO);
    assert_eq!(pool.drain(Instant::now() + LONG).await, Drained { unfinished: 0 });
}
