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

/// This moment, or one that is less than half a millisecond past: for what is done so often that reading the clock counts.
#[cfg(not(all(target_arch = "x86_64", not(any(test, miri)))))]
#[inline]
pub(crate) fn recently() -> Instant {
    now()
}

#[cfg(all(target_arch = "x86_64", not(any(test, miri))))]
pub(crate) use self::ticks::recently;

#[cfg(all(target_arch = "x86_64", not(any(miri, all(test, millstream_loom)))))]
mod ticks;

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
