//! What the service hands to a handler, and what it asks of one: the wire's words without its types, so that whoever
//! writes operations names neither tonic nor generated code.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tonic::Request;

use crate::grpc::performance::{MessageHandler, Priority, processor::Peer};

/// Who a client has proved to be. Whatever authenticates calls (a layer, an interceptor) leaves it among the extensions
/// of the request; fair shares are then by this, and by the client's address only where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity(pub Arc<str>);

/// Who is to have a fair share.
pub(super) fn peer<T>(request: &Request<T>) -> Option<Peer> {
    match request.extensions().get::<PeerIdentity>() {
        Some(PeerIdentity(identity)) => Some(Peer::named(identity)),
        None => request.remote_addr().map(|address| Peer::at(address.ip())),
    }
}

/// One message, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataPlaneRequest {
    /// The name of an operation; nobody has looked yet whether there is one.
    pub operation: String,
    /// Its input. Shares memory with what came from the network.
    pub payload: Bytes,
    /// Its parameters, unchecked.
    pub parameters: HashMap<String, String>,
    /// Whether it is served before others.
    pub priority: Priority,
    /// How long the answer is of use, counted from the arrival; `None`: as long as the call lives.
    pub timeout: Option<Duration>,
}

/// A handler that the service can serve: it takes decoded messages, answers with bytes, and says what it can do.
pub trait DataPlaneHandler: MessageHandler<Request = DataPlaneRequest, Response = Bytes> {
    /// What `ListOperations` answers, in alphabetical order.
    fn operations() -> Vec<OperationInfo>;
}

/// What a client needs to know to use an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationInfo {
    /// What [`DataPlaneRequest::operation`] names.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub description: &'static str,
    /// The parameters that it takes, in alphabetical order.
    pub parameters: Vec<ParameterInfo>,
    /// Whether its answers may come from the cache.
    pub cacheable: bool,
}

/// One parameter of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterInfo {
    /// The key in [`DataPlaneRequest::parameters`].
    pub name: &'static str,
    /// What it means, with its range.
    pub description: &'static str,
    /// What holds when it is not given; empty: it must be given.
    pub default: &'static str,
}
