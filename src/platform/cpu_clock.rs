//! How much CPU time the calling thread has used: unlike the wall clock, it stands still while the thread is off its
//! core, so that work measured by it is the same work on a busy machine.

use std::time::Duration;

/// CPU time of the calling thread, from an origin that is fixed for the thread.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that outlives the call, and the call keeps no pointer to it.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "the thread's own CPU clock cannot be read");
    let seconds = u64::try_from(time.tv_sec).expect("a CPU clock counts up from zero");
    let nanoseconds = u32::try_from(time.tv_nsec).expect("the kernel keeps it below 10^9");
    Duration::new(seconds, nanoseconds)
}

/// Where there is no such clock: the monotonic clock, which counts the time off the core too.
#[cfg(not(target_os = "linux"))]
pub(crate) fn thread_cpu_time() -> Duration {
    use std::{sync::OnceLock, time::Instant};

    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use std::{
        hint::black_box,
        sync::mpsc,
        time::{Duration, Instant},
    };

    use super::thread_cpu_time;

    #[test]
    fn the_clock_moves_while_the_thread_works() {
        let start = thread_cpu_time();
        let deadline = Instant::now() + Duration::from_secs(10);
        while thread_cpu_time() - start < Duration::from_millis(2) {
            assert!(Instant::now() < deadline, "10 s of work did not move the clock by 2 ms");
            black_box(start);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_clock_stands_still_while_the_thread_waits() {
        let (_keep, nothing) = mpsc::channel::<()>();
        let start = thread_cpu_time();
        nothing.recv_timeout(Duration::from_millis(50)).expect_err("nobody sends");
        assert!(thread_cpu_time() - start < Duration::from_millis(25));
    }
}
