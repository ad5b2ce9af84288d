//! Raised priority, for the threads that measure.

use std::io;

/// The nice value where real time is not to be had.
const NICE: libc::c_int = -10;

/// The priority of a pacer in real time: the lowest there is.
pub(crate) const REAL_TIME: libc::c_int = 1;

/// Raises the calling thread: real time at its lowest priority, or a negative nice value, or what it has already. A run
/// where that did not do shows it in the lateness of its pacer.
#[allow(unsafe_code)]
pub(crate) fn raise() {
    if real_time(REAL_TIME).is_ok() {
        return;
    }
    // SAFETY: takes no pointer; on Linux 0 names the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0 {
        eprintln!("the priority of the pacer stays as it is: {}", io::Error::last_os_error());
    }
}

/// Puts the calling thread into real time.
///
/// # Errors
/// Where that takes a privilege that the process does not have.
#[allow(unsafe_code)]
pub(crate) fn real_time(priority: libc::c_int) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: 0 names the calling thread, and `parameters` outlives the call, which only reads it.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
