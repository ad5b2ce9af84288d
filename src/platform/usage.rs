//! What a thread has had of its core, and whether it ever left it by itself.

use std::time::Duration;

#[cfg(all(test, target_os = "linux", not(millstream_loom)))]
use super::stage;

/// Of one thread, since it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    cpu: Duration,
    /// Times that it waited for something.
    waits: u64,
}

impl Usage {
    /// Of the calling thread; `None` where the platform does not tell.
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    pub(crate) fn of_this_thread() -> Option<Self> {
        // In a simulation the real time of a thread means nothing.
        #[cfg(test)]
        #[cfg(not(millstream_loom))]
        if stage::virtual_time().is_some() {
            return None;
        }
        // SAFETY: all bits zero are a value of this struct of integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` is a valid `rusage` that outlives the call, and the call keeps no pointer to it.
        if unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) } != 0 {
            return None;
        }
        let cpu = time(usage.ru_utime)? + time(usage.ru_stime)?;
        Some(Self { cpu, waits: u64::try_from(usage.ru_nvcsw).ok()? })
    }

    /// See above.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of_this_thread() -> Option<Self> {
        None
    }

    /// CPU time since an earlier moment, if the thread has waited for nothing since; all that it was off its core, it was
    /// so for others.
    pub(crate) fn without_a_wait_since(self, earlier: Self) -> Option<Duration> {
        (self.waits == earlier.waits).then(|| self.cpu.saturating_sub(earlier.cpu))
    }
}

#[cfg(target_os = "linux")]
fn time(time: libc::timeval) -> Option<Duration> {
    const NANOSECONDS: u32 = 1_000;
    let microseconds = u32::try_from(time.tv_usec).ok()?;
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, microseconds * NANOSECONDS))
}

#[cfg(test)]
#[cfg(all(target_os = "linux", not(millstream_loom)))]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;
    use crate::platform::cpu_clock::thread_cpu_time;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn it_is_what_the_cpu_clock_says() {
        let deadline = Instant::now() + LONG;
        loop {
            let (before, clock) = (Usage::of_this_thread().unwrap(), thread_cpu_time());
            while thread_cpu_time() - clock < Duration::from_millis(5) {}
            let used = Usage::of_this_thread().unwrap().without_a_wait_since(before);
            let most = thread_cpu_time() - clock + Duration::from_millis(1);
            if let Some(used) = used {
                assert!((Duration::from_millis(4)..=most).contains(&used), "{used:?}");
                return;
            }
            // The kernel may have it wait for memory that others are about to change.
            assert!(Instant::now() < deadline, "it never works for 5 ms without a wait");
        }
    }

    #[test]
    fn who_waits_is_seen_to() {
        let (_keep, nothing) = mpsc::channel::<()>();
        let mut time = Duration::from_millis(5);
        loop {
            let before = Usage::of_this_thread().unwrap();
            nothing.recv_timeout(time).expect_err("nobody sends");
            if Usage::of_this_thread().unwrap().without_a_wait_since(before).is_none() {
                return;
            }
            // Who is stopped for all of that time before he falls asleep need not wait any more.
            assert!(time < LONG, "no wait is seen");
            time *= 2;
        }
    }
}
