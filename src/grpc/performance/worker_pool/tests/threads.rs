//! Threads that are stuck, that die, and that meet the faults of others.

use std::{sync::atomic::AtomicBool, thread};

use crossbeam::channel::Receiver;

use super::*;
use crate::{
    grpc::performance::{
        monitor::Class,
        worker_pool::{job::stand_in::StandIn, sleepers::Side},
    },
    platform::affinity::Core,
};

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
    seam.submit(task, Side::Any);
    assert_eq!(answered.recv_timeout(LONG), Ok(Interruption::WorkerLost));
    assert_eq!(pool.spawn(|| 1).await.unwrap(), 1);
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
    seam.submit(Task { job, unit: 0, line: Priority::Normal.into() }, Side::Any);
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
