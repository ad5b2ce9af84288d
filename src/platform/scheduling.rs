//! How much of a contended core a thread gets.

use std::io;

/// Makes the calling thread give way to others: 0 is the usual, 19 the most.
///
/// # Errors
/// The platform refuses, or has no such thing for a single thread.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn give_way(niceness: u8) -> io::Result<()> {
    // SAFETY: `setpriority` takes three integers and touches no memory of ours. On Linux niceness belongs to a thread, and
    // 0 names the calling one.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness.into()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// See above.
///
/// # Errors
/// Always: elsewhere niceness belongs to the process.
#[cfg(not(target_os = "linux"))]
pub(crate) fn give_way(_niceness: u8) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
