//! `compress`: the payload as a zstd frame.
//!
//! The frame is written block by block, with a checkpoint before each. It carries the size of its content and a
//! checksum. Memory: the context is sized for the payload (at the highest levels up to about ten times of it), and
//! the output stays below the payload and one block.

use bytes::Bytes;
use zstd::zstd_safe::{InBuffer, OutBuffer, zstd_sys::ZSTD_EndDirective};

use super::{
    Operation, ParameterInfo, Parameters, Settings, Workshop,
    workshop::{BLOCK, reason, result},
};
use crate::grpc::performance::{HandlerError, JobScope};

/// The operation `compress`.
pub(super) struct Compress;

fn level(parameters: &Parameters<'_>) -> Result<i32, HandlerError> {
    parameters.integer("level", 1..=22).map(|level| i32::try_from(level).expect("at most 22"))
}

impl Operation for Compress {
    fn name(&self) -> &'static str {
        "compress"
    }

    fn description(&self) -> &'static str {
        "The payload as one zstd frame, with its size and a checksum."
    }

    fn parameters(&self) -> &'static [ParameterInfo] {
        &[ParameterInfo {
            name: "level",
            description: "from 1 (fast) to 22 (small; hundreds of times slower)",
            default: "3",
        }]
    }

    fn check(&self, _: &Bytes, parameters: &Parameters<'_>, _: &Settings) -> Result<(), HandlerError> {
        level(parameters).map(drop)
    }

    fn run(
        &self,
        payload: Bytes,
        parameters: &Parameters<'_>,
        workshop: &mut Workshop,
        scope: &mut JobScope<'_>,
    ) -> Result<Bytes, HandlerError> {
        let mut frame = scope.buffer();
        let (context, block) = workshop.compressor(level(parameters)?, payload.len() as u64)?;
        // The last step closes the frame; a payload that is empty has only that one.
        let steps = payload.chunks(BLOCK).map(|input| (input, ZSTD_EndDirective::ZSTD_e_continue));
        for (input, directive) in steps.chain([(&[][..], ZSTD_EndDirective::ZSTD_e_end)]) {
            let mut input = InBuffer::around(input);
            loop {
                scope.checkpoint()?;
                let mut output = OutBuffer::around(&mut *block);
                let left = context
                    .compress_stream2(&mut output, &mut input, directive)
                    .map_err(|code| HandlerError::internal(format!("zstd: {}", reason(code))))?;
                frame.extend_from_slice(output.as_slice());
                let done = match directive {
                    ZSTD_EndDirective::ZSTD_e_end => left == 0,
                    _ => input.pos() == input.src.len(),
                };
                if done {
                    break;
                }
            }
        }
        Ok(result(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::testing::Bench;

    fn text(length: usize) -> Vec<u8> {
        b"the mill grinds what the stream brings; ".iter().copied().cycle().take(length).collect()
    }

    #[test]
    fn what_is_compressed_is_a_frame_that_any_zstd_reads() {
        let mut bench = Bench::new();
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 3] {
            let payload = text(length);
            let frame = bench.run(&Compress, payload.clone(), &[]).unwrap();
            assert_eq!(zstd::decode_all(&frame[..]).unwrap(), payload, "{length} bytes");
        }
    }

    #[test]
    fn the_frame_says_its_size_and_carries_a_checksum() {
        let frame = Bench::new().run(&Compress, text(1000), &[]).unwrap();
        assert_eq!(zstd::zstd_safe::get_frame_content_size(&frame).unwrap(), Some(1000));
        let mut flipped = frame.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(zstd::decode_all(&flipped[..]).unwrap_err().to_string().contains("checksum"));
    }

    #[test]
    fn a_higher_level_makes_a_smaller_frame() {
        let line = |i: u32| format!("sack {i}: {} pounds of rye, {} of oats\n", i * 7 % 101, i * i % 97);
        let payload = (0..5000).map(line).collect::<String>();
        let mut bench = Bench::new();
        let mut size = |level| bench.run(&Compress, payload.clone(), &[("level", level)]).unwrap().len();
        assert!(size("19") < size("1"));
    }

    #[test]
    fn a_large_context_is_given_back() {
        let mut bench = Bench::new();
        bench.run(&Compress, text(2 << 20), &[("level", "19")]).unwrap();
        assert!(bench.workshop.kept_bytes() > 8 << 20);
        bench.workshop.tidy();
        assert!(bench.workshop.kept_bytes() < 1 << 20);
        bench.run(&Compress, text(2 << 20), &[]).unwrap();
        let kept = bench.workshop.kept_bytes();
        bench.workshop.tidy();
        assert_eq!(bench.workshop.kept_bytes(), kept);
    }

    #[test]
    fn a_level_out_of_range_is_refused_with_the_range() {
        for value in ["0", "23", "-5", "fast"] {
            let error = Bench::new().check(&Compress, "", &[("level", value)]).unwrap_err();
            assert_eq!(
                error.message(),
                format!("parameter `level` is {value:?}; it has to be a whole number from 1 to 22")
            );
        }
    }

    #[test]
    fn a_withdrawn_message_stops_and_leaves_the_context_usable() {
        Bench::new().assert_stops_when_withdrawn(&Compress, text(3 * BLOCK), &[]);
    }
}
