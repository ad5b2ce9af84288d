//! Slots and what goes into them, for tests and models of what works on slots.

use super::*;
use crate::grpc::performance::{error::HandlerError, processor::JobScope};

/// A handler, so that there are slots; it has nothing to do.
pub(in crate::grpc::performance::processor) struct Idle;

impl MessageHandler for Idle {
    type Request = ();
    type Response = ();

    fn handle(&mut self, (): (), _: &mut JobScope<'_>) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// An outcome to leave in a slot.
#[cfg(any(millstream_loom, millstream_shuttle))]
pub(in crate::grpc::performance::processor) fn outcome() -> Outcome<Idle> {
    Outcome { result: Ok(()), cache_hit: false, timing: None, charge: None }
}

/// The first slots of a stream.
#[cfg(any(millstream_loom, millstream_shuttle))]
pub(in crate::grpc::performance::processor) fn arena(slots: u32) -> Arena<Idle> {
    let arena = Arena::new(slots as usize);
    (0..slots).for_each(|slot| arena.grow_to(slot));
    arena
}
