//! The scratch space of one pooled handler instance: what is dear to make, kept for its next message.
//!
//! Made at first use, so that an idle server holds none of it. After each message [`Workshop::tidy`] gives back what
//! grew beyond [`KEEP_CONTEXT`], so that one message at a high level does not cost its memory for good; what is kept
//! is at most 2 × [`KEEP_CONTEXT`] + [`BLOCK`] bytes for each instance.

use bytes::Bytes;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, ErrorCode, ResetDirective, get_error_name};

use super::Settings;
use crate::grpc::performance::{HandlerError, PooledBuffer};

/// Bytes that zstd works on between two checkpoints, the size of its blocks: about 300 µs of work at the default
/// level, about 10 ms at the highest.
pub(super) const BLOCK: usize = 128 << 10;

/// A zstd context above this many bytes is given back. The default level needs about 4 MiB for a payload of 4 MiB.
const KEEP_CONTEXT: usize = 8 << 20;

/// A result above this many bytes takes its buffer along, a smaller one is copied into an allocation of its own size.
const COPY_RESULT: usize = 256 << 10;

/// The scratch space of a handler instance, and the settings that it works under.
pub struct Workshop {
    settings: Settings,
    compressor: Option<CCtx<'static>>,
    decompressor: Option<DCtx<'static>>,
    block: Vec<u8>,
}

impl Workshop {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, compressor: None, decompressor: None, block: Vec::new() }
    }

    /// What the operations may do, and how much.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A zstd context at the start of a frame that will hold `size` bytes, and a block for its output.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn compressor(
        &mut self,
        level: i32,
        size: u64,
    ) -> Result<(&mut CCtx<'static>, &mut [u8]), HandlerError> {
        let context = match &mut self.compressor {
            Some(context) => context,
            vacant => vacant.insert(CCtx::try_create().ok_or_else(no_memory)?),
        };
        // The last message may have left in the middle of its frame.
        context
            .reset(ResetDirective::SessionAndParameters)
            .and_then(|_| context.set_parameter(CParameter::CompressionLevel(level)))
            .and_then(|_| context.set_parameter(CParameter::ChecksumFlag(true)))
            // The tables are sized for the payload, not for the level's worst case, and the frame says its size.
            .and_then(|_| context.set_pledged_src_size(Some(size)))
            .map_err(|code| HandlerError::internal(format!("zstd: {}", get_error_name(code))))?;
        self.block.resize(BLOCK, 0);
        Ok((context, &mut self.block))
    }

    /// A zstd context at the start of a frame, and a block for its output.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn decompressor(&mut self) -> Result<(&mut DCtx<'static>, &mut [u8]), HandlerError> {
        let context = match &mut self.decompressor {
            Some(context) => context,
            vacant => vacant.insert(DCtx::try_create().ok_or_else(no_memory)?),
        };
        // The last message may have left in the middle of its frame.
        context
            .reset(ResetDirective::SessionOnly)
            .map_err(|code| HandlerError::internal(format!("zstd: {}", get_error_name(code))))?;
        self.block.resize(BLOCK, 0);
        Ok((context, &mut self.block))
    }

    /// Gives back what the last message made large.
    pub(super) fn tidy(&mut self) {
        self.compressor.take_if(|context| context.sizeof() > KEEP_CONTEXT);
        self.decompressor.take_if(|context| context.sizeof() > KEEP_CONTEXT);
    }
}

#[cfg(test)]
impl Workshop {
    pub(super) fn kept_bytes(&self) -> usize {
        self.compressor.as_ref().map_or(0, CCtx::sizeof)
            + self.decompressor.as_ref().map_or(0, DCtx::sizeof)
            + self.block.capacity()
    }
}

fn no_memory() -> HandlerError {
    HandlerError::internal("zstd: no memory for a context")
}

/// What zstd says about an error.
pub(super) fn reason(code: ErrorCode) -> String {
    get_error_name(code).to_lowercase()
}

/// A finished result. Most are small, and leave the pool's buffer to the next message.
pub(super) fn result(buffer: PooledBuffer) -> Bytes {
    if buffer.len() > COPY_RESULT { Bytes::from(buffer.into_vec()) } else { Bytes::copy_from_slice(&buffer) }
}
