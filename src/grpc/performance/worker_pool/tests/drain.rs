//! The end: what is finished, what is refused, and when it is over.

use super::*;

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
