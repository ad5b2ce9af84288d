use image::{GenericImageView, ImageEncoder, Luma, Rgb, Rgba};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::operations::testing::Bench;

fn gradient(width: u32, height: u32) -> DynamicImage {
    let shade = |of: u32, all: u32| (of * 255 / all.max(1)) as u8;
    RgbImage::from_fn(width, height, |x, y| Rgb([shade(x, width), shade(y, height), 128])).into()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

fn thumbnail(payload: Vec<u8>, given: &[(&str, &str)]) -> DynamicImage {
    let answer = Bench::new().run(&Thumbnail, payload, given).unwrap();
    image::load_from_memory(&answer).unwrap()
}

fn refused(payload: Vec<u8>) -> HandlerError {
    Bench::new().run(&Thumbnail, payload, &[]).unwrap_err()
}

#[test]
fn every_format_is_read_and_every_format_is_written() {
    for from in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let payload = encoded(&gradient(300, 200), from);
        for (to, name) in
            [(ImageFormat::Png, "png"), (ImageFormat::Jpeg, "jpeg"), (ImageFormat::WebP, "webp")]
        {
            let given = [("width", "60"), ("height", "60"), ("format", name)];
            let answer = Bench::new().run(&Thumbnail, payload.clone(), &given).unwrap();
            assert_eq!(image::guess_format(&answer).unwrap(), to, "{from:?} to {to:?}");
            let picture = image::load_from_memory(&answer).unwrap();
            assert_eq!(picture.dimensions(), (60, 40), "{from:?} to {to:?}");
            // The same place has the same colour, within what JPEG loses.
            for (there, here) in [((150, 100), (30, 20)), ((20, 180), (4, 36))] {
                let expected = gradient(300, 200).get_pixel(there.0, there.1);
                let found = picture.get_pixel(here.0, here.1);
                for (expected, found) in expected.0.into_iter().zip(found.0) {
                    assert!(expected.abs_diff(found) <= 12, "{from:?} to {to:?}: {expected} is {found}");
                }
            }
        }
    }
}

#[test]
fn every_depth_of_colour_is_read() {
    let deep = image::ImageBuffer::from_pixel(40, 40, Rgb([0xFFFF_u16, 0x8000, 0]));
    assert_eq!(
        thumbnail(encoded(&deep.into(), ImageFormat::Png), &[("width", "10")]).get_pixel(5, 5),
        Rgba([255, 128, 0, 255])
    );
    let grey = image::GrayImage::from_pixel(40, 40, Luma([77]));
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        assert_eq!(
            thumbnail(encoded(&grey.clone().into(), format), &[("width", "10")]).get_pixel(5, 5),
            Rgba([77, 77, 77, 255])
        );
    }
}

#[test]
fn the_picture_fits_the_box_and_keeps_its_shape() {
    for (picture, frame, fitted) in [
        ((1600, 900), (256, 256), (256, 144)),
        ((900, 1600), (256, 256), (144, 256)),
        ((1000, 1000), (100, 50), (50, 50)),
        ((4000, 3), (100, 100), (100, 1)),
        ((3, 4000), (100, 100), (1, 100)),
        ((100, 80), (99, 4096), (99, 79)),
        ((u32::MAX, u32::MAX), (4096, 1), (1, 1)),
    ] {
        assert_eq!(fit(picture, frame), fitted, "{picture:?} in {frame:?}");
    }
}

#[test]
fn a_picture_that_fits_already_is_not_enlarged() {
    assert_eq!(thumbnail(encoded(&gradient(30, 20), ImageFormat::Png), &[]), gradient(30, 20));
    assert_eq!(fit((256, 256), (256, 256)), (256, 256));
}

#[test]
fn what_is_invisible_does_not_bleed_into_the_edges() {
    // Opaque white and invisible black, in stripes of one pixel: seen together, half-opaque white.
    let stripes = RgbaImage::from_fn(200, 200, |x, _| Rgba(if x % 2 == 0 { [255; 4] } else { [0, 0, 0, 0] }));
    let payload = encoded(&stripes.into(), ImageFormat::Png);
    let png = thumbnail(payload.clone(), &[("width", "50")]);
    let [red, green, blue, alpha] = png.get_pixel(25, 25).0;
    assert!(red >= 250 && green >= 250 && blue >= 250, "{red} {green} {blue}");
    assert!(alpha.abs_diff(128) <= 4, "{alpha}");
    let jpeg = thumbnail(payload, &[("width", "50"), ("format", "jpeg")]);
    assert!(jpeg.get_pixel(25, 25).0[0] >= 250, "over white, white stays white");
}

#[test]
fn exif_turns_the_picture_upright_and_the_box_is_meant_for_that() {
    // 6: the camera was held so that the picture has to be turned by 90 degrees.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let mut payload = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut payload, 95);
    encoder.set_exif_metadata(exif).unwrap();
    gradient(400, 200).write_with_encoder(encoder).unwrap();
    let picture = thumbnail(payload, &[("width", "50"), ("height", "4096")]);
    assert_eq!(picture.dimensions(), (50, 100));
    // Red grows to the right in the file, so downwards once it is upright.
    assert!(picture.get_pixel(25, 5).0[0] < 40 && picture.get_pixel(25, 95).0[0] > 200);
}

#[test]
fn a_huge_picture_is_refused_by_its_header() {
    // The frame header of a baseline JPEG of 65,535 by 65,535 pixels; what would follow is never read.
    let mut jpeg = encoded(&gradient(16, 16), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xFF);
    let error = refused(jpeg);
    assert_eq!(error.kind(), FailureKind::ResourceExhausted, "{error}");
    assert_eq!(
        error.message(),
        "the picture has 65535 x 65535 = 4294836225 pixels; at most max_pixels = 40000000 are decoded"
    );

    let mut png = encoded(&gradient(16, 16), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF]);
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let error = refused(png);
    assert_eq!(error.kind(), FailureKind::ResourceExhausted, "{error}");
    assert!(error.message().contains("65535 x 65535"), "{error}");
}

/// The checksum of a PNG chunk.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
    })
}

#[test]
fn the_bound_on_pixels_is_exact() {
    let payload = encoded(&gradient(40, 25), ImageFormat::Png);
    let limited = |max_pixels| Bench::with(Settings { max_pixels, ..Settings::default() });
    assert!(limited(1000).run(&Thumbnail, payload.clone(), &[]).is_ok());
    let error = limited(999).run(&Thumbnail, payload, &[]).unwrap_err();
    assert_eq!(error.kind(), FailureKind::ResourceExhausted);
    assert!(error.message().contains("40 x 25 = 1000 pixels; at most max_pixels = 999"), "{error}");
}

#[test]
fn what_is_not_a_picture_is_refused_before_it_is_queued() {
    for (payload, reason) in [
        (b"".to_vec(), "the payload of 0 bytes is not a picture"),
        (b"plain text".to_vec(), "the payload of 10 bytes is not a picture"),
        (b"GIF89a and so on".to_vec(), "looks like image/gif; it has to be a PNG, JPEG or WebP"),
    ] {
        let error = Bench::new().check(&Thumbnail, payload.clone(), &[]).unwrap_err();
        assert_eq!(error.kind(), FailureKind::InvalidArgument);
        assert!(error.message().contains(reason), "{error}");
        assert_eq!(refused(payload).message(), error.message());
    }
}

#[test]
fn a_malformed_picture_is_refused_with_the_decoders_reason() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let whole = encoded(&gradient(64, 64), format);
        for cut in [whole.len() / 4, whole.len() / 2] {
            let error = refused(whole[..cut].to_vec());
            assert_eq!(error.kind(), FailureKind::InvalidArgument, "{format:?} cut at {cut}");
            assert!(error.message().starts_with("the picture is malformed: "), "{format:?}: {error}");
        }
    }
    let mut png = encoded(&gradient(64, 64), ImageFormat::Png);
    let middle = png.len() / 2;
    png[middle] ^= 0x55;
    let error = refused(png);
    assert_eq!(error.kind(), FailureKind::InvalidArgument);
    assert!(error.message().starts_with("the picture is malformed: "), "{error}");
}

#[test]
fn a_jpeg_that_is_cut_off_is_refused_wherever_it_is_cut() {
    let mut whole = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut whole, 95);
    // A preview inside, with an end marker of its own.
    encoder.set_exif_metadata(vec![0xFF, 0xD8, 0xFF, 0xD9]).unwrap();
    let speckled = RgbImage::from_fn(60, 40, |x, y| Rgb([(x * 97 + y * 31) as u8, (x * y) as u8, 9]));
    DynamicImage::from(speckled).write_with_encoder(encoder).unwrap();
    for cut in 3..whole.len() {
        let error = refused(whole[..cut].to_vec());
        assert_eq!(error.kind(), FailureKind::InvalidArgument, "cut at {cut}");
        assert!(error.message().starts_with("the picture is malformed: "), "cut at {cut}: {error}");
    }
    let error = refused(whole[..whole.len() / 2].to_vec());
    assert!(error.message().contains("the JPEG is cut off, its end-of-image marker"), "{error}");
    // What follows the end is not the picture's.
    whole.extend(b"and more");
    assert_eq!(thumbnail(whole, &[]).dimensions(), (60, 40));
}

#[test]
fn wrong_values_are_refused_with_the_range() {
    let payload = encoded(&gradient(8, 8), ImageFormat::Png);
    for (name, value, right) in [
        ("width", "0", "a whole number from 1 to 4096"),
        ("height", "4097", "a whole number from 1 to 4096"),
        ("width", "wide", "a whole number from 1 to 4096"),
        ("format", "gif", "one of jpeg, png, webp"),
    ] {
        let error = Bench::new().check(&Thumbnail, payload.clone(), &[(name, value)]).unwrap_err();
        assert_eq!(error.kind(), FailureKind::InvalidArgument);
        assert_eq!(error.message(), format!("parameter `{name}` is {value:?}; it has to be {right}"));
    }
}

#[test]
fn a_withdrawn_message_stops() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let payload = encoded(&gradient(64, 64), format);
        Bench::new().assert_stops_when_withdrawn(&Thumbnail, payload, &[("width", "16")]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_damage_to_a_picture_makes_it_panic(
        format in prop::sample::select(vec![ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP]),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut payload = encoded(&gradient(32, 24), format);
        for (place, byte) in damage {
            let place = place.index(payload.len());
            payload[place] = byte;
        }
        // A small bound: damage to a header may ask for any size.
        let mut bench = Bench::with(Settings { max_pixels: 1 << 20, ..Settings::default() });
        if let Ok(answer) = bench.run(&Thumbnail, payload, &[("width", "8"), ("height", "8")]) {
            let picture = image::load_from_memory(&answer).unwrap();
            prop_assert!(picture.width() <= 8 && picture.height() <= 8);
        }
    }
}
