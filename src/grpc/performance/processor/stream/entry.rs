//! What the task of a stream knows of its messages.

use std::time::Instant;

use super::super::{
    MessageHandler,
    slot::{Input, Outcome},
};
use crate::grpc::performance::{
    cache::CacheKey,
    monitor::Class,
    worker_pool::{Charge, Priority, Waiting},
};

/// What is known of a message once it was looked at.
#[derive(Clone, Copy)]
pub(in super::super) struct Arrival {
    pub(in super::super) sequence: u64,
    pub(in super::super) class: Class,
    pub(in super::super) priority: Priority,
    pub(in super::super) weight: usize,
    pub(in super::super) key: Option<CacheKey>,
    pub(in super::super) accepted: Instant,
    pub(in super::super) deadline: Option<Instant>,
    /// Its handler vouches for it: the task may run it.
    pub(in super::super) vouched: bool,
}

impl Arrival {
    /// What a worker needs of it.
    pub(in super::super) fn input<H: MessageHandler>(
        &self,
        request: H::Request,
        charge: Option<Charge>,
    ) -> Input<H> {
        let Self { sequence, class, priority, accepted, deadline, vouched, .. } = *self;
        Input { request, sequence, class, priority, accepted, deadline, vouched, charge, lead: None }
    }
}

/// What the task knows of a message in flight; the rest is in its [`Slot`](super::super::slot::Slot).
pub(in super::super) struct Entry<H: MessageHandler, T> {
    pub(in super::super) arrival: Arrival,
    /// Taken with the answer: `None` when the message was answered, and when the slot is free.
    pub(in super::super) tag: Option<T>,
    /// Nanoseconds that the account of the stream was charged for it.
    pub(in super::super) charged: u64,
    /// Set once the answer is known, until it is given out.
    pub(in super::super) outcome: Option<Outcome<H>>,
    /// Nobody else is at the slot.
    pub(in super::super) returned: bool,
}

impl<H: MessageHandler, T> Entry<H, T> {
    /// What a slot holds that has not been used yet.
    pub(in super::super) fn vacant(now: Instant) -> Self {
        let arrival = Arrival {
            sequence: 0,
            class: Class::DEFAULT,
            priority: Priority::Normal,
            weight: 0,
            key: None,
            accepted: now,
            deadline: None,
            vouched: false,
        };
        Self { arrival, tag: None, charged: 0, outcome: None, returned: true }
    }

    /// A message that lacks an answer.
    pub(in super::super) fn of(arrival: Arrival, tag: T) -> Self {
        Self { arrival, tag: Some(tag), charged: 0, outcome: None, returned: false }
    }

    /// The message still lacks an answer.
    pub(in super::super) fn is_open(&self) -> bool {
        self.tag.is_some() && self.outcome.is_none()
    }

    /// Says whether the message with this number, in this slot, still lacks an answer.
    pub(in super::super) fn open_among(entries: &[Self]) -> impl Fn(u32, u64) -> bool {
        |slot, sequence| {
            let entry = &entries[slot as usize];
            entry.arrival.sequence == sequence && entry.is_open()
        }
    }
}

/// A message that waits for room in the lanes.
pub(in super::super) struct Held {
    pub(in super::super) slot: u32,
    pub(in super::super) waiting: Waiting,
    pub(in super::super) bytes: usize,
    pub(in super::super) then: AfterHold,
}

/// What a held message does when it has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum AfterHold {
    /// Look whether an equal message is in work; else go to a lane.
    Admission,
    /// Go to a lane: its turn to compute has come.
    Turn,
}
