//! Drawings as inline SVG: percentile curves, and bars.
//!
//! Colours come from the page's style sheet, by class, so that a drawing follows its light and dark themes.

use std::fmt::Write;

use crate::words::time;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;

/// The quantiles that the axis of the percentile curves names, up to its end.
const TICKS: [(f64, &str); 6] =
    [(0.0, "0%"), (0.5, "50%"), (0.9, "90%"), (0.95, "95%"), (0.99, "99%"), (0.999, "99.9%")];

/// What the axis of times begins below: curves that come from further below begin at its end.
const LOWEST: f64 = 0.25;

/// One curve of times in microseconds by quantile.
pub(crate) struct Curve<'a> {
    pub(crate) name: &'a str,
    pub(crate) class: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// One bar.
pub(crate) struct Bar<'a> {
    pub(crate) name: &'a str,
    pub(crate) class: String,
    pub(crate) value: f64,
    pub(crate) label: String,
}

/// Times by quantile, both axes logarithmic: to the right by how few messages are slower, as in an HDR plot.
pub(crate) fn percentiles(curves: &[Curve<'_>]) -> String {
    let last = TICKS[TICKS.len() - 1].0;
    let shown = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        points.iter().copied().filter(|(quantile, _)| *quantile <= last).collect()
    };
    let points = || curves.iter().flat_map(|curve| shown(&curve.points));
    let values = || points().map(|(_, us)| us.max(0.1).log10());
    // The quickest few, which take next to nothing, would leave the tail a corner of the drawing.
    let slower = points().filter(|(quantile, _)| *quantile >= LOWEST).map(|(_, us)| us.max(0.1).log10());
    let low = slower.fold(f64::INFINITY, f64::min).floor();
    let high = values().fold(f64::NEG_INFINITY, f64::max).ceil().max(low + 1.0);
    let rarity = |quantile: f64| -(1.0 - quantile).log10();
    let x = |quantile: f64| LEFT + (WIDTH - LEFT - RIGHT) * rarity(quantile) / rarity(last);
    let y = |log: f64| TOP + (HEIGHT - TOP - BOTTOM) * (high - log) / (high - low);

    let mut svg = open(HEIGHT, "sojourn time by percentile, both axes logarithmic");
    for decade in low as i32..=high as i32 {
        let height = y(f64::from(decade));
        element(
            &mut svg,
            format_args!(
                r#"<line class="grid" x1="{LEFT}" x2="{}" y1="{height:.1}" y2="{height:.1}"/><text class="tick" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                WIDTH - RIGHT,
                LEFT - 8.0,
                height + 4.0,
                round_time(10f64.powi(decade))
            ),
        );
    }
    for (quantile, name) in TICKS {
        let across = x(quantile);
        element(
            &mut svg,
            format_args!(
                r#"<line class="grid" x1="{across:.1}" x2="{across:.1}" y1="{TOP}" y2="{}"/><text class="tick" x="{across:.1}" y="{}" text-anchor="middle">{name}</text>"#,
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 18.0
            ),
        );
    }
    element(
        &mut svg,
        format_args!(
            r#"<text class="axis" x="{:.0}" y="{}" text-anchor="middle">share of the messages that were answered within</text>"#,
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0
        ),
    );
    for curve in curves {
        let path: Vec<String> = shown(&curve.points)
            .iter()
            .map(|&(quantile, us)| format!("{:.1},{:.1}", x(quantile), y(us.max(0.1).log10().max(low))))
            .collect();
        element(
            &mut svg,
            format_args!(
                r#"<polyline class="curve {}" points="{}"><title>{}</title></polyline>"#,
                curve.class,
                path.join(" "),
                curve.name
            ),
        );
    }
    svg + "</svg>"
}

/// Horizontal bars, best first as they come, on a logarithmic scale where the values span more than a decade and a half.
pub(crate) fn bars(title: &str, bars: &[Bar<'_>]) -> String {
    const ROW: f64 = 24.0;
    const NAMES: f64 = 190.0;
    const LABELS: f64 = 90.0;
    let least = bars.iter().map(|bar| bar.value).filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let spread = most > 30.0 * least;
    let share = |value: f64| match spread {
        // The shortest bar is still to be seen.
        true => ((value / least).max(1.0).log10() + 0.2) / ((most / least).log10() + 0.2),
        false => value / most,
    };
    let height = ROW * bars.len() as f64 + 4.0;
    let mut svg = open(height, title);
    for (row, bar) in bars.iter().enumerate() {
        let top = ROW * row as f64 + 2.0;
        let length = (WIDTH - NAMES - LABELS) * share(bar.value).clamp(0.0, 1.0);
        element(
            &mut svg,
            format_args!(
                r#"<text class="name" x="{}" y="{}" text-anchor="end">{}</text><rect class="bar {}" x="{NAMES}" y="{}" width="{length:.1}" height="{}" rx="3"/><text class="label" x="{:.1}" y="{}">{}</text>"#,
                NAMES - 10.0,
                top + 16.0,
                bar.name,
                bar.class,
                top + 3.0,
                ROW - 6.0,
                NAMES + length + 8.0,
                top + 16.0,
                bar.label
            ),
        );
    }
    let scale = if spread { " (logarithmic)" } else { "" };
    format!("<figure><figcaption>{title}{scale}</figcaption>{svg}</svg></figure>")
}

fn open(height: f64, what: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{what}">"#)
}

fn element(svg: &mut String, arguments: std::fmt::Arguments<'_>) {
    svg.write_fmt(arguments).expect("a string takes all");
}

/// A power of ten of microseconds.
fn round_time(microseconds: f64) -> String {
    match microseconds {
        us if us < 1000.0 => format!("{us} µs"),
        us if us < 1e6 => format!("{} ms", us / 1e3),
        us => time(us).replace(".0", ""),
    }
}
