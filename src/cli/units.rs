//! Sizes and durations as people write them.

use std::{net::SocketAddr, time::Duration};

use humantime_serde::re::humantime;

/// Binary units first: they are what memory comes in.
const UNITS: [(&str, u64); 12] = [
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1_000),
    ("m", 1_000_000),
];

/// What would be right where a number is wanted.
pub(crate) const A_SIZE: &str = "a whole number, or a size such as \"4KiB\" or \"20MiB\"";
/// What would be right where a duration is wanted.
pub(crate) const A_DURATION: &str = "a duration with its unit, such as \"10ms\", \"5s\" or \"2m\"";
/// What would be right where it is said where to listen.
pub(crate) const AN_ADDRESS: &str = "an IP address and a port, such as \"127.0.0.1:50051\" or \"[::1]:0\"";

/// Bytes, or any whole number: `4096`, `4_096`, `4KiB`, `20 MiB`, `1MB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not {A_SIZE}");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let number: u64 = number.replace('_', "").parse().map_err(|_| wrong())?;
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    number.checked_mul(*factor).ok_or_else(|| format!("`{text}` is above {} bytes", u64::MAX))
}

/// `10ms`, `1m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("`{text}` is not {A_DURATION}"))
}

/// `127.0.0.1:50051`.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("it is not {AN_ADDRESS}"))
}

/// `12.3 ms`: three digits are what a reader takes in.
pub(crate) fn show_nanoseconds(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    let (value, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (value / 1e3, "µs"),
        1_000_000..1_000_000_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

/// `1.5 MiB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_every_spelling() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1_000", 1000),
            ("4KiB", 4096),
            ("20 MiB", 20 << 20),
            ("1gib", 1 << 30),
            ("10k", 10_000),
            ("1MB", 1_000_000),
            ("7B", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_says_what_would_be() {
        for text in ["", "KiB", "-1", "1.5MiB", "4 parsecs", "0x10"] {
            assert!(size(text).unwrap_err().contains("\"4KiB\""), "{text}");
        }
        assert!(size("99999999TiB").unwrap_err().contains("above"));
    }

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(
            duration("10").unwrap_err(),
            "`10` is not a duration with its unit, such as \"10ms\", \"5s\" or \"2m\""
        );
    }

    #[test]
    fn figures_are_shown_short() {
        let shown = [999, 1_234, 12_345, 123_456_789, 61_000_000_000].map(show_nanoseconds);
        assert_eq!(shown, ["999 ns", "1.23 µs", "12.3 µs", "123 ms", "61.0 s"]);
        assert_eq!([1023, 1536, 3 << 30].map(show_bytes), ["1023 B", "1.5 KiB", "3.0 GiB"]);
    }
}
