//! Where what has sunk may run.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::{
    grpc::performance::config::Pinning,
    platform::affinity::{Core, allowed_cores},
};

/// A job that runs until it is told to stop, and says again and again on which cores it may.
struct Wanderer {
    stop: Arc<AtomicBool>,
    may_run_on: Arc<parking_lot::Mutex<Vec<usize>>>,
    job: JobHandle<()>,
}

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

fn numbers(cores: &[Core]) -> Vec<usize> {
    cores.iter().map(|core| core.number()).collect()
}

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
