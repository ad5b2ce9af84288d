//! `digest`: the hash of the payload.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{Operation, ParameterInfo, Parameters, Settings, Workshop};
use crate::grpc::performance::{HandlerError, JobScope};

/// The operation `digest`.
pub(super) struct Digest;

/// Bytes hashed between two checkpoints: 15 to 100 µs of work, and enough for blake3 to hash many chunks side by side.
const PIECE: usize = 64 << 10;

/// The longest payload that is hashed in place: at most some 10 µs of work, with blake3 or a processor that knows SHA-256.
const BRIEF: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Blake3,
    Sha256,
}

fn algorithm(parameters: &Parameters<'_>) -> Result<Algorithm, HandlerError> {
    parameters.choice("algorithm", &[("blake3", Algorithm::Blake3), ("sha256", Algorithm::Sha256)])
}

impl Operation for Digest {
    fn name(&self) -> &'static str {
        "digest"
    }

    fn description(&self) -> &'static str {
        "The hash of the payload, as 32 raw bytes."
    }

    fn parameters(&self) -> &'static [ParameterInfo] {
        &[ParameterInfo { name: "algorithm", description: "blake3 or sha256", default: "blake3" }]
    }

    fn check(&self, _: &Bytes, parameters: &Parameters<'_>, _: &Settings) -> Result<(), HandlerError> {
        algorithm(parameters).map(drop)
    }

    fn run(
        &self,
        payload: Bytes,
        parameters: &Parameters<'_>,
        _: &mut Workshop,
        scope: &mut JobScope<'_>,
    ) -> Result<Bytes, HandlerError> {
        let hash: [u8; 32] = match algorithm(parameters)? {
            Algorithm::Blake3 => {
                let mut hasher = blake3::Hasher::new();
                for piece in payload.chunks(PIECE) {
                    scope.checkpoint()?;
                    hasher.update(piece);
                }
                hasher.finalize().into()
            }
            Algorithm::Sha256 => {
                let mut hasher = Sha256::new();
                for piece in payload.chunks(PIECE) {
                    scope.checkpoint()?;
                    hasher.update(piece);
                }
                hasher.finalize().into()
            }
        };
        Ok(Bytes::copy_from_slice(&hash))
    }

    fn may_run_in_place(&self, payload: &Bytes, _: &Parameters<'_>) -> bool {
        payload.len() <= BRIEF
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::testing::{Bench, hex};

    fn digest(algorithm: &str, payload: impl Into<Bytes>) -> String {
        hex(&Bench::new().run(&Digest, payload, &[("algorithm", algorithm)]).unwrap())
    }

    #[test]
    fn blake3_gives_the_published_vectors() {
        // The input of the official vectors: bytes 0, 1, …, 250, 0, 1, …
        let counting = |length| (0..length).map(|i: u32| (i % 251) as u8).collect::<Vec<u8>>();
        for (length, hash) in [
            (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
            (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
            (102_400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"),
        ] {
            assert_eq!(digest("blake3", counting(length)), hash, "{length} bytes");
        }
    }

    #[test]
    fn sha256_gives_the_published_vectors() {
        for (payload, hash) in [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
        ] {
            assert_eq!(digest("sha256", payload), hash);
        }
        assert_eq!(
            digest("sha256", vec![b'a'; 1_000_000]),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
    }

    #[test]
    fn the_default_is_blake3_and_the_result_32_raw_bytes() {
        let default = Bench::new().run(&Digest, "millstream", &[]).unwrap();
        assert_eq!(default.len(), 32);
        assert_eq!(hex(&default), digest("blake3", "millstream"));
    }

    #[test]
    fn pieces_make_no_difference() {
        let payload: Vec<u8> = (0..3 * PIECE + 7).map(|i| (i * 31 % 251) as u8).collect();
        assert_eq!(digest("blake3", payload.clone()), blake3::hash(&payload).to_string());
        assert_eq!(digest("sha256", payload.clone()), hex(&Sha256::digest(&payload)));
    }

    #[test]
    fn an_unknown_algorithm_is_refused_by_name() {
        let error = Bench::new().check(&Digest, "", &[("algorithm", "sha265")]).unwrap_err();
        assert_eq!(
            error.message(),
            "parameter `algorithm` is \"sha265\"; it has to be one of blake3, sha256, did you mean `sha256`?"
        );
        let error = Bench::new().run(&Digest, "", &[("algorithm", "md5")]).unwrap_err();
        assert!(error.message().contains("\"md5\""));
    }

    #[test]
    fn a_withdrawn_message_is_not_hashed() {
        Bench::new().assert_stops_when_withdrawn(&Digest, "x", &[]);
        Bench::new().assert_stops_when_withdrawn(&Digest, "x", &[("algorithm", "sha256")]);
    }
}
