//! The way back of a stream's slots, and who wakes its task.
//!
//! Workers and flights *return* slots; the task is woken once for many. Returned slots pile up on a stack that the task
//! empties at a stroke, so whoever finds it empty is the one who wakes. In request order nobody wakes the task for an
//! answer that cannot leave yet: `awaited` names the slot that the next answer comes from.
//!
//! **No wake is lost.** The task [takes](Completions::take) what is there. Before it waits, it says for
//! [what](Completions::wait_for), having registered its waker, and looks once more. Who returns a slot pushes it, and then
//! reads `awaited`. All of it is SeqCst: either the task's last look finds the slot, or the reading finds what the task
//! waits for, and wakes it. A task that finds something to do registers nothing.
//!
//! A task that looks out for a message that is near [ignores](Completions::ignore) what comes meanwhile, and is woken for
//! none of it; it says what it waits for, and looks once more, like any other before it sleeps.
//!
//! **An alarm** is for what cannot be returned, since somebody else is still at it; it wakes the task always.

use std::{sync::atomic::Ordering::SeqCst, task::Waker};

use super::{
    MessageHandler,
    slot::{Arena, Returned},
};
use crate::platform::{
    atomic::{AtomicBool, AtomicU32},
    contain::wake_registered,
    stage,
    sync::AtomicWaker,
};

/// What the task waits for: any slot.
pub(super) const ANY: u32 = u32::MAX;
/// What the task waits for: nothing that comes back.
pub(super) const NOTHING: u32 = u32::MAX - 1;

pub(super) struct Completions {
    returned: Returned,
    awaited: AtomicU32,
    alarm: AtomicBool,
    waker: AtomicWaker,
}

impl Completions {
    pub(super) fn new() -> Self {
        Self {
            returned: Returned::new(),
            awaited: AtomicU32::new(NOTHING),
            alarm: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Brings a slot back, and wakes the task if it waits for that.
    pub(super) fn bring<H: MessageHandler>(&self, arena: &Arena<H>, slot: u32) {
        let first = self.returned.push(arena, slot);
        stage::point();
        let awaited = self.awaited.load(SeqCst);
        if awaited == slot || first && awaited == ANY {
            wake_registered(&self.waker);
        }
    }

    /// Brings a slot back, and wakes the task whatever it waits for.
    pub(super) fn bring_urgently<H: MessageHandler>(&self, arena: &Arena<H>, slot: u32) {
        self.returned.push(arena, slot);
        stage::point();
        wake_registered(&self.waker);
    }

    /// Makes the task look at all of its slots.
    pub(super) fn raise_alarm(&self) {
        // A swap, where a store would do: loom would leave open which of a store and a swap comes last.
        self.alarm.swap(true, SeqCst);
        stage::point();
        wake_registered(&self.waker);
    }

    /// All that came back, in that order; true when there was an alarm. By the task.
    pub(super) fn take<H: MessageHandler>(&self, arena: &Arena<H>, into: &mut Vec<u32>) -> bool {
        self.returned.take(arena, into);
        stage::point();
        self.alarm.swap(false, SeqCst)
    }

    /// The task looks for itself for a while: nobody is to wake it. It says what it waits for before it sleeps.
    pub(super) fn ignore(&self) {
        self.awaited.store(NOTHING, SeqCst);
    }

    /// Whether there is something to take.
    pub(super) fn is_ready(&self) -> bool {
        !self.returned.is_empty() || self.alarm.load(SeqCst)
    }

    /// The task is about to wait, and to be woken by this; false when there is something to take already.
    #[must_use]
    pub(super) fn wait_for(&self, awaited: u32, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.awaited.store(awaited, SeqCst);
        stage::point();
        !self.is_ready()
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
#[cfg(all(test, millstream_shuttle))]
mod shuttle_tests;
