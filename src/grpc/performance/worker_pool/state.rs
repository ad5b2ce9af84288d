//! The life of one job, as one atomic word: who runs it, and who answers for it.
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
//!
//! **Outsiders.** Who withdraws a job has either got hold of it (it took it out of its lane, or is its stream, to which it
//! has not come back), or is an outsider: the supervisor, and who needs room, may withdraw a job that a worker is about
//! to begin. That worker finds it withdrawn while the outsider is still at its input, and were it to give the place back
//! then, the outsider would come upon the input of the next message there. So both [leave](JobState::leave), and the last
//! one gives the place back.
//!
//! **Lives.** The state of a slot serves one message after the other; above the phase the word counts which one it is.
//! Who has a right to the job knows that it is still the same. The supervisor has none: while it makes up its mind about
//! a message that overstays, that message may be finished and answered, and the slot filled anew. So it names the life
//! that it means, and comes too late for any other.

use std::{
    panic::Location,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed},
};

use crossbeam::atomic::AtomicCell;

use crate::{
    grpc::performance::error::Interruption,
    platform::{atomic::AtomicU32, stage},
};

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const FINISHED: u8 = 2;
/// Withdrawn states are this plus the code of the reason, and maybe the two marks below.
const WITHDRAWN: u8 = 8;
/// An outsider withdrew it before it was begun.
const BY_OUTSIDER: u8 = 1 << 6;
/// Of the outsider and who came for the job, one has left.
const LEFT: u8 = 1 << 7;

fn code(why: Interruption) -> u8 {
    WITHDRAWN
        + match why {
            Interruption::Cancelled => 0,
            Interruption::DeadlineExceeded => 1,
            Interruption::Overstayed => 2,
            Interruption::ShutDown => 3,
            Interruption::WorkerLost => 4,
            Interruption::Displaced => 5,
        }
}

fn reason(phase: u8) -> Option<Interruption> {
    match (phase & !(BY_OUTSIDER | LEFT)).checked_sub(WITHDRAWN)? {
        0 => Some(Interruption::Cancelled),
        1 => Some(Interruption::DeadlineExceeded),
        2 => Some(Interruption::Overstayed),
        3 => Some(Interruption::ShutDown),
        4 => Some(Interruption::WorkerLost),
        _ => Some(Interruption::Displaced),
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

/// Which of the messages that a state has served, one after the other. Comes round after 2^24 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life(u32);

impl Life {
    /// Of a job that is the only one in its place.
    pub(crate) const ONLY: Self = Self(0);

    /// The life in the upper 24 bits, the phase in the lowest 8.
    fn with(self, phase: u8) -> u32 {
        self.0 << u8::BITS | u32::from(phase)
    }
}

/// The state of one job. See the module for the protocol.
#[derive(Debug)]
pub(crate) struct JobState {
    word: AtomicU32,
    /// The checkpoint that its handler came by last, for whoever wants to know where it is stuck. Carries nothing else.
    passed: AtomicCell<Option<&'static Location<'static>>>,
}

impl JobState {
    pub(crate) fn queued() -> Self {
        Self { word: AtomicU32::new(Life::ONLY.with(QUEUED)), passed: AtomicCell::new(None) }
    }

    /// Back to `Queued`, for the next message in the same place. Only while nobody else has a right to the job.
    ///
    /// Relaxed: what publishes the job to the workers (a push into a lane, a link in a chain) also publishes this store,
    /// and a supervisor that is late finds another life before it as after it.
    pub(crate) fn reset(&self) {
        self.word.store(Life(self.life().0 + 1).with(QUEUED), Relaxed);
        self.passed.store(None);
    }

    /// The handler has come by a checkpoint: one store, of a plain pointer.
    #[inline]
    pub(crate) fn pass(&self, checkpoint: &'static Location<'static>) {
        self.passed.store(Some(checkpoint));
    }

    /// The checkpoint that the handler came by last, in the life that it is in.
    pub(crate) fn passed(&self) -> Option<&'static Location<'static>> {
        self.passed.load()
    }

    /// Which message it serves now. Relaxed: fixed for as long as the caller, or who told it of the job, has a right to
    /// the job.
    pub(crate) fn life(&self) -> Life {
        Life(self.word.load(Relaxed) >> u8::BITS)
    }

    /// One transition.
    ///
    /// # Errors
    /// The phase that it is in, maybe of another life.
    fn step(&self, life: Life, from: u8, to: u8) -> Result<(), u8> {
        stage::point();
        // AcqRel, and Acquire on failure: each transition pairs with the one before it, so that with the right to the
        // input or the outcome goes what was written there, and what its last owner did with it.
        self.word
            .compare_exchange(life.with(from), life.with(to), AcqRel, Acquire)
            .map(|_| ())
            .map_err(|found| found as u8)
    }

    /// A worker takes the job. Acquires what was stored with the job before it was published.
    ///
    /// # Errors
    /// Why it was withdrawn.
    pub(crate) fn begin(&self) -> Result<(), Interruption> {
        self.step(self.life(), QUEUED, RUNNING).map_err(|phase| reason(phase).expect("a job is begun once"))
    }

    /// The worker has stored the outcome. Releases it to whoever sees [`is_finished`](Self::is_finished).
    ///
    /// # Errors
    /// Why it was withdrawn meanwhile: the outcome is nobody's, and the worker drops it.
    pub(crate) fn finish(&self) -> Result<(), Interruption> {
        self.step(self.life(), RUNNING, FINISHED)
            .map_err(|phase| reason(phase).expect("a job is finished once, by the worker that began it"))
    }

    /// Takes the job away; `None` when it was finished, or withdrawn, already.
    pub(crate) fn withdraw(&self, why: Interruption) -> Option<WithdrawnFrom> {
        self.withdraw_marked(self.life(), why, 0)
    }

    /// The same, for an outsider, who cannot be sure that it is still the job that is meant; `None` also when it is another.
    pub(crate) fn withdraw_from(&self, life: Life, why: Interruption) -> Option<WithdrawnFrom> {
        self.withdraw_marked(life, why, BY_OUTSIDER)
    }

    fn withdraw_marked(&self, life: Life, why: Interruption, mark: u8) -> Option<WithdrawnFrom> {
        if self.withdraw_queued(life, why, mark) {
            return Some(WithdrawnFrom::Queued);
        }
        // In one life a job never goes back to Queued, so trying the other phase once is enough.
        self.step(life, RUNNING, code(why)).ok().map(|()| WithdrawnFrom::Running)
    }

    fn withdraw_queued(&self, life: Life, why: Interruption, mark: u8) -> bool {
        self.step(life, QUEUED, code(why) | mark).is_ok()
    }

    /// Whether it is still untouched since it was queued. Relaxed: a hint, which carries no data.
    pub(crate) fn is_queued(&self) -> bool {
        self.word.load(Relaxed) as u8 == QUEUED
    }

    /// As [`withdraw_from`](Self::withdraw_from), only if nobody has started it: then the input is the caller's.
    pub(crate) fn withdraw_unstarted(&self, life: Life, why: Interruption) -> bool {
        self.withdraw_queued(life, why, BY_OUTSIDER)
    }

    /// Whoever came for the job and found it withdrawn is done with it, and so is, by this too, the outsider who withdrew
    /// it unstarted; true when nobody else is at it any more.
    pub(crate) fn leave(&self) -> bool {
        stage::point();
        // Relaxed: the caller has seen the withdrawal, and nothing but `leave` comes after it.
        if self.word.load(Relaxed) as u8 & BY_OUTSIDER == 0 {
            return true;
        }
        // AcqRel: pairs with itself, so that what the first did with the job is over before the last gives it back.
        self.word.fetch_or(LEFT.into(), AcqRel) as u8 & LEFT != 0
    }

    /// Whether the outcome is there. Acquire pairs with `finish`.
    pub(crate) fn is_finished(&self) -> bool {
        self.word.load(Acquire) as u8 == FINISHED
    }

    /// Why it was withdrawn, if it was. Relaxed: to a worker it is a hint that it looks at again and again, and who acts
    /// on it was told in a way that synchronises (the slot that came back, an alarm, a waker); it carries no data.
    #[inline]
    pub(crate) fn withdrawn(&self) -> Option<Interruption> {
        reason(self.word.load(Relaxed) as u8)
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
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
            Interruption::Displaced,
        ] {
            let state = JobState::queued();
            assert_eq!(state.withdraw(why), Some(WithdrawnFrom::Queued));
            assert_eq!(state.begin(), Err(why));
            assert_eq!(state.withdraw(Interruption::Cancelled), None);
            assert_eq!(state.withdrawn(), Some(why));
        }
    }

    #[test]
    fn who_means_an_earlier_life_comes_too_late() {
        let state = JobState::queued();
        let earlier = state.life();
        state.reset();
        assert_eq!(state.withdraw_from(earlier, Interruption::Overstayed), None);
        state.begin().unwrap();
        assert_eq!(state.withdraw_from(earlier, Interruption::Overstayed), None);
        assert_eq!(state.withdraw_from(state.life(), Interruption::Overstayed), Some(WithdrawnFrom::Running));
    }

    #[test]
    fn of_an_outsider_and_who_came_for_the_job_the_last_one_is_told() {
        for why in [Interruption::Overstayed, Interruption::Displaced, Interruption::ShutDown] {
            let state = JobState::queued();
            assert_eq!(state.withdraw_from(state.life(), why), Some(WithdrawnFrom::Queued));
            assert_eq!(state.begin(), Err(why));
            assert_eq!([state.leave(), state.leave()], [false, true]);
            assert_eq!(state.withdrawn(), Some(why));
        }
        let state = JobState::queued();
        state.withdraw(Interruption::Cancelled).unwrap();
        assert!(state.leave(), "the withdrawn job is with its stream");
        state.reset();
        state.begin().unwrap();
        state.withdraw_from(state.life(), Interruption::Overstayed).unwrap();
        assert!(state.leave(), "what has begun is its worker's");
    }

    #[test]
    fn lives_come_round() {
        let state = JobState::queued();
        state.word.store(Life((1 << 24) - 1).with(FINISHED), Relaxed);
        state.reset();
        assert_eq!((state.life(), state.begin()), (Life::ONLY, Ok(())));
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
    const NEXT: u32 = 3;

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

    #[test]
    fn a_supervisor_that_is_late_does_not_reach_the_next_message() {
        loom::model(|| {
            let state = Arc::new(JobState::queued());
            let overstayed = state.life();
            let supervisor = {
                let state = Arc::clone(&state);
                thread::spawn(move || state.withdraw_from(overstayed, Interruption::Overstayed).is_some())
            };
            let finished = state.begin().is_ok() && state.finish().is_ok();
            state.reset();
            assert_eq!((state.begin(), state.finish()), (Ok(()), Ok(())));
            assert_eq!(supervisor.join().unwrap(), !finished);
        });
    }

    /// The outsider is at the input of the first message for as long as it likes; the place serves the next one after.
    #[test]
    fn an_outsider_finds_the_input_of_the_message_that_it_withdrew() {
        loom::model(|| {
            let place = Arc::new(Message {
                state: JobState::queued(),
                input: Handoff::new(INPUT),
                outcome: Handoff::empty(),
            });
            let first = place.state.life();
            let serve_next = |place: &Message| {
                place.state.reset();
                place.input.put(NEXT);
                assert_eq!(place.state.begin(), Ok(()));
                assert_eq!(place.input.take(), Some(NEXT));
            };
            let outsider = {
                let place = Arc::clone(&place);
                thread::spawn(move || {
                    let withdrew = place.state.withdraw_unstarted(first, Interruption::Displaced);
                    if withdrew {
                        assert_eq!(place.input.take(), Some(INPUT));
                        if place.state.leave() {
                            serve_next(&place);
                            return (withdrew, 1);
                        }
                    }
                    (withdrew, 0)
                })
            };
            let begun = place.state.begin().is_ok();
            let mut served = 0;
            if begun {
                assert_eq!(place.input.take(), Some(INPUT));
            } else if place.state.leave() {
                serve_next(&place);
                served = 1;
            }
            let (withdrew, served_by_outsider) = outsider.join().unwrap();
            assert_ne!(begun, withdrew);
            assert_eq!(served + served_by_outsider, i32::from(withdrew));
        });
    }
}
