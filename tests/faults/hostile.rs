//! Messages that are made to hurt: each is answered for what it is, beside a client that must not notice.

use std::io::Write;

use tokio::time::timeout;
use tonic::{Code, codec::CompressionEncoding, metadata::AsciiMetadataValue};

use super::{PATIENCE, Serving, client, code, request, until};

/// A PNG whose header promises so many pixels in each direction, and nothing behind it.
fn picture(side: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend([side.to_be_bytes(), side.to_be_bytes()].concat());
    header.extend([8, 6, 0, 0, 0]);
    let checksum = crc(&header).to_be_bytes();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(13_u32.to_be_bytes());
    png.extend(header);
    png.extend(checksum);
    png
}

/// The checksum of PNG (CRC-32 of ISO 3309), bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

/// 128 MiB of zeros in a few KiB: twice what `decompress` may make.
fn bomb() -> Vec<u8> {
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..128 {
        bomb.write_all(&zeros).unwrap();
    }
    bomb.finish().unwrap()
}

#[tokio::test]
async fn bombs_vast_pictures_and_deep_json_are_answered_and_their_neighbours_do_not_notice() {
    let server = Serving::start(&["--set", "worker_count=2"]).await;
    let mut client = client(&server).await;
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let requests = [
        request(0, "echo", "before", &[]),
        request(1, "decompress", bomb(), &[]),
        request(2, "thumbnail", picture(65_535), &[("width", "10"), ("height", "10")]),
        request(3, "validate", deep, &[]),
        request(4, "coffee", "x", &[]),
        request(5, "echo", "after", &[]),
    ];
    let mut answers = client.stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut codes = Vec::new();
    while let Some(answer) = timeout(PATIENCE, answers.message()).await.unwrap().unwrap() {
        assert_eq!(answer.id, codes.len() as u64);
        codes.push(code(&answer));
    }
    assert_eq!((codes[0], codes[5], codes.len()), (Code::Ok, Code::Ok, 6));
    assert_eq!(codes[1], Code::ResourceExhausted, "{codes:?}");
    assert!(matches!(codes[2], Code::ResourceExhausted | Code::InvalidArgument), "{codes:?}");
    assert_eq!((codes[3], codes[4]), (Code::InvalidArgument, Code::Unimplemented), "{codes:?}");
    let stats =
        until(&mut client, "all is free", |stats| stats.bytes_in_flight == 0 && stats.queued == 0).await;
    assert!(stats.resident_bytes < 512 << 20, "{} bytes resident", stats.resident_bytes);
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_said_in_so_few_words_that_every_client_can_take_them() {
    let server = Serving::start(&[]).await;
    let mut client = client(&server).await;
    // Quoted with escapes it is more than a client takes of one answer; as a header, more than it takes of all.
    let wrong = || request(0, "digest", "x", &[("algorithm", &"\u{1}".repeat(1 << 20))]);
    let refused = timeout(PATIENCE, client.process(wrong())).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:.200}");
    assert!(refused.message().ends_with("it has to be one of blake3, sha256"), "{}", refused.message());
    let requests = [wrong(), request(1, "echo", "after", &[])];
    let mut answers = client.stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    for expected in [Code::InvalidArgument, Code::Ok] {
        let answer = timeout(PATIENCE, answers.message()).await.unwrap().expect("the stream lives on");
        assert_eq!(code(&answer.unwrap()), expected);
    }
}

#[tokio::test]
async fn a_message_that_unpacks_to_more_than_the_limit_is_refused_and_the_connection_lives_on() {
    let server = Serving::start(&[]).await;
    let mut plain = client(&server).await;
    let mut packing = plain.clone().send_compressed(CompressionEncoding::Gzip);
    let bomb = request(0, "echo", vec![0; 8 << 20], &[]);
    let refused = timeout(PATIENCE, packing.process(bomb)).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    plain.process(request(1, "echo", "x", &[])).await.unwrap();
}

#[tokio::test]
async fn a_mebibyte_of_metadata_is_refused_and_a_second_client_does_not_notice() {
    let server = Serving::start(&[]).await;
    let (mut one, mut two) = (client(&server).await, client(&server).await);
    let mut heavy = tonic::Request::new(request(0, "echo", "x", &[]));
    heavy.metadata_mut().insert("heavy", AsciiMetadataValue::try_from("x".repeat(1 << 20)).unwrap());
    timeout(PATIENCE, one.process(heavy)).await.expect("an answer comes").unwrap_err();
    two.process(request(1, "echo", "x", &[])).await.unwrap();
    // A new connection is made if the old one was ended.
    timeout(PATIENCE, one.process(request(2, "echo", "x", &[]))).await.unwrap().unwrap();
}
