//! How HTTP/2 windows go together, so that honest clients that trickle are never cut off.
//!
//! h2 charges every unread DATA frame of `s` bytes, 0 < s < 256, with 256 − s, and ends the whole connection with
//! GOAWAY `too_many_data_frames` once the charge is above half of the connection window. A stream that is not being
//! read holds at most its window W in frames of `s` bytes, which is W / s of them; S streams hold S times that. So
//!
//! > S × W / s × (256 − s) ≤ connection window / 2
//!
//! keeps every client that sends frames of at least `s` bytes. The smallest frame that an honest client sends is
//! an empty message, which is its five bytes of prefix: [`SMALLEST_FRAME`]. Whoever cuts its messages into still
//! smaller frames, and is not being read, is cut off.
//!
//! The connection window is a credit, not memory: what a connection can make the server hold, unread, is bounded by
//! the windows of its streams. That is S × W bytes of payload, 8 MiB by default, when the frames are large; small
//! frames cost more to hold than they carry, 264 bytes each (measured), so that 128 streams of 64 KiB full of empty
//! messages hold 424 MiB. Whoever serves strangers makes S × W smaller.

use crate::ConfigError;

/// Bytes of the smallest DATA frame for which the windows must hold: an empty message.
pub(super) const SMALLEST_FRAME: u64 = 5;
/// A DATA frame below this many bytes is charged with what it lacks (h2, `DEFAULT_DATA_FRAME_OVERHEAD_THRESHOLD`).
const CHARGED_BELOW: u64 = 256;
/// The least that h2 allows a connection, whatever its window (h2, `DEFAULT_DATA_FRAME_BUDGET`).
const LEAST_BUDGET: u64 = 25_600;
/// The largest window that HTTP/2 knows (RFC 9113, 6.9.1).
pub(super) const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// What `streams` unread streams with windows of `window` bytes, filled with frames of `frame` bytes, are charged.
const fn unread_charge(streams: u64, window: u64, frame: u64) -> u64 {
    let frames = streams.saturating_mul(window) / frame;
    frames.saturating_mul(CHARGED_BELOW.saturating_sub(frame))
}

/// What a connection may be charged before it is ended.
const fn budget(connection_window: u64) -> u64 {
    let half = connection_window / 2;
    if half > LEAST_BUDGET { half } else { LEAST_BUDGET }
}

/// Checks that the windows hold for [`SMALLEST_FRAME`] at the given number of streams.
pub(super) fn check(streams: u32, stream_window: u32, connection_window: u32) -> Result<(), ConfigError> {
    let charge = unread_charge(streams.into(), stream_window.into(), SMALLEST_FRAME);
    let budget = budget(connection_window.into());
    if charge <= budget {
        return Ok(());
    }
    let most = budget * SMALLEST_FRAME / (CHARGED_BELOW - SMALLEST_FRAME);
    Err(ConfigError {
        field: "server.connection_window",
        value: connection_window.to_string(),
        expected: format!(
            "{streams} streams (max_concurrent_streams) of {stream_window} bytes (stream_window) that hold unread \
             frames of {SMALLEST_FRAME} bytes are charged {charge} by HTTP/2's flood protection, above its budget \
             of {budget}; make max_concurrent_streams × stream_window at most {most}, or the connection window \
             at least {} (at most {LARGEST_WINDOW})",
            charge.saturating_mul(2),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charge_is_what_h2_takes_for_unread_frames() {
        // The figures of the reports that this answers: 100 streams of 64 KiB with frames of 64 bytes fit a window of
        // 64 MiB, with frames of 15 bytes they do not.
        assert_eq!(unread_charge(100, 65_536, 64), 100 * 1024 * 192);
        assert!(unread_charge(100, 65_536, 64) <= budget(64 << 20));
        assert!(unread_charge(100, 65_536, 15) > budget(64 << 20));
        assert_eq!(unread_charge(128, 65_536, 256), 0);
        assert_eq!(unread_charge(128, 65_536, 16_384), 0);
    }

    #[test]
    fn a_small_connection_window_still_has_the_least_budget() {
        assert_eq!(budget(0), 25_600);
        assert_eq!(budget(51_200), 25_600);
        assert_eq!(budget(51_202), 25_601);
    }

    #[test]
    fn the_bound_itself_is_accepted_and_one_byte_less_is_not() {
        let charge = unread_charge(8, 16_384, SMALLEST_FRAME);
        let least = u32::try_from(charge * 2).unwrap();
        assert_eq!(check(8, 16_384, least), Ok(()));
        let error = check(8, 16_384, least - 2).unwrap_err();
        assert_eq!(error.field, "server.connection_window");
        assert!(error.expected.contains(&format!("at least {least}")), "{error}");
    }

    #[test]
    fn absurd_figures_do_not_overflow() {
        assert!(check(u32::MAX, u32::MAX, u32::MAX).is_err());
    }
}
