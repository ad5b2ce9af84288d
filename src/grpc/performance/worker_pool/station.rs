//! Where one thread of the pool stands, as the supervisor sees it: its [`Post`], and what the system calls it.
//!
//! **Sinking.** A worker of the front whose message turns out long is not stopped; its thread goes on with the message at
//! the lowest scheduling class, and another worker takes its seat. The step of the post to SUNK decides that (see
//! [`post`](super::post)): before it the thread is a worker, after it the thread ends when the message is done. The
//! scheduling class is changed from outside, by the number that the system knows the thread by, and such numbers are
//! given anew when a thread has ended: so a sunk thread stays until it is told that this has been done.

use std::{
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
    thread,
};

use super::post::Post;
use crate::platform::{
    atomic::{AtomicBool, AtomicU32},
    scheduling::{self, ThreadId},
};

pub(super) struct Station {
    pub(super) post: Post,
    /// 0: not told yet, or there is no such number.
    thread: AtomicU32,
    settled: AtomicBool,
}

impl Station {
    pub(super) fn new(post: Post) -> Self {
        Self { post, thread: AtomicU32::new(0), settled: AtomicBool::new(false) }
    }

    /// The calling thread is the one that stands here.
    pub(super) fn enter(&self) {
        let id = scheduling::current_thread().map_or(0, |ThreadId(id)| id);
        // Relaxed, here and in `thread`: a number that carries nothing else.
        self.thread.store(id, Relaxed);
    }

    /// What the system calls the thread; `None` where it has no such names.
    pub(super) fn thread(&self) -> Option<ThreadId> {
        match self.thread.load(Relaxed) {
            0 => None,
            id => Some(ThreadId(id)),
        }
    }

    /// The supervisor will not name the thread again. Release pairs with `await_settled`.
    pub(super) fn settle(&self) {
        self.settled.store(true, Release);
    }

    /// The thread was sunk, and is done: it may end when nobody will name it any more. That is a system call of the
    /// supervisor away, and nobody waits for this thread.
    pub(super) fn await_settled(&self) {
        while !self.settled.load(Acquire) {
            thread::yield_now();
        }
    }
}
