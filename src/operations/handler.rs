//! The operations as the data plane sees them: one [`MessageHandler`] and one [`Validator`] for all.

use std::time::Duration;

use bytes::Bytes;

use super::{ALL, Operation, OperationInfo, Parameters, Settings, Workshop, find, require};
use crate::grpc::{
    performance::{
        CacheKey, Class, FailureKind, HandlerError, JobScope, MessageHandler, Priority, Validator,
    },
    service::{DataPlaneHandler, DataPlaneRequest},
};

/// Runs any operation; one pooled instance, with its scratch space.
pub struct OperationsHandler {
    workshop: Workshop,
}

impl OperationsHandler {
    /// An instance that works under these settings. Cheap: its scratch space comes with its first message.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { workshop: Workshop::new(settings) }
    }
}

/// The operation that a message names, and its parameters.
fn lookup(request: &DataPlaneRequest) -> Option<(&'static dyn Operation, Parameters<'_>)> {
    let operation = find(&request.operation)?;
    Some((operation, Parameters::new(operation.parameters(), &request.parameters)))
}

/// How long an equal message is told what was wrong with this one. Short beside `cache_ttl`: whoever sends it again has
/// most likely mended something, and that is another key.
const FAILURES_KEPT: Duration = Duration::from_secs(60);

impl MessageHandler for OperationsHandler {
    type Request = DataPlaneRequest;
    type Response = Bytes;

    fn handle(&mut self, request: DataPlaneRequest, scope: &mut JobScope<'_>) -> Result<Bytes, HandlerError> {
        let operation = require(&request.operation)?;
        let parameters = Parameters::new(operation.parameters(), &request.parameters);
        operation.run(request.payload, &parameters, &mut self.workshop, scope)
    }

    /// The operation, refined by what makes its service time differ.
    fn class(request: &DataPlaneRequest) -> Class {
        lookup(request).map_or(Class::DEFAULT, |(operation, parameters)| {
            Class::new(operation.name()).refined(operation.refinement(&request.payload, &parameters))
        })
    }

    fn may_run_in_place(request: &DataPlaneRequest) -> bool {
        lookup(request)
            .is_some_and(|(operation, parameters)| operation.may_run_in_place(&request.payload, &parameters))
    }

    fn priority(request: &DataPlaneRequest) -> Priority {
        request.priority
    }

    fn timeout(request: &DataPlaneRequest) -> Option<Duration> {
        request.timeout
    }

    fn weight(request: &DataPlaneRequest) -> usize {
        let parameters: usize = request.parameters.iter().map(|(name, value)| name.len() + value.len()).sum();
        size_of::<DataPlaneRequest>() + request.operation.len() + parameters + request.payload.len()
    }

    fn response_weight(response: &Bytes) -> usize {
        response.len()
    }

    /// Over the operation, the values in force of all the parameters that it takes, in the order of their names, and
    /// the payload: a default that is spelled out makes no difference.
    fn cache_key(request: &DataPlaneRequest) -> Option<CacheKey> {
        let (operation, parameters) = lookup(request)?;
        if !operation.cacheable() {
            return None;
        }
        let mut key = CacheKey::builder("millstream.operations");
        key.part(operation.name().as_bytes());
        for (name, value) in parameters.in_force() {
            key.part(name.as_bytes()).part(value.as_bytes());
        }
        Some(key.part(&request.payload).finish())
    }

    fn to_cache(response: &Bytes) -> Option<Bytes> {
        Some(response.clone())
    }

    fn from_cache(stored: Bytes) -> Option<Bytes> {
        Some(stored)
    }

    /// What is wrong with a payload is as lasting as an answer, and may have taken as long to find.
    fn cache_error(error: &HandlerError) -> Option<Duration> {
        (error.kind() == FailureKind::InvalidArgument).then_some(FAILURES_KEPT)
    }

    fn reset(&mut self) {
        self.workshop.tidy();
    }
}

impl DataPlaneHandler for OperationsHandler {
    fn operations() -> Vec<OperationInfo> {
        let info = |operation: &dyn Operation| OperationInfo {
            name: operation.name(),
            description: operation.description(),
            parameters: operation.parameters().to_vec(),
            cacheable: operation.cacheable(),
        };
        ALL.into_iter().map(info).collect()
    }
}

/// Refuses at admission what no operation could answer.
#[derive(Debug, Clone, Copy)]
pub struct OperationsValidator {
    settings: Settings,
}

impl OperationsValidator {
    /// A validator for handlers that work under the same settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Validator<DataPlaneRequest> for OperationsValidator {
    /// # Errors
    /// `Unimplemented` for an unknown operation; `InvalidArgument` for an unknown parameter; else what
    /// [`Operation::check`] says.
    fn validate(&mut self, request: &DataPlaneRequest) -> Result<(), HandlerError> {
        let operation = require(&request.operation)?;
        let parameters = Parameters::new(operation.parameters(), &request.parameters);
        parameters.check_names()?;
        operation.check(&request.payload, &parameters, &self.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        grpc::performance::{BufferPool, JobContext, OptimizationConfig},
        operations::testing::parameters,
    };

    fn request(operation: &str, given: &[(&str, &str)], payload: &'static str) -> DataPlaneRequest {
        DataPlaneRequest {
            operation: operation.to_owned(),
            payload: Bytes::from_static(payload.as_bytes()),
            parameters: parameters(given),
            ..DataPlaneRequest::default()
        }
    }

    fn key(operation: &str, given: &[(&str, &str)], payload: &'static str) -> Option<CacheKey> {
        OperationsHandler::cache_key(&request(operation, given, payload))
    }

    fn handle(handler: &mut OperationsHandler, request: DataPlaneRequest) -> Result<Bytes, HandlerError> {
        let buffers = BufferPool::new(&OptimizationConfig::default());
        handler.handle(request, &mut JobScope::new(JobContext::detached(), &buffers))
    }

    fn validate(request: &DataPlaneRequest) -> Result<(), HandlerError> {
        OperationsValidator::new(Settings::default()).validate(request)
    }

    #[test]
    fn a_message_goes_to_the_operation_that_it_names() {
        let mut handler = OperationsHandler::new(Settings::default());
        let compressed = handle(&mut handler, request("compress", &[("level", "9")], "grist")).unwrap();
        handler.reset();
        let back = DataPlaneRequest { payload: compressed, ..request("decompress", &[], "") };
        assert_eq!(handle(&mut handler, back).unwrap(), "grist");
        assert_eq!(handle(&mut handler, request("echo", &[], "grist")).unwrap(), "grist");
    }

    #[test]
    fn only_what_is_short_and_cannot_block_may_run_in_place() {
        let long: &'static str = " ".repeat(17 << 10).leak();
        let vouched = |operation, given: &[_], payload| {
            OperationsHandler::may_run_in_place(&request(operation, given, payload))
        };
        assert!(vouched("digest", &[], "x") && vouched("digest", &[("algorithm", "sha256")], "x"));
        assert!(vouched("validate", &[], "[]") && vouched("echo", &[("busy", "0s")], long));
        for (operation, given, payload) in [
            ("digest", [].as_slice(), long),
            ("validate", &[], long),
            ("echo", &[("busy", "1us")], ""),
            ("echo", &[("busy", "soon")], ""),
            // Its report goes to stderr, which may block.
            ("echo", &[("panic", "true")], ""),
            ("compress", &[], "x"),
            ("decompress", &[], "x"),
            ("thumbnail", &[], "x"),
            ("ehco", &[], "x"),
        ] {
            assert!(!vouched(operation, given, payload), "{operation} {given:?}");
        }
    }

    #[test]
    fn an_unknown_operation_is_unimplemented_with_and_without_a_validator() {
        let unknown = request("ehco", &[], "");
        let error = validate(&unknown).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Unimplemented);
        assert!(error.message().contains("did you mean `echo`?"), "{error}");
        let mut handler = OperationsHandler::new(Settings::default());
        assert_eq!(handle(&mut handler, unknown.clone()).unwrap_err().message(), error.message());
        assert_eq!(OperationsHandler::class(&unknown), Class::DEFAULT);
        assert_eq!(OperationsHandler::cache_key(&unknown), None);
    }

    #[test]
    fn the_validator_refuses_names_values_and_payloads() {
        let settings = request("digest", &[("algorithm", "sha256")], "x");
        validate(&settings).unwrap();
        for (wrong, text) in [
            (request("digest", &[("algorythm", "sha256")], ""), "did you mean `algorithm`?"),
            (request("decompress", &[("level", "3")], ""), "this operation takes none"),
            (request("digest", &[("algorithm", "md5")], ""), "\"md5\""),
            (request("decompress", &[], "plain"), "is not a zstd frame"),
            (request("thumbnail", &[], "plain"), "is not a picture"),
        ] {
            let error = validate(&wrong).unwrap_err();
            assert_eq!(error.kind(), FailureKind::InvalidArgument);
            assert!(error.message().contains(text), "{error}");
        }
        let panic = validate(&request("echo", &[("panic", "true")], "")).unwrap_err();
        assert_eq!(panic.kind(), FailureKind::FailedPrecondition);
        let allowed = Settings { allow_fault_injection: true, ..Settings::default() };
        OperationsValidator::new(allowed).validate(&request("echo", &[("panic", "true")], "")).unwrap();
    }

    #[test]
    fn the_cache_key_tells_apart_all_that_the_answer_depends_on() {
        let keys = [
            key("digest", &[], "x"),
            key("digest", &[], "y"),
            key("digest", &[("algorithm", "sha256")], "x"),
            key("compress", &[], "x"),
            key("compress", &[("level", "4")], "x"),
            key("decompress", &[], "x"),
            key("validate", &[], "x"),
            key("thumbnail", &[], "x"),
            key("thumbnail", &[("width", "100")], "x"),
            key("thumbnail", &[("height", "100")], "x"),
            key("thumbnail", &[("format", "webp")], "x"),
        ]
        .map(|key| key.expect("cacheable"));
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "key {at} is one of those before it");
        }
    }

    #[test]
    fn a_default_that_is_spelled_out_makes_no_difference_to_the_key() {
        assert_eq!(key("digest", &[], "x"), key("digest", &[("algorithm", "blake3")], "x"));
        assert_eq!(key("compress", &[], "x"), key("compress", &[("level", "3")], "x"));
        assert_eq!(
            key("thumbnail", &[("width", "64")], "x"),
            key("thumbnail", &[("format", "png"), ("height", "256"), ("width", "64")], "x")
        );
    }

    #[test]
    fn echo_is_never_cached() {
        assert_eq!(key("echo", &[], "x"), None);
    }

    #[test]
    fn what_is_cached_is_the_answer() {
        let answer = Bytes::from_static(b"answer");
        let stored = OperationsHandler::to_cache(&answer).unwrap();
        assert_eq!(OperationsHandler::from_cache(stored).unwrap(), answer);
    }

    #[test]
    fn what_is_wrong_with_a_message_is_remembered_and_other_failures_are_not() {
        let mut handler = OperationsHandler::new(Settings::default());
        let wrong = handle(&mut handler, request("validate", &[], "{\"a\":}")).unwrap_err();
        assert_eq!(OperationsHandler::cache_error(&wrong), Some(FAILURES_KEPT));
        assert_eq!(OperationsHandler::cache_error(&HandlerError::internal("a fault")), None);
    }

    #[test]
    fn class_priority_timeout_and_weight_come_from_the_message() {
        let request = DataPlaneRequest {
            priority: Priority::High,
            timeout: Some(Duration::from_millis(50)),
            ..request("digest", &[("algorithm", "sha256")], "1234")
        };
        assert_eq!(OperationsHandler::class(&request), Class::new("digest").refined(3));
        assert_eq!(OperationsHandler::priority(&request), Priority::High);
        assert_eq!(OperationsHandler::timeout(&request), Some(Duration::from_millis(50)));
        assert_eq!(
            OperationsHandler::weight(&request),
            size_of::<DataPlaneRequest>() + "digest".len() + "algorithmsha256".len() + "1234".len()
        );
    }

    #[test]
    fn what_can_be_done_is_listed_in_alphabetical_order() {
        let operations = OperationsHandler::operations();
        let names: Vec<&str> = operations.iter().map(|operation| operation.name).collect();
        assert_eq!(names, ["compress", "decompress", "digest", "echo", "thumbnail", "validate"]);
        let uncacheable: Vec<&str> = operations
            .iter()
            .filter(|operation| !operation.cacheable)
            .map(|operation| operation.name)
            .collect();
        assert_eq!(uncacheable, ["echo"]);
        let thumbnail: Vec<_> =
            operations[4].parameters.iter().map(|parameter| (parameter.name, parameter.default)).collect();
        assert_eq!(thumbnail, [("format", "png"), ("height", "256"), ("width", "256")]);
    }
}
