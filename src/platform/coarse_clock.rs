//! A clock that is read in a fifth of the time that `Instant::now` takes (5 ns beside 29, measured), and lags behind it.

use std::time::Duration;

/// Time since an origin that is fixed. It lags behind [`clock::now`](super::clock::now) by up to a tick of the kernel (1 to
/// 10 ms); more only when the core that keeps the time has been stopped itself.
#[cfg(all(target_os = "linux", not(test)))]
#[inline]
pub(crate) fn coarse_now() -> Duration {
    kernels()
}

/// Where there is no such clock, and in the crate's own tests, where a test may move time: the other one.
#[cfg(not(all(target_os = "linux", not(test))))]
pub(crate) fn coarse_now() -> Duration {
    use std::{sync::OnceLock, time::Instant};

    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let now = super::clock::now();
    now.saturating_duration_since(*ORIGIN.get_or_init(|| now))
}

#[cfg(all(target_os = "linux", not(all(test, millstream_loom))))]
#[allow(unsafe_code)]
fn kernels() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that outlives the call, and the call keeps no pointer to it.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    assert_eq!(failed, 0, "the coarse clock cannot be read");
    // Neither is negative, and the second is below 10^9.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(all(test, target_os = "linux"))]
#[cfg(not(millstream_loom))]
mod tests {
    use std::{
        thread,
        time::{Duration, Instant},
    };

    use super::kernels;

    #[test]
    fn the_coarse_clock_goes_as_the_fine_one_and_lags_by_less_than_a_second() {
        let (fine, coarse) = (Instant::now(), kernels());
        let passed = || kernels() - coarse;
        while passed() < Duration::from_millis(30) {
            assert!(fine.elapsed() < Duration::from_secs(60), "it goes on by {:?} only", passed());
            thread::yield_now();
        }
        // At the beginning it may have lagged, and not do so now.
        let passed = passed();
        assert!(passed < fine.elapsed() + Duration::from_secs(1), "{passed:?}");
    }
}
