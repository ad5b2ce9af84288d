//! What the clock said last, as long as the core's own counter has not gone far since: 6 ns where the clock takes 28,
//! measured.
//!
//! How fast the counter goes nobody has to know, only that it goes on at one pace, whatever the core does. A thread that is
//! stopped in between, or moved to another core, finds that the counter went on.

use std::{
    arch::x86_64::{__cpuid, _rdtsc},
    cell::Cell,
    time::Instant,
};

use once_cell::race::OnceBool;

/// A quarter of a millisecond at 1 GHz, and no counter that is fit for this goes half as fast.
const FEW: u64 = 1 << 18;

thread_local! {
    static LAST: Cell<Option<(u64, Instant)>> = const { Cell::new(None) };
}

/// This moment, or one that is less than half a millisecond past.
#[allow(unsafe_code)]
#[inline]
pub(crate) fn recently() -> Instant {
    // SAFETY: every x86-64 has it, and it only reads.
    let ticks = unsafe { _rdtsc() };
    match LAST.get() {
        Some((then, moment)) if ticks.wrapping_sub(then) < FEW => moment,
        _ => read(ticks),
    }
}

#[cold]
fn read(ticks: u64) -> Instant {
    let moment = Instant::now();
    LAST.set(goes_on().then_some((ticks, moment)));
    moment
}

/// Whether the counter goes on at the same pace whatever the core does, and sleeps.
fn goes_on() -> bool {
    const POWER: u32 = 0x8000_0007;
    static GOES_ON: OnceBool = OnceBool::new();
    GOES_ON.get_or_init(|| __cpuid(0x8000_0000).eax >= POWER && __cpuid(POWER).edx >> 8 & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_read_a_short_while_ago_is_within_half_a_millisecond() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let (mut read, mut last) = (0, None);
        while read < 20 {
            assert!(Instant::now() < deadline, "it does not go on");
            let before = Instant::now();
            let moment = recently();
            assert!(moment <= Instant::now());
            assert!(before.saturating_duration_since(moment) < Duration::from_micros(500));
            assert!(last.is_none_or(|last| last <= moment));
            read += usize::from(last != Some(moment));
            last = Some(moment);
        }
    }
}
