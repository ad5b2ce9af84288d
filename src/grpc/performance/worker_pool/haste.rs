//! Word that something short waits while nobody is free for it: for the supervisor, and for jobs at their checkpoints.
//!
//! Whoever queued a short message, and then finds nobody free, *announces* it. A worker that runs out of work *withdraws*
//! the word: then nothing short waits. In between it is a hint. The message itself is in its lane, where every worker
//! looks before it sleeps; without the hint it would only have to wait until one is done.
//!
//! **A job at its checkpoint** that is long enough for that takes the message itself (`interlude`). It withdraws the word
//! before it looks into the lanes, as a worker does, and announces anew when it leaves something there.
//!
//! **The supervisor** looks for overruns only while it is rung for: an idle pool costs it no wakes. It stops when the word
//! was withdrawn. Four SeqCst steps see to it that no announcement falls into a gap: an announcer sets `waiting` and then
//! reads `watched`; the supervisor clears `watched` and then reads `waiting`, and goes on when it is set.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crossbeam::{
    channel::{self, Receiver, Sender},
    utils::CachePadded,
};

use crate::platform::atomic::AtomicBool;

pub(super) struct Haste {
    waiting: CachePadded<AtomicBool>,
    watched: AtomicBool,
    bell: Sender<()>,
}

impl Haste {
    /// The word, and the supervisor's bell.
    pub(super) fn new() -> (Self, Receiver<()>) {
        let (bell, rung) = channel::bounded(1);
        let waiting = CachePadded::new(AtomicBool::new(false));
        (Self { waiting, watched: AtomicBool::new(false), bell }, rung)
    }

    /// Something short waits, and nobody is free. Two loads when that is known.
    pub(super) fn announce(&self) {
        if !self.waiting.load(SeqCst) {
            self.waiting.store(true, SeqCst);
        }
        if !self.watched.load(SeqCst) && !self.watched.swap(true, SeqCst) {
            // Full when it was rung before: then the supervisor has yet to come for that. Or it is gone, with the pool.
            let _ = self.bell.try_send(());
        }
    }

    /// Nothing short waits any more.
    pub(super) fn withdraw(&self) {
        if self.waiting.load(SeqCst) {
            self.waiting.store(false, SeqCst);
        }
    }

    /// The same as [`is_announced`](Self::is_announced), for who looks again and again. Relaxed: a hint.
    #[inline]
    pub(super) fn is_hinted(&self) -> bool {
        self.waiting.load(Relaxed)
    }

    pub(super) fn is_announced(&self) -> bool {
        self.waiting.load(SeqCst)
    }

    /// The supervisor wants to stop looking; false when it has to go on.
    pub(super) fn stop_watching(&self) -> bool {
        self.watched.store(false, SeqCst);
        if !self.waiting.load(SeqCst) {
            return true;
        }
        self.watched.store(true, SeqCst);
        false
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests {
    use loom::thread;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_announces_is_watched_or_rings() {
        loom::model(|| {
            let (haste, bell) = Haste::new();
            haste.announce();
            assert!(bell.try_recv().is_ok());
            haste.withdraw();
            let haste = Arc::new(haste);
            let announcer = {
                let haste = Arc::clone(&haste);
                thread::spawn(move || haste.announce())
            };
            let stopped = haste.stop_watching();
            announcer.join().unwrap();
            assert!(!stopped || bell.try_recv().is_ok());
        });
    }
}
