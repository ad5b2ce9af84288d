//! What the handler, and the validator, say of a message before anything is done about it.

use std::time::Instant;

use super::super::{Message, MessageHandler, engine::Engine};
use crate::{
    grpc::performance::{cache::CacheKey, error::OptimizationError, monitor::Class, worker_pool::Priority},
    platform::contain::contain,
};

/// What the handler says.
pub(super) struct Inspection {
    pub(super) class: Class,
    pub(super) priority: Priority,
    pub(super) weight: usize,
    pub(super) deadline: Option<Instant>,
    pub(super) key: Option<CacheKey>,
    pub(super) vouched: bool,
}

/// Asks the handler, and the validator. Both are the user's code: a panic is the message's, and nobody else's.
pub(super) fn inspect<H: MessageHandler, T>(
    engine: &Engine<H>,
    message: &mut Message<H::Request, T>,
    now: Instant,
) -> (Inspection, Result<(), OptimizationError>) {
    let request = &message.request;
    let asked = contain(|| {
        let timeout = [H::timeout(request), message.timeout].into_iter().flatten().min();
        let inspection = Inspection {
            class: H::class(request),
            priority: H::priority(request),
            weight: H::weight(request),
            deadline: timeout.and_then(|timeout| now.checked_add(timeout)),
            key: message.cached.then(|| H::cache_key(request)).flatten(),
            vouched: H::may_run_in_place(request),
        };
        let verdict = match message.rejected.take() {
            Some(why) => Err(why),
            None => engine.resources.validator().validate(request),
        };
        (inspection, verdict)
    });
    match asked {
        Ok((inspection, verdict)) => (inspection, verdict.map_err(OptimizationError::from)),
        Err(text) => {
            let inspection = Inspection {
                class: Class::DEFAULT,
                priority: Priority::Normal,
                weight: 0,
                deadline: None,
                key: None,
                vouched: false,
            };
            (inspection, Err(OptimizationError::Panicked(text)))
        }
    }
}
