//! Somebody who waits for room.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Poll},
};

use super::{NoRoom, Room};
use crate::platform::{atomic::AtomicU8, contain::wake_registered, sync::AtomicWaker};

const WAITING: u8 = 0;
const GRANTED: u8 = 1;
const CLOSED: u8 = 2;
const LEFT: u8 = 3;

/// The side that the settling thread sees. `WAITING` turns into exactly one of the others, once.
pub(super) struct Waiter {
    state: AtomicU8,
    bytes: usize,
    waker: AtomicWaker,
}

impl Waiter {
    pub(super) fn new(bytes: usize) -> Self {
        Self { state: AtomicU8::new(WAITING), bytes, waker: AtomicWaker::new() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_left(&self) -> bool {
        self.state.load(SeqCst) == LEFT
    }

    /// Tells the waiter that room was taken for it; false when it has left.
    pub(super) fn grant(&self) -> bool {
        self.conclude(GRANTED)
    }

    /// Tells the waiter that there will be no room.
    pub(super) fn close(&self) {
        self.conclude(CLOSED);
    }

    fn conclude(&self, state: u8) -> bool {
        let waited = self.state.compare_exchange(WAITING, state, SeqCst, SeqCst).is_ok();
        if waited {
            wake_registered(&self.waker);
        }
        waited
    }
}

/// Waits for room. Dropped early it leaves the queue, or gives back what it was just granted.
#[must_use]
pub(crate) struct Waiting {
    room: Arc<Room>,
    waiter: Option<Arc<Waiter>>,
}

impl Waiting {
    pub(super) fn new(room: Arc<Room>, waiter: Arc<Waiter>) -> Self {
        Self { room, waiter: Some(waiter) }
    }
}

impl Future for Waiting {
    type Output = Result<(), NoRoom>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waiter = self.waiter.as_ref().expect("not polled after it was ready");
        waiter.waker.register(cx.waker());
        let outcome = match waiter.state.load(SeqCst) {
            WAITING => return Poll::Pending,
            GRANTED => self.room.claim(waiter.bytes),
            _ => Err(NoRoom::Closed),
        };
        self.waiter = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        match waiter.state.compare_exchange(WAITING, LEFT, SeqCst, SeqCst) {
            // Whoever stands behind it may be served now.
            Ok(_) => self.room.settle(),
            Err(GRANTED) => self.room.decline(waiter.bytes),
            Err(_) => {}
        }
    }
}
