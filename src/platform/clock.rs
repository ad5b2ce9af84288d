//! The clock of the data plane: the platform's monotonic one, or, in the crate's own tests, the one of the tokio runtime
//! that the thread has entered. Where that one is paused, time moves only when a test moves it, and the timers of tokio
//! and the data plane agree about it on every thread.

use std::time::Instant;

/// This moment.
#[cfg(not(all(test, not(millstream_loom))))]
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// This moment, or one that is less than half a millisecond past: for what is done so often that reading the clock counts (a
/// third of the time, measured).
#[cfg(not(all(target_arch = "x86_64", not(any(test, miri)))))]
#[inline]
pub(crate) fn recently() -> Instant {
    now()
}

#[cfg(all(target_arch = "x86_64", not(any(test, miri))))]
pub(crate) use self::ticks::recently;

/// What was read last, as long as the core's own counter has not gone far since.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod ticks {
    use std::{
        arch::x86_64::{__cpuid, _rdtsc},
        cell::Cell,
        sync::OnceLock,
        time::Instant,
    };

    /// A quarter of a millisecond at 1 GHz, and no counter that is fit for this is slower by half.
    const FEW: u64 = 1 << 18;

    thread_local! {
        static LAST: Cell<Option<(u64, Instant)>> = const { Cell::new(None) };
    }

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
        static GOES_ON: OnceLock<bool> = OnceLock::new();
        *GOES_ON.get_or_init(|| __cpuid(0x8000_0000).eax >= POWER && __cpuid(POWER).edx >> 8 & 1 == 1)
    }

    #[cfg(test)]
    #[cfg(not(millstream_loom))]
    mod tests {
        use std::time::Duration;

        use super::*;

        #[test]
        fn what_was_read_a_short_while_ago_is_within_half_a_millisecond() {
            let until = Instant::now() + Duration::from_millis(20);
            let (mut read, mut last) = (0, None);
            while Instant::now() < until {
                let before = Instant::now();
                let moment = recently();
                assert!(moment <= Instant::now());
                assert!(before.saturating_duration_since(moment) < Duration::from_micros(500));
                assert!(last.is_none_or(|last| last <= moment));
                read += usize::from(last != Some(moment));
                last = Some(moment);
            }
            assert!(read > 1, "it goes on");
        }
    }
}

/// This moment, as the runtime has it; outside of one, as the platform has it.
#[cfg(all(test, not(millstream_loom)))]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::platform::sources;

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_stands_still_for_everybody_who_has_entered_its_runtime() {
        let start = now();
        let runtime = tokio::runtime::Handle::current();
        let elsewhere = std::thread::spawn(move || {
            let _entered = runtime.enter();
            now()
        });
        assert_eq!(elsewhere.join().unwrap(), start);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(now(), start + Duration::from_secs(1));
    }

    #[test]
    fn nothing_in_the_data_plane_reads_another_clock() {
        let mut files = sources::below("grpc/performance");
        assert!(files.len() > 40, "{} files", files.len());
        // It keeps its thread busy for microseconds, and has to end though a test holds the clock still.
        files.retain(|(path, _)| !path.ends_with("worker_pool/lookout.rs"));
        files.retain(|(_, code)| code.contains("Instant::now()") || code.contains(".elapsed()"));
        let files: Vec<_> = files.into_iter().map(|(path, _)| path).collect();
        assert!(files.is_empty(), "these read the platform's clock, not `platform::clock`: {files:?}");
    }
}
