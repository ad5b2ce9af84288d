//! A job that is run, and its future. A wake that is lost is a deadlock, which loom reports.

use std::future::poll_fn;

use loom::{future::block_on, thread};

use super::{super::claim::Claim, *};
use crate::grpc::performance::error::OptimizationError;

fn claim() -> Claim<u32> {
    Claim::to(Arc::new(ClosureJob::vacant()), &JobOptions::default(), |_| 42)
}

fn worker(job: &Arc<ClosureJob>) -> thread::JoinHandle<()> {
    let job = Arc::clone(job);
    thread::spawn(move || {
        let now = Instant::now();
        job.run(0, now, &Forecast::new(1), &Interlude::none(now));
    })
}

/// Everything has found its owner.
fn assert_nothing_left(job: &ClosureJob) {
    // SAFETY: the threads that were at the job have ended.
    assert!(unsafe { job.content(Parcel::take_all) }.is_none());
}

#[test]
fn a_future_gets_the_outcome_or_the_reason_for_which_there_is_none() {
    loom::model(|| {
        let mut claim = claim();
        let worker = worker(claim.job());
        let supervisor = {
            let job = Arc::clone(claim.job());
            thread::spawn(move || job.abandon(0, Life::ONLY, Interruption::Overstayed))
        };
        match block_on(poll_fn(|cx| claim.poll_outcome(cx))) {
            Ok(outcome) => assert_eq!(outcome, 42),
            Err(error) => {
                assert!(matches!(error, OptimizationError::Interrupted(Interruption::Overstayed)), "{error}");
            }
        }
        worker.join().unwrap();
        supervisor.join().unwrap();
        assert_nothing_left(claim.job());
    });
}

#[test]
fn a_claim_that_is_given_up_leaves_nothing_behind() {
    loom::model(|| {
        let mut claim = claim();
        let worker = worker(claim.job());
        block_on(poll_fn(|cx| {
            let _ = claim.poll_outcome(cx);
            std::task::Poll::Ready(())
        }));
        claim.job().withdraw(Interruption::Cancelled);
        let job = claim.give_up().unwrap();
        worker.join().unwrap();
        assert_nothing_left(&job);
    });
}
