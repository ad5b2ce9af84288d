//! A job that is run, and its future. A wake that is lost is a deadlock, which loom reports.

use std::future::poll_fn;

use loom::{future::block_on, thread};

use super::*;

fn job() -> Arc<ClosureJob<fn(&mut JobContext<'_>) -> u32, u32>> {
    Arc::new(ClosureJob {
        class: Class::DEFAULT,
        share: Share::default(),
        state: JobState::queued(),
        work: Handoff::new(|_| 42),
        outcome: Handoff::empty(),
        waker: AtomicWaker::new(),
        deadline: None,
        undivided: false,
        weight: 0,
        charge: Handoff::empty(),
    })
}

#[test]
fn a_future_gets_the_outcome_or_the_reason_for_which_there_is_none() {
    loom::model(|| {
        let job = job();
        let worker = {
            let job = Arc::clone(&job);
            thread::spawn(move || {
                let now = Instant::now();
                job.run(0, now, &Forecast::new(1), &Interlude::none(now));
            })
        };
        let supervisor = {
            let job = Arc::clone(&job);
            thread::spawn(move || job.abandon(0, Life::ONLY, Interruption::Overstayed))
        };
        match block_on(poll_fn(|cx| job.poll_outcome(cx))) {
            Ok(outcome) => assert_eq!(outcome, 42),
            Err(error) => {
                assert!(matches!(error, OptimizationError::Interrupted(Interruption::Overstayed)), "{error}");
            }
        }
        worker.join().unwrap();
        supervisor.join().unwrap();
        assert!(job.work.take().is_none() && job.outcome.take().is_none(), "everything has found its owner");
    });
}
