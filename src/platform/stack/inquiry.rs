//! One question at a time, and who may answer it.
//!
//! ```text
//!          ask                claim                   answered
//!  OVER ─────────▶ ASKED ──────────────▶ ANSWERING ──────────────▶ OVER
//!    ▲               │   (in the signal
//!    └── withdraw ───┘      handler)
//! ```
//! One thread asks at a time, which is for the caller to see to. The pipe is the asker's while the question is OVER: so it
//! is closed only when nobody writes into it, nor will. The word carries a number that is another with each question: a
//! handler that has read it, and was stopped before it claimed, does not answer a later question into the pipe of an earlier
//! one.
//!
//! `claim` and `answered` take no lock, make no system call and allocate nothing; they may run within anything.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::platform::atomic::{AtomicU32, AtomicU64};

const OVER: u64 = 0;
const ASKED: u64 = 1;
const ANSWERING: u64 = 2;
const PHASE: u64 = 3;
/// What the number of the question counts in.
const NEXT: u64 = 4;

/// What is asked of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    /// Of whom, as the system numbers threads.
    pub(super) thread: u32,
    /// Up to which address its stack is wanted.
    pub(super) base: u64,
    /// Where the answer goes.
    pub(super) pipe: u32,
}

/// The question, and how far it is.
#[derive(Default)]
pub(super) struct Inquiry {
    word: AtomicU64,
    thread: AtomicU32,
    base: AtomicU64,
    pipe: AtomicU32,
}

impl Inquiry {
    /// Asks; the question before is over.
    pub(super) fn ask(&self, question: Question) {
        // Relaxed: published by the store of the word, which is the asker's alone.
        self.thread.store(question.thread, Relaxed);
        self.base.store(question.base, Relaxed);
        self.pipe.store(question.pipe, Relaxed);
        let word = self.word.load(Relaxed);
        // Release pairs with the Acquire of `claim`.
        self.word.store((word & !PHASE).wrapping_add(NEXT) | ASKED, Release);
    }

    /// The question, if one is asked of this thread; it has to be [`answered`](Self::answered) then.
    pub(super) fn claim(&self, thread: u32) -> Option<Question> {
        // Acquire: who sees ASKED sees the question. It may be that of a later one, but then the word has changed as well,
        // and the exchange fails.
        let word = self.word.load(Acquire);
        let (base, pipe) = (self.base.load(Relaxed), self.pipe.load(Relaxed));
        if word & PHASE != ASKED || self.thread.load(Relaxed) != thread {
            return None;
        }
        // Relaxed: all that is needed came with the load. That one of this step and that of `withdraw` happens does not
        // depend on orderings.
        self.word.compare_exchange(word, word & !PHASE | ANSWERING, Relaxed, Relaxed).ok()?;
        Some(Question { thread, base, pipe })
    }

    /// The answer has been written. Release pairs with the Acquire of `is_over` and `withdraw`: the pipe is the asker's
    /// after its last use here.
    pub(super) fn answered(&self) {
        let word = self.word.load(Relaxed);
        self.word.store(word & !PHASE | OVER, Release);
    }

    /// Whether the question has been answered, or taken back.
    pub(super) fn is_over(&self) -> bool {
        self.word.load(Acquire) & PHASE == OVER
    }

    /// Takes the question back; false while it is being answered: then the pipe has to stay.
    pub(super) fn withdraw(&self) -> bool {
        let word = self.word.load(Acquire);
        let taken_back = word & PHASE == ASKED
            && self.word.compare_exchange(word, word & !PHASE | OVER, Relaxed, Relaxed).is_ok();
        taken_back || self.is_over()
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    const ONE: Question = Question { thread: 7, base: 1000, pipe: 3 };

    #[test]
    fn who_is_asked_answers_once_and_nobody_else_does() {
        let inquiry = Inquiry::default();
        assert_eq!(inquiry.claim(7), None, "nothing is asked");
        inquiry.ask(ONE);
        assert_eq!(inquiry.claim(8), None, "another is asked");
        assert_eq!(inquiry.claim(7), Some(ONE));
        assert!(!inquiry.withdraw() && !inquiry.is_over());
        assert_eq!(inquiry.claim(7), None, "it is being answered");
        inquiry.answered();
        assert!(inquiry.is_over() && inquiry.withdraw());
        assert_eq!(inquiry.claim(7), None, "it has been answered");
    }

    #[test]
    fn what_was_taken_back_is_not_answered() {
        let inquiry = Inquiry::default();
        inquiry.ask(ONE);
        assert!(inquiry.withdraw());
        assert_eq!(inquiry.claim(7), None);
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests {
    use std::sync::Arc;

    use loom::thread;

    use super::*;
    use crate::platform::atomic::AtomicBool;

    #[test]
    fn nobody_writes_into_a_pipe_that_is_closed_or_another_questions() {
        loom::model(|| {
            let shared = Arc::new((Inquiry::default(), [AtomicBool::new(false), AtomicBool::new(false)]));
            let question = |pipe: u32| Question { thread: 7, base: 10 * u64::from(pipe), pipe };
            shared.0.ask(question(0));
            let asked = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let claimed = shared.0.claim(7)?;
                    assert_eq!(claimed, question(claimed.pipe));
                    assert!(!shared.1[claimed.pipe as usize].load(Relaxed), "it is closed");
                    shared.0.answered();
                    Some(claimed.pipe)
                })
            };
            let first_over = shared.0.withdraw();
            if first_over {
                shared.1[0].store(true, Relaxed);
                shared.0.ask(question(1));
            }
            let answered = asked.join().unwrap();
            assert!(first_over || answered == Some(0));
            assert!(shared.0.withdraw(), "nobody is at it any more");
        });
    }
}
