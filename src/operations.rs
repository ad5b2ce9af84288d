//! The operations that the server ships with: each is one file, and one [`Operation`].
//!
//! The way of a message through here:
//! 1. [`OperationsValidator`] looks at it on the thread that reads the stream: is there such an operation, does it
//!    take such parameters, are their values in range, is the payload obviously wrong? Nothing of it takes longer
//!    than a look at the first bytes.
//! 2. [`OperationsHandler`] gives the class, the weight and the cache key, on the same thread.
//! 3. A pooled instance of [`OperationsHandler`] runs the operation on a worker thread, or in place where
//!    [`Operation::may_run_in_place`] vouches for that, with the scratch space of its [`Workshop`].
//!
//! Operations are stateless and live as statics; settings and scratch space belong to the instance. What an operation
//! promises:
//! - **Bounded**: no payload makes it allocate more than its stated multiple of the payload and of the limits in
//!   [`Settings`], however large a result the payload claims.
//! - **Withdrawn at once**: it calls [`JobScope::checkpoint`] between pieces of work, and returns at the first that
//!   fails. Where a library decodes or encodes in one call, the piece is that call.
//! - **Whole**: it answers with a complete result or an error that says what is wrong, which value, and what would be
//!   right. It does not rely on the validator having run: the values are parsed by the same code again.

mod compress;
mod decompress;
mod digest;
mod echo;
mod handler;
mod parameters;
mod settings;
#[cfg(test)]
mod testing;
mod thumbnail;
mod validate;
mod workshop;

use bytes::Bytes;

pub use handler::{OperationsHandler, OperationsValidator};
pub use parameters::Parameters;
pub use settings::Settings;
pub use workshop::Workshop;

use crate::grpc::performance::{FailureKind, HandlerError, JobScope};
pub use crate::grpc::service::{OperationInfo, ParameterInfo};

/// Something that the server can do to a payload.
pub trait Operation: Send + Sync {
    /// What a request calls it.
    fn name(&self) -> &'static str;

    /// What it does, in a sentence.
    fn description(&self) -> &'static str;

    /// The parameters that it takes, in alphabetical order.
    fn parameters(&self) -> &'static [ParameterInfo];

    /// Whether equal messages have equal answers, and an answer is worth keeping.
    fn cacheable(&self) -> bool {
        true
    }

    /// Looks at a message before it is queued. Cheap: the values of the parameters, the first bytes of the payload.
    ///
    /// # Errors
    /// Why [`run`](Self::run) is bound to fail.
    fn check(
        &self,
        payload: &Bytes,
        parameters: &Parameters<'_>,
        settings: &Settings,
    ) -> Result<(), HandlerError>;

    /// Does the work.
    ///
    /// # Errors
    /// What is wrong with the payload or a parameter, which limit was hit, or why the message was withdrawn.
    fn run(
        &self,
        payload: Bytes,
        parameters: &Parameters<'_>,
        workshop: &mut Workshop,
        scope: &mut JobScope<'_>,
    ) -> Result<Bytes, HandlerError>;

    /// Whether it may run on the thread that reads the stream: it is then over within some microseconds, and cannot block
    /// (see [`MessageHandler::may_run_in_place`](crate::MessageHandler::may_run_in_place)).
    fn may_run_in_place(&self, _payload: &Bytes, _parameters: &Parameters<'_>) -> bool {
        false
    }

    /// Tells apart messages whose service times differ, within the class of the operation: by default the magnitude
    /// of the payload. At most 2^16 values.
    fn refinement(&self, payload: &Bytes, _parameters: &Parameters<'_>) -> u32 {
        magnitude(payload.len() as u64)
    }
}

/// All of them, in alphabetical order.
const ALL: [&dyn Operation; 6] = [
    &compress::Compress,
    &decompress::Decompress,
    &digest::Digest,
    &echo::Echo,
    &thumbnail::Thumbnail,
    &validate::Validate,
];

/// The operation of that name.
fn find(name: &str) -> Option<&'static dyn Operation> {
    ALL.into_iter().find(|operation| operation.name() == name)
}

/// The operation of that name, or the answer to a client that asked for one that is not there.
fn require(name: &str) -> Result<&'static dyn Operation, HandlerError> {
    find(name).ok_or_else(|| {
        let known = ALL.map(Operation::name);
        let nearest = parameters::nearest(name, &known);
        HandlerError::new(
            FailureKind::Unimplemented,
            format!("there is no operation `{name}`{nearest}; there are {}", known.join(", ")),
        )
    })
}

/// The power of two above a quantity: 0 for 0, 1 for 1, 2 for 2 and 3, 3 for 4 to 7, and so on, up to 64.
fn magnitude(quantity: u64) -> u32 {
    u64::BITS - quantity.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_and_their_parameters_are_in_alphabetical_order_and_described() {
        assert!(ALL.map(Operation::name).is_sorted());
        for operation in ALL {
            assert!(operation.parameters().is_sorted_by_key(|parameter| parameter.name));
            assert!(operation.description().ends_with('.'), "{}", operation.name());
            for parameter in operation.parameters() {
                assert!(!parameter.description.is_empty(), "{} {}", operation.name(), parameter.name);
            }
        }
    }

    #[test]
    fn an_unknown_operation_is_unimplemented_and_the_known_and_the_nearest_are_named() {
        let error = require("digset").err().unwrap();
        assert_eq!(error.kind(), FailureKind::Unimplemented);
        assert_eq!(
            error.message(),
            "there is no operation `digset`, did you mean `digest`?; there are compress, decompress, digest, echo, \
             thumbnail, validate"
        );
        assert!(!require("make-coffee").err().unwrap().message().contains("did you mean"));
    }

    #[test]
    fn the_magnitude_is_the_power_of_two_above() {
        assert_eq!([0, 1, 2, 3, 4, 4096, u64::MAX].map(magnitude), [0, 1, 2, 2, 3, 13, 64]);
    }
}
