//! A job that is run, and its future. A wake that is lost is a deadlock, which loom reports.

use std::future::poll_fn;

use loom::{future::block_on, thread};

use super::*;

fn job() -> Arc<ClosureJob> {
    Arc::new(ClosureJob::new(&JobOptions::default(), Work::of(|_: &mut JobContext<'_>| 42)))
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
            Ok(outcome) => assert_eq!(outcome.open(), Some(42)),
            Err(error) => {
                assert!(matches!(error, OptimizationError::Interrupted(Interruption::Overstayed)), "{error}");
            }
        }
        worker.join().unwrap();
        supervisor.join().unwrap();
        assert!(job.content.take().is_none(), "everything has found its owner");
    });
}
