//! What the pool promises, with real threads.
#![cfg(not(millstream_loom))]

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread::{self, ThreadId},
    time::Duration,
};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::{job::stand_in::StandIn, *};
use crate::grpc::performance::{
    error::{Interruption, Refusal},
    monitor::Class,
};
#[cfg(target_os = "linux")]
use crate::{
    grpc::performance::config::Pinning,
    platform::affinity::{Core, allowed_cores},
};

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
async fn a_stuck_job_is_answered_at_the_timeout_and_its_thread_replaced() {
    let pool = pool(&OptimizationConfig { worker_timeout: Duration::from_millis(50), ..config(1) });
    let (release, stuck) = occupy(&pool).await;
    let outcome = stuck.await;
    assert!(matches!(outcome, Err(OptimizationError::Interrupted(Interruption::Overstayed))), "{outcome:?}");
    capacity_is_back(&pool).await;
    drop(release);
    assert_eq!(pool.drain(Instant::now() + LONG).await, Drained { unfinished: 0 });
}

#[tokio::test]
async fn workers_that_cannot_be_pinned_run_unpinned() {
    let pool = WorkerPool::on_cores(&config(2), vec![Core::nowhere()], |_| None).unwrap();
    let busy = [occupy(&pool).await, occupy(&pool).await];
    let queued = pool.spawn(|| 7);
    drop(busy);
    assert_eq!(queued.await.unwrap(), 7);
    assert_eq!(pool.drain(Instant::now() + LONG).await, Drained { unfinished: 0 });
}

#[tokio::test]
async fn beyond_the_substitutes_a_seat_stays_empty_until_a_thread_is_back() {
    let pool = pool(&OptimizationConfig {
        worker_timeout: Duration::from_millis(50),
        worker_substitutes: 0,
        ..config(1)
    });
    let (release, stuck) = occupy(&pool).await;
    assert!(stuck.await.is_err());
    let (run, is_run) = bounded(1);
    let waiting = pool.spawn(move || run.send(()).unwrap());
    assert_eq!(pool.queued(), 1, "nobody is there to take it");
    drop(release);
    // On a busy machine it may overstay in its turn.
    let outcome = waiting.await;
    assert_eq!(is_run.recv_timeout(LONG), Ok(()), "{outcome:?}");
}

#[tokio::test]
async fn a_drain_finishes_what_was_accepted_and_refuses_the_rest_at_its_deadline() {
    let pool = pool(&config(1));
    let (release, busy) = occupy(&pool).await;
    let queued: Vec<_> = (0..10).map(|_| pool.spawn(|| ())).collect();
    let drained = pool.drain(Instant::now() + Duration::from_millis(30)).await;
    assert_eq!(drained, Drained { unfinished: 11 });
    for handle in queued {
        assert!(matches!(handle.await, Err(OptimizationError::Interrupted(Interruption::ShutDown))));
    }
    assert!(matches!(busy.await, Err(OptimizationError::Interrupted(Interruption::ShutDown))));
    drop(release);
}

#[tokio::test]
async fn dropping_the_last_handle_still_finishes_what_was_accepted() {
    let pool = pool(&config(2));
    let handles: Vec<_> = (0..100).map(|n| pool.spawn(move || n)).collect();
    drop(pool);
    for (n, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.await.unwrap(), n);
    }
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

#[tokio::test]
async fn a_worker_thread_that_dies_is_replaced_and_its_message_answered() {
    /// Panics outside the handler's containment: a fault of ours, made on purpose.
    struct Deadly(Sender<Interruption>, Share);
    impl StandIn for Deadly {
        fn share(&self, _: u32) -> &Share {
            &self.1
        }
        fn run(&self, _: u32) {
            panic!("a fault injected into the worker");
        }
        fn refuse(&self, _: u32, why: Interruption) {
            self.0.send(why).unwrap();
        }
    }
    let pool = pool(&config(1));
    let (answer, answered): (_, Receiver<_>) = bounded(1);
    let seam = pool.seam();
    seam.room.try_acquire(Priority::Normal, 0, Instant::now()).unwrap();
    let task =
        Task { job: Arc::new(Deadly(answer, Share::default())), unit: 0, line: Priority::Normal.into() };
    seam.submit(task, super::sleepers::Side::Any);
    assert_eq!(answered.recv_timeout(LONG), Ok(Interruption::WorkerLost));
    assert_eq!(pool.spawn(|| 1).await.unwrap(), 1);
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

#[tokio::test]
async fn a_drain_does_not_wait_for_a_handle_that_was_given_its_room_and_does_not_look() {
    let pool = pool(&OptimizationConfig { worker_queue_capacity: 1, ..config(1) });
    let (release, busy) = occupy(&pool).await;
    let queued = pool.try_spawn(|| ()).unwrap();
    let unpolled = pool.spawn(|| ());
    drop(release);
    busy.await.unwrap();
    // The place that this one leaves is handed on before it runs.
    queued.await.unwrap();
    assert_eq!(pool.drain(Instant::now() + LONG).await, Drained { unfinished: 0 });
    assert!(matches!(unpolled.await, Err(OptimizationError::Refused(Refusal::Draining))));
}

/// A job that runs until it is told to stop, and says again and again on which cores it may.
#[cfg(target_os = "linux")]
struct Wanderer {
    stop: Arc<AtomicBool>,
    may_run_on: Arc<parking_lot::Mutex<Vec<usize>>>,
    job: JobHandle<()>,
}

#[cfg(target_os = "linux")]
impl Wanderer {
    /// Has sunk when it is there: something short was done after it had begun.
    async fn sunk(pool: &WorkerPool) -> Self {
        let (stop, may_run_on) = (Arc::default(), Arc::<parking_lot::Mutex<_>>::default());
        let (started, is_started) = oneshot::channel();
        let job = pool.spawn({
            let (stop, may_run_on) = (Arc::<AtomicBool>::clone(&stop), Arc::clone(&may_run_on));
            move || {
                started.send(()).unwrap();
                while !stop.load(SeqCst) {
                    *may_run_on.lock() = numbers(&allowed_cores());
                }
            }
        });
        is_started.await.unwrap();
        pool.spawn(|| ()).await.unwrap();
        Self { stop, may_run_on, job }
    }

    async fn stop(self) {
        self.stop.store(true, SeqCst);
        self.job.await.unwrap();
    }
}

#[cfg(target_os = "linux")]
fn numbers(cores: &[Core]) -> Vec<usize> {
    cores.iter().map(|core| core.number()).collect()
}

#[cfg(target_os = "linux")]
async fn will_run_on(wanderers: &[Wanderer], expected: &[&[Core]]) {
    let expected: Vec<_> = expected.iter().map(|cores| numbers(cores)).collect();
    let deadline = Instant::now() + LONG;
    loop {
        let seen: Vec<_> = wanderers.iter().map(|wanderer| wanderer.may_run_on.lock().clone()).collect();
        if seen == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{seen:?} in place of {expected:?}");
        tokio::task::yield_now().await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_sank_first_has_a_core_to_itself_and_is_followed_by_the_next_in_line() {
    let pool = pool(&OptimizationConfig { worker_timeout: LONG, ..config(1) });
    let all = placement::cores(Pinning::AllCores);
    let Some((last, others)) = all.split_last().filter(|(_, others)| !others.is_empty()) else { return };
    let shared = std::slice::from_ref(last);
    let own = || others.chunks(1);
    let mut wanderers = vec![];
    for _ in 0..=all.len() {
        wanderers.push(Wanderer::sunk(&pool).await);
    }
    let places: Vec<_> = own().chain([shared, shared]).collect();
    will_run_on(&wanderers, &places).await;
    wanderers.remove(0).stop().await;
    // It has the first core, which is free; the others keep theirs.
    let next = own().skip(1).chain([&others[..1], shared]).collect::<Vec<_>>();
    will_run_on(&wanderers, &next).await;
    wanderers.remove(0).stop().await;
    will_run_on(&wanderers, &vec![&*all; wanderers.len()]).await;
    for wanderer in wanderers {
        wanderer.stop().await;
    }
}

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

#[tokio::test]
async fn what_is_served_last_is_served_where_no_thread_lives_for_long() {
    const STUCK: usize = 40;
    let pool = pool(&OptimizationConfig {
        worker_timeout: Duration::from_millis(20),
        worker_substitutes: STUCK + 2,
        ..config(1)
    });
    let (first, _first) = occupy(&pool).await;
    let (release, wait) = bounded::<()>(0);
    let begun = Arc::new(AtomicUsize::new(0));
    let of = |priority| JobOptions { priority, ..JobOptions::default() };
    let stuck: Vec<_> = (0..STUCK)
        .map(|_| {
            let (begun, wait) = (Arc::clone(&begun), wait.clone());
            pool.spawn_with(of(Priority::High), move |_| {
                begun.fetch_add(1, SeqCst);
                assert!(wait.recv().is_err());
            })
        })
        .collect();
    let (came, before) = bounded(1);
    let low = pool.spawn_with(of(Priority::Low), {
        let begun = Arc::clone(&begun);
        move |_| came.send(begun.load(SeqCst)).unwrap()
    });
    drop(first);
    // On a busy machine it may overstay in its turn, even before it has said how many came first.
    let outcome = low.await;
    let first = before.recv_timeout(LONG).unwrap_or_else(|_| begun.load(SeqCst));
    assert!(first < STUCK, "all others came first; {outcome:?}");
    drop(release);
    for handle in stuck {
        let outcome = handle.await;
        let overstayed = matches!(outcome, Err(OptimizationError::Interrupted(Interruption::Overstayed)));
        assert!(outcome.is_ok() || overstayed, "{outcome:?}");
    }
}

/// Two units in a chain. The first is at work until the second has run, for which somebody else has to come.
struct Chained {
    shares: [Share; 2],
    behind: AtomicBool,
    second_has_run: AtomicBool,
    done: Sender<()>,
}

impl StandIn for Chained {
    fn split(&self, unit: u32) -> Option<u32> {
        (unit == 0 && self.behind.swap(false, SeqCst)).then_some(1)
    }
    fn share(&self, unit: u32) -> &Share {
        &self.shares[unit as usize]
    }
    fn run(&self, unit: u32) {
        if unit == 1 {
            return self.second_has_run.store(true, SeqCst);
        }
        let deadline = Instant::now() + LONG / 2;
        while !self.second_has_run.load(SeqCst) && Instant::now() < deadline {
            std::hint::spin_loop();
        }
        self.done.send(()).unwrap();
    }
}

#[tokio::test]
async fn what_is_chained_behind_something_long_does_not_wait_for_it_unseen() {
    let pool = pool(&OptimizationConfig { worker_timeout: 2 * LONG, ..config(1) });
    let seam = pool.seam();
    // The worker sleeps, so that whoever queues the chain finds somebody free, and announces nothing.
    while !seam.anyone_asleep() {
        thread::yield_now();
    }
    let (done, is_done) = bounded(1);
    let chain = Arc::new(Chained {
        shares: Default::default(),
        behind: AtomicBool::new(true),
        second_has_run: AtomicBool::new(false),
        done,
    });
    for share in &chain.shares {
        seam.room.try_acquire(Priority::Normal, 0, Instant::now()).unwrap();
        seam.forecast.queued(share, Class::DEFAULT, Priority::Normal);
    }
    let job = Arc::clone(&chain) as Arc<dyn Job>;
    seam.submit(Task { job, unit: 0, line: Priority::Normal.into() }, super::sleepers::Side::Any);
    is_done.recv_timeout(LONG).unwrap();
    assert!(chain.second_has_run.load(SeqCst), "the second has waited for the first to give up");
}

/// Wakes nobody, and panics.
struct Faulty;

impl std::task::Wake for Faulty {
    fn wake(self: Arc<Self>) {
        panic!("a fault of the executor");
    }
}

/// Polls a future once, for an executor whose wakers panic; whether it is pending.
fn is_pending_for_a_faulty_executor<F: Future + Unpin>(future: &mut F) -> bool {
    let waker = std::task::Waker::from(Arc::new(Faulty));
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(&waker)).is_pending()
}

#[tokio::test]
async fn a_waker_that_panics_costs_no_worker_and_not_the_supervisor() {
    let mut worker_timeout = Duration::from_millis(50);
    let (pool, release, stuck, queued, waits) = loop {
        let pool = pool(&OptimizationConfig { worker_timeout, worker_queue_capacity: 1, ..config(1) });
        let (release, mut stuck) = occupy(&pool).await;
        let queued = pool.spawn(|| ());
        let mut waits = pool.spawn(|| ());
        if [&mut stuck, &mut waits].into_iter().all(is_pending_for_a_faulty_executor) {
            break (pool, release, stuck, queued, waits);
        }
        // The machine has held up the test until the supervisor was there.
        assert!(worker_timeout < LONG, "nobody waits");
        worker_timeout *= 2;
    };
    // The supervisor answers for the one that is stuck, and whoever begins the next one hands a place to the last.
    let outcome = stuck.await;
    assert!(matches!(outcome, Err(OptimizationError::Interrupted(Interruption::Overstayed))), "{outcome:?}");
    queued.await.ok();
    waits.await.ok();
    capacity_is_back(&pool).await;
    let (again, stuck) = occupy(&pool).await;
    assert!(stuck.await.is_err(), "somebody still looks for what is stuck");
    drop((release, again));
    assert_eq!(pool.drain(Instant::now() + LONG).await, Drained { unfinished: 0 });
}

#[tokio::test]
async fn a_chore_that_panics_is_done_again_when_its_time_has_come() {
    let (begun, is_begun) = unbounded();
    let chore = Chore {
        interval: Duration::from_millis(1),
        run: Box::new(move || {
            begun.send(()).unwrap();
            panic!("a fault of the exporter");
        }),
    };
    let pool = WorkerPool::with_chore(&config(1), |_| Some(chore)).unwrap();
    for _ in 0..3 {
        is_begun.recv_timeout(LONG).unwrap();
    }
    let (release, busy) = occupy(&pool).await;
    assert_eq!(pool.drain(Instant::now()).await, Drained { unfinished: 1 });
    drop((release, busy));
}

#[tokio::test]
async fn what_was_answered_before_the_drain_deadline_is_not_counted_as_left_behind() {
    let pool = pool(&config(1));
    let (release, busy) = occupy(&pool).await;
    drop(busy);
    assert_eq!(pool.drain(Instant::now()).await, Drained { unfinished: 0 });
    drop(release);
}

/// Says when it is woken.
struct Signal(Sender<()>);

impl std::task::Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.0.send(()).unwrap();
    }
}

/// Returns when the supervisor has seen to all that it was told before.
fn await_supervisor(pool: &WorkerPool) {
    let (signal, woken) = bounded(1);
    pool.seam().remind(Instant::now(), std::task::Waker::from(Arc::new(Signal(signal))));
    woken.recv_timeout(LONG).unwrap();
}

/// How long a drain takes once the last message is withdrawn, where all threads are stuck and were noticed after `timeout`.
async fn drain_without_threads(timeout: Duration) -> Duration {
    let pool = pool(&OptimizationConfig {
        worker_timeout: timeout,
        worker_substitutes: 0,
        enable_length_scheduling: false,
        ..config(1)
    });
    let (release, stuck) = occupy(&pool).await;
    assert!(stuck.await.is_err());
    let queued = pool.spawn(|| ());
    let drained = pool.drain(Instant::now() + 2 * LONG);
    await_supervisor(&pool);
    let withdrawn = Instant::now();
    drop(queued);
    assert_eq!(drained.await, Drained { unfinished: 0 });
    drop(release);
    withdrawn.elapsed()
}

#[tokio::test]
async fn a_drain_is_over_when_nothing_is_left_though_no_thread_is_there_to_tell() {
    let mut timeout = Duration::from_millis(400);
    while drain_without_threads(timeout).await > timeout / 2 {
        timeout *= 2;
        assert!(timeout < LONG / 8, "the drain goes on until the supervisor has to look at something else");
    }
}
