//! `thumbnail`: a picture, small.
//!
//! In pieces, with a checkpoint before each: read the header; refuse by what it says; decode (PNG and WebP read their
//! input in pieces with checkpoints of their own); shrink by whole pixels to twice the size; shrink smoothly to the
//! size; turn upright as EXIF says; encode.
//!
//! **Bounded**: the number of pixels is known from the header, and compared with `max_pixels`, before anything of
//! that size is allocated. Above that, a decoder that asks for more than the deepest picture of that many pixels
//! takes is stopped by its own limit.
//!
//! Colours are averaged as they are stored, without colour management. Transparent pixels are weighted by their
//! opacity, so that what is invisible does not bleed into the edges.

use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits, RgbImage,
    RgbaImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder},
    imageops::FilterType,
    metadata::Orientation,
};

use super::{Operation, ParameterInfo, Parameters, Settings, Workshop, workshop::result};
use crate::grpc::performance::{FailureKind, HandlerError, JobScope};

/// The operation `thumbnail`.
pub(super) struct Thumbnail;

/// The largest side of the box: beyond that it is no thumbnail, and the encoders take their time.
const MAX_SIDE: u32 = 4096;

/// Out of 100; the loss is hard to see, and a quarter of the size of 95.
const JPEG_QUALITY: u8 = 85;

/// Bytes of the deepest pixel that is decoded: four channels of 16 bits.
const DEEPEST_PIXEL: u64 = 8;

/// What a decoder may need beside the pixels: profiles, rows, tables.
const DECODER_OVERHEAD: u64 = 16 << 20;

/// Bytes of the input that are decoded between two checkpoints.
const PIECE: usize = 4 << 10;

struct Plan {
    width: u32,
    height: u32,
    format: ImageFormat,
}

fn plan(parameters: &Parameters<'_>) -> Result<Plan, HandlerError> {
    Ok(Plan {
        width: parameters.integer("width", 1..=MAX_SIDE)?,
        height: parameters.integer("height", 1..=MAX_SIDE)?,
        format: parameters.choice(
            "format",
            &[("jpeg", ImageFormat::Jpeg), ("png", ImageFormat::Png), ("webp", ImageFormat::WebP)],
        )?,
    })
}

/// The format of a picture, by its first bytes.
fn sniff(payload: &[u8]) -> Result<ImageFormat, HandlerError> {
    match image::guess_format(payload) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)) => Ok(format),
        Ok(other) => Err(HandlerError::invalid_argument(format!(
            "the payload looks like {}; it has to be a PNG, JPEG or WebP picture",
            other.to_mime_type()
        ))),
        Err(_) => Err(HandlerError::invalid_argument(format!(
            "the payload of {} bytes is not a picture: it has to be a PNG, JPEG or WebP",
            payload.len()
        ))),
    }
}

/// The payload as a decoder reads it: a piece at a time, with a checkpoint before each.
struct Watched<'a, 's> {
    payload: Cursor<&'a [u8]>,
    scope: &'a mut JobScope<'s>,
}

impl Read for Watched<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.scope.checkpoint().map_err(io::Error::other)?;
        self.payload.read(buffer)
    }
}

impl BufRead for Watched<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.scope.checkpoint().map_err(io::Error::other)?;
        let rest = self.payload.fill_buf()?;
        Ok(&rest[..rest.len().min(PIECE)])
    }

    fn consume(&mut self, amount: usize) {
        self.payload.consume(amount);
    }
}

impl Seek for Watched<'_, '_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.payload.seek(position)
    }
}

/// Why there is no picture.
enum Undecodable {
    TooManyPixels { width: u32, height: u32, pixels: u64 },
    CutOff,
    Decoder(ImageError),
}

impl From<ImageError> for Undecodable {
    fn from(error: ImageError) -> Self {
        Self::Decoder(error)
    }
}

/// The picture, and how it has to be turned.
fn decode(
    payload: &[u8],
    format: ImageFormat,
    max_pixels: u64,
    scope: &mut JobScope<'_>,
) -> Result<(DynamicImage, Orientation), Undecodable> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_pixels.saturating_mul(DEEPEST_PIXEL).saturating_add(DECODER_OVERHEAD));
    let mut reader = ImageReader::with_format(Watched { payload: Cursor::new(payload), scope }, format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > max_pixels {
        return Err(Undecodable::TooManyPixels { width, height, pixels });
    }
    // The decoder would paint what is missing grey, and be content.
    if format == ImageFormat::Jpeg && !reaches_end_of_image(payload) {
        return Err(Undecodable::CutOff);
    }
    let orientation = decoder.orientation()?;
    Ok((DynamicImage::from_decoder(decoder)?, orientation))
}

/// Whether the segments of a JPEG lead to its end marker. What stands inside of a segment (a preview has an end marker
/// too) is skipped.
fn reaches_end_of_image(jpeg: &[u8]) -> bool {
    const MARKER: u8 = 0xFF;
    const STUFFED_OR_FILL: [u8; 2] = [0x00, 0xFF];
    const START_OF_IMAGE: u8 = 0xD8;
    const END_OF_IMAGE: u8 = 0xD9;
    let mut rest = jpeg;
    while let Some(at) =
        rest.windows(2).position(|two| two[0] == MARKER && !STUFFED_OR_FILL.contains(&two[1]))
    {
        let (marker, after) = (rest[at + 1], &rest[at + 2..]);
        let skipped = match marker {
            END_OF_IMAGE => return true,
            // Restart markers and the start have no length; they stand alone.
            0xD0..=0xD7 | START_OF_IMAGE | 0x01 => 0,
            _ => after.first_chunk().map_or(after.len(), |length| u16::from_be_bytes(*length).into()),
        };
        rest = after.get(skipped..).unwrap_or_default();
    }
    false
}

/// What the client is told when there is no picture.
fn refuse(why: Undecodable, max_pixels: u64, scope: &mut JobScope<'_>) -> HandlerError {
    // A decoder that a checkpoint stopped reports an error of its reader; whether that was it, the scope knows.
    if let Err(interruption) = scope.checkpoint() {
        return interruption.into();
    }
    match why {
        Undecodable::TooManyPixels { width, height, pixels } => HandlerError::new(
            FailureKind::ResourceExhausted,
            format!(
                "the picture has {width} x {height} = {pixels} pixels; at most max_pixels = {max_pixels} are decoded"
            ),
        ),
        Undecodable::CutOff => HandlerError::invalid_argument(
            "the picture is malformed: the JPEG is cut off, its end-of-image marker (ff d9) is missing",
        ),
        Undecodable::Decoder(ImageError::Limits(limit)) => HandlerError::new(
            FailureKind::ResourceExhausted,
            format!("decoding the picture takes more memory than max_pixels = {max_pixels} give it: {limit}"),
        ),
        Undecodable::Decoder(error) => {
            HandlerError::invalid_argument(format!("the picture is malformed: {error}")).caused_by(error)
        }
    }
}

/// The largest size that fits into the box and keeps the shape; never larger than the picture.
fn fit((width, height): (u32, u32), (box_width, box_height): (u32, u32)) -> (u32, u32) {
    if width <= box_width && height <= box_height {
        return (width, height);
    }
    let (width, height) = (u64::from(width), u64::from(height));
    let (box_width, box_height) = (u64::from(box_width), u64::from(box_height));
    let scaled = |side: u64, to: u64, of: u64| {
        u32::try_from(((side * to + of / 2) / of).max(1)).expect("a side only shrinks")
    };
    // The side that needs more shrinking decides; the other follows, to the nearest pixel.
    if width * box_height >= height * box_width {
        (scaled(width, box_width, width), scaled(height, box_width, width))
    } else {
        (scaled(width, box_height, height), scaled(height, box_height, height))
    }
}

/// Eight bits a channel, three channels or four; colours multiplied by their opacity, for averaging.
fn prepare(picture: DynamicImage) -> DynamicImage {
    if !picture.color().has_alpha() {
        return DynamicImage::ImageRgb8(picture.into_rgb8());
    }
    let mut picture = picture.into_rgba8();
    for pixel in picture.pixels_mut() {
        let [red, green, blue, alpha] = pixel.0;
        let weighted = |channel: u8| ((u16::from(channel) * u16::from(alpha) + 127) / 255) as u8;
        pixel.0 = [weighted(red), weighted(green), weighted(blue), alpha];
    }
    DynamicImage::ImageRgba8(picture)
}

/// Colours as they are, out of colours multiplied by their opacity.
fn divide_by_opacity(picture: &mut RgbaImage) {
    for pixel in picture.pixels_mut() {
        let [red, green, blue, alpha] = pixel.0;
        let whole = |channel: u8| match alpha {
            0 => 0,
            _ => ((u16::from(channel) * 255 + u16::from(alpha) / 2) / u16::from(alpha)).min(255) as u8,
        };
        pixel.0 = [whole(red), whole(green), whole(blue), alpha];
    }
}

/// Colours multiplied by their opacity, over white.
fn over_white(picture: &RgbaImage) -> RgbImage {
    let mut opaque = RgbImage::new(picture.width(), picture.height());
    for (to, from) in opaque.pixels_mut().zip(picture.pixels()) {
        let [red, green, blue, alpha] = from.0;
        to.0 = [red, green, blue].map(|channel| channel.saturating_add(255 - alpha));
    }
    opaque
}

fn encode(mut picture: DynamicImage, format: ImageFormat, mut output: impl Write) -> ImageResult<()> {
    if let DynamicImage::ImageRgba8(transparent) = &mut picture {
        if format == ImageFormat::Jpeg {
            picture = DynamicImage::ImageRgb8(over_white(transparent));
        } else {
            divide_by_opacity(transparent);
        }
    }
    match format {
        ImageFormat::Jpeg => {
            picture.write_with_encoder(JpegEncoder::new_with_quality(&mut output, JPEG_QUALITY))
        }
        ImageFormat::WebP => picture.write_with_encoder(WebPEncoder::new_lossless(&mut output)),
        _ => picture.write_with_encoder(PngEncoder::new(&mut output)),
    }
}

impl Operation for Thumbnail {
    fn name(&self) -> &'static str {
        "thumbnail"
    }

    fn description(&self) -> &'static str {
        "The picture in the payload (PNG, JPEG, WebP) made to fit into a box: upright, its shape kept, never enlarged."
    }

    fn parameters(&self) -> &'static [ParameterInfo] {
        &[
            ParameterInfo {
                name: "format",
                description: "jpeg (transparent parts white), png or webp (lossless)",
                default: "png",
            },
            ParameterInfo { name: "height", description: "of the box, 1 to 4096 pixels", default: "256" },
            ParameterInfo { name: "width", description: "of the box, 1 to 4096 pixels", default: "256" },
        ]
    }

    fn check(&self, payload: &Bytes, parameters: &Parameters<'_>, _: &Settings) -> Result<(), HandlerError> {
        plan(parameters)?;
        sniff(payload).map(drop)
    }

    fn run(
        &self,
        payload: Bytes,
        parameters: &Parameters<'_>,
        workshop: &mut Workshop,
        scope: &mut JobScope<'_>,
    ) -> Result<Bytes, HandlerError> {
        let plan = plan(parameters)?;
        scope.checkpoint()?;
        let max_pixels = workshop.settings().max_pixels;
        let (picture, orientation) = decode(&payload, sniff(&payload)?, max_pixels, scope)
            .map_err(|why| refuse(why, max_pixels, scope))?;
        drop(payload);

        let turned = matches!(
            orientation,
            Orientation::Rotate90
                | Orientation::Rotate270
                | Orientation::Rotate90FlipH
                | Orientation::Rotate270FlipH
        );
        let frame = if turned { (plan.height, plan.width) } else { (plan.width, plan.height) };
        let original = (picture.width(), picture.height());
        let (width, height) = fit(original, frame);

        scope.checkpoint()?;
        let mut picture = prepare(picture);
        if (width, height) != original {
            // Averaging whole pixels is fast, and good as long as what remains is larger than wanted.
            let (rough_width, rough_height) = (width * 2, height * 2);
            if original.0 > rough_width && original.1 > rough_height {
                scope.checkpoint()?;
                picture = picture.thumbnail_exact(rough_width, rough_height);
            }
            scope.checkpoint()?;
            picture = picture.resize_exact(width, height, FilterType::CatmullRom);
        }
        scope.checkpoint()?;
        picture.apply_orientation(orientation);

        scope.checkpoint()?;
        let mut output = scope.buffer();
        encode(picture, plan.format, &mut *output).map_err(|error| {
            HandlerError::internal(format!("the thumbnail could not be encoded: {error}")).caused_by(error)
        })?;
        Ok(result(output))
    }
}

#[cfg(test)]
mod tests;
