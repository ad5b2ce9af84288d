//! The life of one job, as one atomic byte: who runs it, and who answers for it.
//!
//! ```text
//!            begin (worker)            finish (worker)
//!  Queued ───────────────────▶ Running ───────────────▶ Finished
//!     │ withdraw                  │ withdraw
//!     ▼                           ▼
//!  Withdrawn(why)              Withdrawn(why)
//! ```
//! Exactly one transition out of each state succeeds, and with it goes a right:
//! - `begin` gives the worker the job's input;
//! - `finish` gives the owner the outcome that the worker stored just before;
//! - `withdraw` makes whoever called it the one who answers; from `Queued` it also gives the input (so that a
//!   withdrawn payload is freed at once), from `Running` the worker keeps it, and its outcome is dropped.
//!
//! So every job has exactly one answer, whatever the interleaving of worker, timer, supervisor and client.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::{grpc::performance::error::Interruption, platform::atomic::AtomicU8};

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const FINISHED: u8 = 2;
/// Withdrawn states are this plus the code of the reason.
const WITHDRAWN: u8 = 8;

fn code(why: Interruption) -> u8 {
    WITHDRAWN
        + match why {
            Interruption::Cancelled => 0,
            Interruption::DeadlineExceeded => 1,
            Interruption::Overstayed => 2,
            Interruption::ShutDown => 3,
            Interruption::WorkerLost => 4,
        }
}

fn reason(state: u8) -> Option<Interruption> {
    match state.checked_sub(WITHDRAWN)? {
        0 => Some(Interruption::Cancelled),
        1 => Some(Interruption::DeadlineExceeded),
        2 => Some(Interruption::Overstayed),
        3 => Some(Interruption::ShutDown),
        _ => Some(Interruption::WorkerLost),
    }
}

/// What a successful [`JobState::withdraw`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithdrawnFrom {
    /// Nobody had started: the input is the caller's.
    Queued,
    /// A worker runs it, and will throw its outcome away.
    Running,
}

/// The state of one job. See the module for the protocol.
#[derive(Debug)]
pub(crate) struct JobState(AtomicU8);

impl JobState {
    pub(crate) fn queued() -> Self {
        Self(AtomicU8::new(QUEUED))
    }

    /// Back to `Queued`, for the next message in the same place. Only while nobody else knows the job: what publishes
    /// the job to the workers (a push into a lane, a link in a chain) also publishes this store.
    pub(crate) fn reset(&self) {
        self.0.store(QUEUED, Relaxed);
    }

    /// A worker takes the job. Acquires what was stored with the job before it was published.
    ///
    /// # Errors
    /// Why it was withdrawn.
    pub(crate) fn begin(&self) -> Result<(), Interruption> {
        match self.0.compare_exchange(QUEUED, RUNNING, AcqRel, Acquire) {
            Ok(_) => Ok(()),
            Err(state) => Err(reason(state).expect("a job is begun once")),
        }
    }

    /// The worker has stored the outcome. Releases it to whoever sees [`is_finished`](Self::is_finished).
    ///
    /// # Errors
    /// Why it was withdrawn meanwhile: the outcome is nobody's, and the worker drops it.
    pub(crate) fn finish(&self) -> Result<(), Interruption> {
        match self.0.compare_exchange(RUNNING, FINISHED, AcqRel, Acquire) {
            Ok(_) => Ok(()),
            Err(state) => Err(reason(state).expect("a job is finished once, by the worker that began it")),
        }
    }

    /// Takes the job away; `None` when it was finished, or withdrawn, already.
    pub(crate) fn withdraw(&self, why: Interruption) -> Option<WithdrawnFrom> {
        let withdrawn = code(why);
        // AcqRel: acquires the input (from the submitter); releases to the worker, which will find it taken.
        if self.0.compare_exchange(QUEUED, withdrawn, AcqRel, Acquire).is_ok() {
            return Some(WithdrawnFrom::Queued);
        }
        // A job never goes back to Queued while it is known, so trying the other state once is enough.
        self.0.compare_exchange(RUNNING, withdrawn, AcqRel, Acquire).ok().map(|_| WithdrawnFrom::Running)
    }

    /// Whether the outcome is there. Acquire pairs with `finish`.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.load(Acquire) == FINISHED
    }

    /// Why it was withdrawn, if it was. Relaxed: a hint that is looked at again and again, and carries no data.
    #[inline]
    pub(crate) fn withdrawn(&self) -> Option<Interruption> {
        reason(self.0.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_job_cannot_be_withdrawn() {
        let state = JobState::queued();
        assert_eq!(state.begin(), Ok(()));
        assert_eq!(state.finish(), Ok(()));
        assert_eq!(state.withdraw(Interruption::Cancelled), None);
        assert!(state.is_finished());
    }

    #[test]
    fn a_withdrawn_job_is_neither_begun_nor_withdrawn_again_and_says_why() {
        for why in [
            Interruption::Cancelled,
            Interruption::DeadlineExceeded,
            Interruption::Overstayed,
            Interruption::ShutDown,
            Interruption::WorkerLost,
        ] {
            let state = JobState::queued();
            assert_eq!(state.withdraw(why), Some(WithdrawnFrom::Queued));
            assert_eq!(state.begin(), Err(why));
            assert_eq!(state.withdraw(Interruption::Cancelled), None);
            assert_eq!(state.withdrawn(), Some(why));
        }
    }

    #[test]
    fn a_running_job_that_is_withdrawn_has_no_outcome() {
        let state = JobState::queued();
        state.begin().unwrap();
        assert_eq!(state.withdraw(Interruption::Overstayed), Some(WithdrawnFrom::Running));
        assert_eq!(state.finish(), Err(Interruption::Overstayed));
        assert!(!state.is_finished());
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests {
    use loom::thread;
    use std::sync::Arc;

    use super::*;
    use crate::grpc::performance::worker_pool::Handoff;

    const INPUT: u32 = 1;
    const OUTCOME: u32 = 2;

    struct Message {
        state: JobState,
        input: Handoff<u32>,
        outcome: Handoff<u32>,
    }

    /// Who did what, in one thread.
    #[derive(Default)]
    struct Did {
        answers: u32,
        inputs: u32,
    }

    impl Message {
        fn work(&self) -> Did {
            let mut did = Did::default();
            if self.state.begin().is_ok() {
                assert_eq!(self.input.take(), Some(INPUT));
                did.inputs += 1;
                self.outcome.put(OUTCOME);
                if self.state.finish().is_err() {
                    assert_eq!(self.outcome.take(), Some(OUTCOME));
                }
            }
            did
        }

        fn withdraw(&self, why: Interruption) -> Did {
            let withdrawn = self.state.withdraw(why);
            if withdrawn == Some(WithdrawnFrom::Queued) {
                assert_eq!(self.input.take(), Some(INPUT));
            }
            Did {
                answers: u32::from(withdrawn.is_some()),
                inputs: u32::from(withdrawn == Some(WithdrawnFrom::Queued)),
            }
        }

        fn collect(&self) -> Did {
            let finished = self.state.is_finished();
            if finished {
                assert_eq!(self.outcome.take(), Some(OUTCOME));
            }
            Did { answers: u32::from(finished), inputs: 0 }
        }

        /// The deadline of a message: its outcome if it is there, else it is withdrawn.
        fn expire(&self) -> Did {
            let collected = self.collect();
            if collected.answers > 0 { collected } else { self.withdraw(Interruption::DeadlineExceeded) }
        }
    }

    #[test]
    fn of_worker_supervisor_and_deadline_one_answers_and_one_has_the_input() {
        loom::model(|| {
            let message = Arc::new(Message {
                state: JobState::queued(),
                input: Handoff::new(INPUT),
                outcome: Handoff::empty(),
            });
            let [worker, supervisor] =
                [Message::work, |message: &Message| message.withdraw(Interruption::Overstayed)].map(
                    |run: fn(&Message) -> Did| {
                        let message = Arc::clone(&message);
                        thread::spawn(move || run(&message))
                    },
                );
            let expired = message.expire();
            let [worker, supervisor] = [worker, supervisor].map(|thread| thread.join().unwrap());
            let answers = worker.answers + supervisor.answers + expired.answers;
            // What finished after the deadline had come is collected when the slot is back.
            let late = if answers == 0 { message.collect() } else { Did::default() };
            assert_eq!(answers + late.answers, 1);
            assert_eq!(worker.inputs + supervisor.inputs + expired.inputs, 1);
        });
    }
}
