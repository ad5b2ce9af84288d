//! CPU time of processes that were started from here.

use std::{mem::MaybeUninit, time::Duration};

use crate::clock::process_cpu;

/// What a bench has used so far: this process, and those from here once they have ended.
pub(crate) fn own_cpu() -> Duration {
    process_cpu() + children_cpu()
}

/// Of all that have ended and were waited for.
#[allow(unsafe_code)]
fn children_cpu() -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` has room for what the call writes, and outlives it.
    let failed = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    assert_eq!(failed, 0, "the usage of children cannot be read");
    // SAFETY: the call has succeeded, and so has written all of it.
    let usage = unsafe { usage.assume_init() };
    let time = |value: libc::timeval| {
        Duration::from_secs(value.tv_sec as u64) + Duration::from_micros(value.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}
