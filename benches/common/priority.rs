//! Raised priority, for the threads that measure.

use std::io;

/// The nice value where real time is not to be had.
const NICE: libc::c_int = -10;

/// Raises the calling thread: real time at its lowest priority, or a negative nice value, or what it has already. A run
/// where that did not do shows it in the lateness of its pacer.
#[allow(unsafe_code)]
pub(crate) fn raise() {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: 0 names the calling thread, and `parameters` outlives the call, which only reads it.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } == 0 {
        return;
    }
    // SAFETY: takes no pointer; on Linux 0 names the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0 {
        eprintln!("the priority of the pacer stays as it is: {}", io::Error::last_os_error());
    }
}
