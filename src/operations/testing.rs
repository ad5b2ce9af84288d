//! What the tests of the operations share: running one outside a pool.

use std::{collections::HashMap, fmt::Write as _};

use bytes::Bytes;

use super::{Operation, Parameters, Settings, Workshop};
use crate::grpc::performance::{
    BufferPool, FailureKind, HandlerError, Interruption, JobContext, JobScope, OptimizationConfig,
    worker_pool::JobState,
};

/// The parameters of a message.
pub(super) fn parameters(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// One worker's place: a workshop that is used again and again, and a pool of buffers.
pub(super) struct Bench {
    pub(super) workshop: Workshop,
    buffers: BufferPool,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(super) fn with(settings: Settings) -> Self {
        Self { workshop: Workshop::new(settings), buffers: BufferPool::new(&OptimizationConfig::default()) }
    }

    pub(super) fn check(
        &self,
        operation: &dyn Operation,
        payload: impl Into<Bytes>,
        given: &[(&str, &str)],
    ) -> Result<(), HandlerError> {
        let given = parameters(given);
        let parameters = Parameters::new(operation.parameters(), &given);
        operation.check(&payload.into(), &parameters, self.workshop.settings())
    }

    pub(super) fn run(
        &mut self,
        operation: &dyn Operation,
        payload: impl Into<Bytes>,
        given: &[(&str, &str)],
    ) -> Result<Bytes, HandlerError> {
        self.run_in(JobContext::detached(), operation, payload.into(), given)
    }

    pub(super) fn run_in(
        &mut self,
        context: JobContext<'_>,
        operation: &dyn Operation,
        payload: Bytes,
        given: &[(&str, &str)],
    ) -> Result<Bytes, HandlerError> {
        let given = parameters(given);
        let parameters = Parameters::new(operation.parameters(), &given);
        let mut scope = JobScope::new(context, &self.buffers);
        operation.run(payload, &parameters, &mut self.workshop, &mut scope)
    }

    /// A message that is right, and was cancelled while it ran, stops at its first checkpoint; the workshop is as good
    /// as before.
    pub(super) fn assert_stops_when_withdrawn(
        &mut self,
        operation: &dyn Operation,
        payload: impl Into<Bytes>,
        given: &[(&str, &str)],
    ) {
        let payload = payload.into();
        let expected = self.run(operation, payload.clone(), given).unwrap();
        let state = JobState::queued();
        state.begin().unwrap();
        state.withdraw(Interruption::Cancelled).unwrap();
        let error =
            self.run_in(JobContext::new(&state, None), operation, payload.clone(), given).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Cancelled, "{error}");
        assert_eq!(self.run(operation, payload, given).unwrap(), expected);
    }
}
