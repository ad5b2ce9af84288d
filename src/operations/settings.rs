//! The bounds that whoever runs the server sets.

use serde::{Deserialize, Serialize};

use crate::grpc::performance::config::{ConfigError, count};

/// Limits of the operations, and what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether a client may ask for a panic (`echo` with `panic=true`): for tests of the server, never in service.
    #[serde(skip)]
    pub allow_fault_injection: bool,
    /// Bytes that `decompress` may make of one payload.
    pub max_output_bytes: usize,
    /// Pixels (width times height) that a picture may have for `thumbnail` to decode it. Decoding takes up to about
    /// 12 bytes for each.
    pub max_pixels: u64,
}

impl Default for Settings {
    /// No faults; 64 MiB; 40 megapixels, which a frame of 8K video (33) and most cameras stay below.
    fn default() -> Self {
        Self { allow_fault_injection: false, max_output_bytes: 64 << 20, max_pixels: 40_000_000 }
    }
}

impl Settings {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first that cannot work, with its value and the range that would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        count("operations.max_output_bytes", self.max_output_bytes, 1024..=1 << 32)?;
        count("operations.max_pixels", self.max_pixels, 1..=1 << 32)
    }
}
