//! `decompress`: what zstd frames hold.
//!
//! The output is bounded while it is made: a block at a time, with a checkpoint before each, and the frame is given up
//! with the block that crosses `max_output_bytes`. The size that the frame's header claims is used for one thing
//! only, to refuse early what claims too much; nothing is allocated by it. The window that a header asks for is
//! address space of at most 2^27 bytes (zstd's own limit), of which only what the output fills becomes memory, and it
//! is given back after the message. So memory stays below twice `max_output_bytes`.

use bytes::Bytes;
use zstd::zstd_safe::{InBuffer, OutBuffer, get_frame_content_size, is_error_kind, zstd_sys::ZSTD_ErrorCode};

use super::{
    Operation, ParameterInfo, Parameters, Settings, Workshop,
    workshop::{reason, result},
};
use crate::grpc::performance::{FailureKind, HandlerError, JobScope};

/// The operation `decompress`.
pub(super) struct Decompress;

/// What a frame starts with, and what a frame to be skipped starts with; of the latter the low four bits are free.
const FRAME: u32 = 0xFD2F_B528;
const SKIPPABLE: u32 = 0x184D_2A50;

/// What every look at the payload finds: not a frame at all, or one that says itself that it is too large.
fn look(payload: &[u8], settings: &Settings) -> Result<(), HandlerError> {
    let magic = payload.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    if !magic.is_some_and(|magic| magic == FRAME || magic & !0xF == SKIPPABLE) {
        return Err(HandlerError::invalid_argument(format!(
            "the payload of {} bytes is not a zstd frame: a frame starts with the bytes 28 b5 2f fd",
            payload.len()
        )));
    }
    // A header that cannot be read, or does not say, is for the decoder to judge.
    if let Ok(Some(claimed)) = get_frame_content_size(payload)
        && claimed > settings.max_output_bytes as u64
    {
        return Err(too_large(format_args!("{claimed} bytes"), settings));
    }
    Ok(())
}

fn too_large(what: impl std::fmt::Display, settings: &Settings) -> HandlerError {
    HandlerError::new(
        FailureKind::ResourceExhausted,
        format!("the frame holds {what}; at most max_output_bytes = {} are given", settings.max_output_bytes),
    )
}

impl Operation for Decompress {
    fn name(&self) -> &'static str {
        "decompress"
    }

    fn description(&self) -> &'static str {
        "What the zstd frames in the payload hold, up to the server's limit."
    }

    fn parameters(&self) -> &'static [ParameterInfo] {
        &[]
    }

    fn check(&self, payload: &Bytes, _: &Parameters<'_>, settings: &Settings) -> Result<(), HandlerError> {
        look(payload, settings)
    }

    fn run(
        &self,
        payload: Bytes,
        _: &Parameters<'_>,
        workshop: &mut Workshop,
        scope: &mut JobScope<'_>,
    ) -> Result<Bytes, HandlerError> {
        let settings = *workshop.settings();
        look(&payload, &settings)?;
        let mut content = scope.buffer();
        let (context, block) = workshop.decompressor()?;
        let mut input = InBuffer::around(&payload);
        loop {
            scope.checkpoint()?;
            let mut output = OutBuffer::around(&mut *block);
            let wanted = context.decompress_stream(&mut output, &mut input).map_err(|code| {
                if is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge) {
                    HandlerError::new(
                        FailureKind::ResourceExhausted,
                        "the frame needs a window above 2^27 bytes, which is the limit",
                    )
                } else {
                    HandlerError::invalid_argument(format!(
                        "the zstd frame is malformed, at byte {} of {}: {}",
                        input.pos(),
                        payload.len(),
                        reason(code)
                    ))
                }
            })?;
            if content.len() + output.pos() > settings.max_output_bytes {
                return Err(too_large("more than that", &settings));
            }
            content.extend_from_slice(output.as_slice());
            let all_read = input.pos() == payload.len();
            if all_read && wanted == 0 {
                return Ok(result(content));
            }
            // The decoder fills the block as long as it can: with room left and nothing to read, it is stuck.
            if all_read && output.pos() < output.capacity() {
                return Err(HandlerError::invalid_argument(format!(
                    "the zstd frame is cut off: it goes on after the {} bytes of the payload",
                    payload.len()
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::operations::{compress::Compress, testing::Bench, workshop::BLOCK};

    fn bounded(max_output_bytes: usize) -> Bench {
        Bench::with(Settings { max_output_bytes, ..Settings::default() })
    }

    fn zeros(length: usize) -> Vec<u8> {
        zstd::encode_all(&vec![0; length][..], 3).unwrap()
    }

    #[test]
    fn what_any_zstd_made_is_read() {
        let mut bench = Bench::new();
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            for level in [1, 19] {
                let content: Vec<u8> = (0..length).map(|i| (i * i / 7 % 251) as u8).collect();
                let frame = zstd::encode_all(&content[..], level).unwrap();
                assert_eq!(bench.run(&Decompress, frame, &[]).unwrap(), content, "{length} bytes");
            }
        }
    }

    #[test]
    fn frames_that_follow_each_other_are_all_read_and_skippable_ones_skipped() {
        let skippable = [0x5F, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, b'x', b'y', b'z'];
        let mut payload = skippable.to_vec();
        payload.extend(zstd::encode_all(&b"first, "[..], 3).unwrap());
        payload.extend(skippable);
        payload.extend(zstd::encode_all(&b"second"[..], 3).unwrap());
        assert_eq!(Bench::new().run(&Decompress, payload, &[]).unwrap(), "first, second");
    }

    #[test]
    fn the_bound_is_exact() {
        let mut bench = bounded(300_000);
        assert_eq!(bench.run(&Decompress, zeros(300_000), &[]).unwrap().len(), 300_000);
        let error = bench.run(&Decompress, zeros(300_001), &[]).unwrap_err();
        assert_eq!(error.kind(), FailureKind::ResourceExhausted);
        assert_eq!(
            error.message(),
            "the frame holds more than that; at most max_output_bytes = 300000 are given"
        );
    }

    #[test]
    fn a_bomb_is_given_up_at_the_bound_whatever_its_header_says() {
        // A gigabyte in 32 KiB: blocks of 128 KiB, each a repeated byte, in a frame that does not say its size.
        let mut bomb = vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x58];
        for _ in 0..8192 {
            bomb.extend([0x02, 0x00, 0x10, 0x00]);
        }
        bomb.extend([0x01, 0x00, 0x00]);
        let error = bounded(1 << 20).run(&Decompress, bomb.clone(), &[]).unwrap_err();
        assert_eq!(error.kind(), FailureKind::ResourceExhausted, "{error}");
        assert!(error.message().contains("max_output_bytes = 1048576"), "{error}");
        // The same blocks under a header that claims 5 bytes are a lie, and found out.
        let mut liar = vec![0x28, 0xB5, 0x2F, 0xFD, 0x20, 0x05];
        liar.extend(&bomb[6..]);
        let error = bounded(1 << 20).run(&Decompress, liar, &[]).unwrap_err();
        assert_eq!(error.kind(), FailureKind::InvalidArgument, "{error}");
    }

    #[test]
    fn a_claim_above_the_bound_is_refused_before_it_is_queued() {
        let claim = zeros(2 << 20);
        let honest = {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            encoder.set_pledged_src_size(Some(2 << 20)).unwrap();
            std::io::Write::write_all(&mut encoder, &vec![0; 2 << 20]).unwrap();
            encoder.finish().unwrap()
        };
        let bench = bounded(1 << 20);
        bench
            .check(&Decompress, claim, &[])
            .expect("a frame that does not say its size passes the first look");
        let error = bench.check(&Decompress, honest, &[]).unwrap_err();
        assert_eq!(error.kind(), FailureKind::ResourceExhausted);
        assert_eq!(
            error.message(),
            "the frame holds 2097152 bytes; at most max_output_bytes = 1048576 are given"
        );
    }

    #[test]
    fn a_large_window_is_given_back_and_one_above_the_limit_refused() {
        // A header that asks for a window of 2^log bytes, and one empty block.
        let frame = |log: u8| vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, (log - 10) << 3, 0x01, 0x00, 0x00];
        let mut bench = bounded(1 << 20);
        assert_eq!(bench.run(&Decompress, frame(27), &[]).unwrap(), "");
        assert!(bench.workshop.kept_bytes() > 1 << 27);
        bench.workshop.tidy();
        assert!(bench.workshop.kept_bytes() < 1 << 20);
        let error = bench.run(&Decompress, frame(28), &[]).unwrap_err();
        assert_eq!(error.kind(), FailureKind::ResourceExhausted);
        assert_eq!(error.message(), "the frame needs a window above 2^27 bytes, which is the limit");
        assert!(bench.workshop.kept_bytes() < 1 << 20);
    }

    #[test]
    fn a_malformed_frame_is_refused_with_the_reason() {
        let mut bench = Bench::new();
        for (payload, reason) in [
            (vec![], "the payload of 0 bytes is not a zstd frame"),
            (b"plain text".to_vec(), "the payload of 10 bytes is not a zstd frame"),
        ] {
            let error = bench.check(&Decompress, payload.clone(), &[]).unwrap_err();
            assert_eq!(error.kind(), FailureKind::InvalidArgument);
            assert!(error.message().contains(reason), "{error}");
            assert!(bench.run(&Decompress, payload, &[]).unwrap_err().message().contains(reason));
        }

        let frame = bench.run(&Compress, vec![7; 100_000], &[]).unwrap();
        for length in 4..frame.len() {
            let error = bench.run(&Decompress, frame.slice(..length), &[]).unwrap_err();
            assert_eq!(error.kind(), FailureKind::InvalidArgument);
            assert!(error.message().contains("is cut off"), "{length}: {error}");
        }

        let mut checksum = frame.to_vec();
        *checksum.last_mut().unwrap() ^= 1;
        let error = bench.run(&Decompress, checksum, &[]).unwrap_err();
        assert_eq!(error.kind(), FailureKind::InvalidArgument);
        assert!(error.message().contains("checksum"), "{error}");

        let mut trailing = frame.to_vec();
        trailing.extend(b"and more");
        let error = bench.run(&Decompress, trailing, &[]).unwrap_err();
        assert!(error.message().contains("malformed, at byte"), "{error}");
    }

    #[test]
    fn a_withdrawn_message_stops_and_leaves_the_context_usable() {
        Bench::new().assert_stops_when_withdrawn(&Decompress, zeros(3 * BLOCK), &[]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_was_compressed_comes_back(
            piece in vec(any::<u8>(), 0..2000),
            times in 1_usize..300,
            level in 1_u32..=9,
        ) {
            let payload = piece.repeat(times);
            let mut bench = Bench::new();
            let frame = bench.run(&Compress, payload.clone(), &[("level", &level.to_string())]).unwrap();
            prop_assert_eq!(bench.run(&Decompress, frame, &[]).unwrap(), payload);
        }

        #[test]
        fn no_bytes_after_a_magic_make_it_panic_or_exceed_the_bound(noise in vec(any::<u8>(), 0..300)) {
            let payload = [&FRAME.to_le_bytes()[..], &noise].concat();
            if let Ok(content) = bounded(1 << 16).run(&Decompress, payload, &[]) {
                prop_assert!(content.len() <= 1 << 16);
            }
        }
    }
}
