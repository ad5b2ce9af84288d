//! Draws the sample pictures of `assets/pictures/`, from nothing but arithmetic, so that they are free to ship:
//!
//! ```sh
//! cargo run --release --features cli --example make_pictures
//! ```
//! Takes a directory to write to, if another than `assets/pictures`.

use std::{env, f64::consts::TAU, fs::File, io::BufWriter, path::Path, process::ExitCode};

use image::{
    DynamicImage, ImageResult, Rgb, RgbImage, Rgba, RgbaImage,
    codecs::{
        jpeg::JpegEncoder,
        png::{CompressionType, FilterType, PngEncoder},
        webp::WebPEncoder,
    },
};

fn main() -> ExitCode {
    let directory = env::args().nth(1).unwrap_or_else(|| "assets/pictures".to_owned());
    for (name, picture) in [
        ("mandelbrot.jpg", mandelbrot(1600, 1067)),
        ("julia.jpg", julia(1280, 720)),
        ("clouds.jpg", clouds(900, 1200)),
        ("marble.jpg", marble(1024, 768)),
        ("mosaic.png", mosaic(1200, 900)),
        ("dusk.png", dusk(800, 600)),
        ("ripples.webp", ripples(640, 480)),
        ("lens.png", lens(400, 300)),
    ] {
        let path = Path::new(&directory).join(name);
        if let Err(error) = save(&picture, &path) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!("{}: {} x {}", path.display(), picture.width(), picture.height());
    }
    ExitCode::SUCCESS
}

fn save(picture: &DynamicImage, path: &Path) -> ImageResult<()> {
    let file = BufWriter::new(File::create(path)?);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("jpg") => picture.write_with_encoder(JpegEncoder::new_with_quality(file, 82)),
        Some("webp") => picture.write_with_encoder(WebPEncoder::new_lossless(file)),
        _ => picture.write_with_encoder(PngEncoder::new_with_quality(
            file,
            CompressionType::Best,
            FilterType::Adaptive,
        )),
    }
}

/// A picture from the colour at each point; points go from 0 to 1 in the longer direction.
fn draw(width: u32, height: u32, colour: impl Fn(f64, f64) -> [f64; 3]) -> DynamicImage {
    let scale = 1.0 / f64::from(width.max(height));
    RgbImage::from_fn(width, height, |x, y| {
        Rgb(colour((f64::from(x) + 0.5) * scale, (f64::from(y) + 0.5) * scale).map(shade))
    })
    .into()
}

/// From 0..=1 to a byte.
fn shade(value: f64) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// A wheel of colours that harmonise, once around for each unit.
fn palette(turn: f64) -> [f64; 3] {
    [0.0, 0.12, 0.25].map(|phase| 0.5 + 0.5 * (TAU * (turn + phase)).cos())
}

fn mix(from: [f64; 3], to: [f64; 3], share: f64) -> [f64; 3] {
    [0, 1, 2].map(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

/// How fast z² + c runs away from z, smoothly; `None`: not within the limit.
fn escape((mut re, mut im): (f64, f64), c: (f64, f64), limit: u32) -> Option<f64> {
    for step in 0..limit {
        let (re2, im2) = (re * re, im * im);
        if re2 + im2 > 256.0 {
            return Some(f64::from(step) + 1.0 - (re2 + im2).ln().log2() + 3.0);
        }
        (re, im) = (re2 - im2 + c.0, 2.0 * re * im + c.1);
    }
    None
}

fn mandelbrot(width: u32, height: u32) -> DynamicImage {
    draw(width, height, |x, y| {
        let point = (x * 3.0 - 2.2, (y - 0.333) * 3.0);
        escape((0.0, 0.0), point, 300).map_or([0.02, 0.02, 0.05], |steps| palette(0.55 + steps.sqrt() * 0.12))
    })
}

fn julia(width: u32, height: u32) -> DynamicImage {
    draw(width, height, |x, y| {
        let point = ((x - 0.5) * 3.1, (y - 0.28) * 3.1);
        escape(point, (-0.79, 0.15), 250).map_or([0.0; 3], |steps| palette(0.6 + steps.ln_1p() * 0.2))
    })
}

/// A number in 0..1 for each corner of the lattice, without a pattern that the eye sees.
fn lattice(x: i64, y: i64, seed: u64) -> f64 {
    let mut bits = seed
        .wrapping_add((x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add((y as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F));
    // The finaliser of splitmix64.
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Value noise: smooth between the corners of the lattice.
fn noise(x: f64, y: f64, seed: u64) -> f64 {
    let (left, top) = (x.floor(), y.floor());
    let smooth = |t: f64| t * t * (3.0 - 2.0 * t);
    let (across, down) = (smooth(x - left), smooth(y - top));
    let corner = |dx, dy| lattice(left as i64 + dx, top as i64 + dy, seed);
    let upper = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * across;
    let lower = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * across;
    upper + (lower - upper) * down
}

/// Noise over noise, each twice as fine and half as strong.
fn fractal_noise(x: f64, y: f64, octaves: u64) -> f64 {
    let octave = |n: u64| noise(x * (1 << n) as f64, y * (1 << n) as f64, n) / (2 << n) as f64;
    (0..octaves).map(octave).sum()
}

fn clouds(width: u32, height: u32) -> DynamicImage {
    draw(width, height, |x, y| {
        let sky = mix([0.16, 0.38, 0.72], [0.62, 0.8, 0.95], y);
        let cover = ((fractal_noise(x * 5.0, y * 7.0, 6) - 0.42) * 3.2).clamp(0.0, 1.0);
        mix(sky, [0.98, 0.97, 0.95], cover)
    })
}

fn marble(width: u32, height: u32) -> DynamicImage {
    draw(width, height, |x, y| {
        let vein = (TAU * (x * 2.0 + y + fractal_noise(x * 4.0, y * 4.0, 5) * 3.0)).sin().abs();
        mix([0.28, 0.3, 0.33], [0.93, 0.91, 0.88], vein.powf(0.6))
    })
}

/// Each point has the colour of the nearest of a few hundred scattered ones.
fn mosaic(width: u32, height: u32) -> DynamicImage {
    draw(width, height, |x, y| {
        let (x, y) = (x * 18.0, y * 18.0);
        let (column, row) = (x.floor() as i64, y.floor() as i64);
        let mut nearest = (f64::MAX, 0.0);
        for (i, j) in (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (column + dx, row + dy))) {
            let (dx, dy) = (i as f64 + lattice(i, j, 1) - x, j as f64 + lattice(i, j, 2) - y);
            let distance = dx * dx + dy * dy;
            if distance < nearest.0 {
                nearest = (distance, lattice(i, j, 3));
            }
        }
        palette((nearest.1 * 12.0).floor() / 24.0)
    })
}

fn dusk(width: u32, height: u32) -> DynamicImage {
    draw(width, height, |x, y| {
        let height = 0.75 - y;
        let ridge = 0.2 + 0.04 * (x * 9.0).sin() + 0.02 * (x * 23.0).sin();
        if height < ridge {
            return [0.08, 0.07, 0.13];
        }
        let sun = (x - 0.68).hypot(height - 0.33);
        if sun < 0.06 { [1.0, 0.86, 0.6] } else { mix([0.96, 0.5, 0.3], [0.14, 0.13, 0.36], height / 0.75) }
    })
}

fn ripples(width: u32, height: u32) -> DynamicImage {
    draw(width, height, |x, y| {
        let wave = |from: (f64, f64), length: f64| ((x - from.0).hypot(y - from.1) * TAU / length).cos();
        let water = (wave((0.3, 0.3), 0.05) + wave((0.75, 0.45), 0.06)) / 4.0 + 0.5;
        // In steps, so that the lossless format stays small.
        mix([0.05, 0.2, 0.35], [0.6, 0.85, 0.9], (water * 12.0).round() / 12.0)
    })
}

/// A disc whose opacity fades towards its rim: the one that is transparent.
fn lens(width: u32, height: u32) -> DynamicImage {
    RgbaImage::from_fn(width, height, |x, y| {
        let (dx, dy) = (f64::from(x) - f64::from(width) / 2.0, f64::from(y) - f64::from(height) / 2.0);
        let distance = dx.hypot(dy) / (f64::from(height) / 2.0);
        let [red, green, blue] = palette(dy.atan2(dx) / TAU).map(shade);
        Rgba([red, green, blue, shade((1.0 - distance) * 2.5)])
    })
    .into()
}
