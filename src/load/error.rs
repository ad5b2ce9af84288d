//! Why a run of load did not happen.

/// Why a run could not be made. Once messages flow, what goes wrong is a figure of the report, not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// An option that cannot work.
    #[error("{name} = {value}: {expected}")]
    Option {
        /// The field of [`LoadOptions`](super::LoadOptions), or of a message of its mix.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The server's address is not one.
    #[error("server = {server}: not an address like http://127.0.0.1:50051")]
    Address {
        /// What was given.
        server: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// No connection to the server.
    #[error("cannot connect to {server}")]
    Connect {
        /// Where to.
        server: String,
        /// What happened.
        source: tonic::transport::Error,
    },
    /// The operating system has no threads for the pacer or the traffic.
    #[error("cannot start the threads of the load generator")]
    Thread(#[source] std::io::Error),
}
