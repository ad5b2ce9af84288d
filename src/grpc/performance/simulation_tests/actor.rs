//! The handler of the simulation: each message says what happens to it, in virtual time.

use std::{
    panic::resume_unwind,
    sync::{Arc, atomic::Ordering::SeqCst},
    thread,
};

use bytes::Bytes;

use super::{ledger::Ledger, plan::Act};
use crate::{
    grpc::performance::{
        cache::CacheKey,
        error::{HandlerError, Interruption},
        monitor::Class,
        processor::{JobScope, MessageHandler},
        worker_pool::{JobContext, Priority},
    },
    platform::stage::director::role,
};

/// Answers carry what they weigh in their upper half.
const WEIGHT_BITS: u32 = 32;

pub(super) struct Request {
    pub(super) number: usize,
    pub(super) act: Act,
    pub(super) key: Option<u64>,
    pub(super) weight: usize,
    pub(super) priority: Priority,
    pub(super) ledger: Arc<Ledger>,
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.act == Act::Bomb && !thread::panicking() {
            panic_silently();
        }
    }
}

/// A panic that goes past the hook, which would write it to stderr thousands of times.
fn panic_silently() -> ! {
    resume_unwind(Box::new("as the script says"))
}

/// What the work of a message does, wherever it runs.
pub(super) fn perform(
    act: Act,
    ledger: &Ledger,
    mut checkpoint: impl FnMut() -> Result<(), Interruption>,
) -> Result<(), HandlerError> {
    let role = role().expect("workers are on the stage");
    match act {
        Act::Work { steps, step } => {
            for _ in 0..steps {
                role.sleep(step);
                checkpoint()?;
            }
        }
        Act::Deaf(time) | Act::Heavy(time, _) => role.sleep(time),
        Act::Fail | Act::Bomb => return Err(HandlerError::invalid_argument("as the script says")),
        Act::Panic(time) => {
            role.sleep(time);
            panic_silently();
        }
        Act::Stuck => {
            let released = Arc::clone(&ledger.released);
            role.until(move || released.load(SeqCst));
        }
    }
    Ok(())
}

/// A closure's work.
pub(super) fn perform_closure(number: usize, act: Act, ledger: &Ledger, context: &mut JobContext<'_>) -> u64 {
    let _running = ledger.begun(number);
    // Whoever has cancelled it does not look at its outcome.
    let _ = perform(act, ledger, || {
        let outcome = context.checkpoint();
        ledger.lends(number, context.lent());
        outcome
    });
    Ledger::expected(number, None)
}

#[derive(Default)]
pub(super) struct Actor;

impl MessageHandler for Actor {
    type Request = Request;
    type Response = u64;

    fn handle(&mut self, request: Request, scope: &mut JobScope<'_>) -> Result<u64, HandlerError> {
        let _running = request.ledger.begun(request.number);
        let _scratch = scope.buffer();
        perform(request.act, &request.ledger, || {
            let outcome = scope.checkpoint();
            request.ledger.lends(request.number, scope.lent());
            outcome
        })?;
        let weight = match request.act {
            Act::Heavy(_, weight) => weight as u64,
            _ => 0,
        };
        Ok(weight << WEIGHT_BITS | Ledger::expected(request.number, request.key))
    }

    fn class(request: &Request) -> Class {
        request.act.class()
    }

    fn may_run_in_place(request: &Request) -> bool {
        request.act.is_brief()
    }

    fn priority(request: &Request) -> Priority {
        request.priority
    }

    fn is_undivided(request: &Request) -> bool {
        Ledger::is_undivided(request.number)
    }

    fn weight(request: &Request) -> usize {
        request.weight
    }

    fn response_weight(response: &u64) -> usize {
        (response >> WEIGHT_BITS) as usize
    }

    fn cache_key(request: &Request) -> Option<CacheKey> {
        Some(key(request.key?))
    }

    fn to_cache(response: &u64) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&response.to_le_bytes()))
    }

    fn from_cache(stored: Bytes) -> Option<u64> {
        Some(u64::from_le_bytes(stored.as_ref().try_into().ok()?))
    }
}

pub(super) fn key(number: u64) -> CacheKey {
    CacheKey::of(&[&number.to_le_bytes()])
}

/// What an answer says, without what it weighs.
pub(super) fn said(response: u64) -> u64 {
    response & ((1 << WEIGHT_BITS) - 1)
}
