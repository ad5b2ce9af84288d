//! How much of a contended core a thread gets, and how much it had.

use std::{io, time::Duration};

#[cfg(all(test, target_os = "linux", not(millstream_loom)))]
use super::stage;
use super::whereabouts::ThreadNumber;

/// Gives a thread of this process, or the calling one, the lowest scheduling class, SCHED_IDLE: it runs when nobody else
/// wants the core, and leaves it the moment somebody does. No privilege is needed to enter it; to leave it, there is.
///
/// # Errors
/// The platform refuses; then the thread has the highest niceness, if that was not refused as well.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn give_way_wholly(thread: Option<ThreadNumber>) -> io::Result<()> {
    // In a simulation classes mean nothing: its seed says who runs.
    #[cfg(test)]
    #[cfg(not(millstream_loom))]
    if stage::virtual_time().is_some() {
        return Ok(());
    }
    let id = thread.map_or(0, ThreadNumber::get);
    // SAFETY: all bits zero are a value of this struct of integers; `musl` has more fields than the one that counts.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: `parameters` outlives the call, which only reads it; on Linux the number of a thread names
    // that thread, and 0 the calling one.
    if unsafe { libc::sched_setscheduler(id.cast_signed(), libc::SCHED_IDLE, &raw const parameters) } == 0 {
        return Ok(());
    }
    let refused = io::Error::last_os_error();
    // SAFETY: as in `give_way`. Its outcome changes nothing: the refusal above is what is reported.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, id, LEAST) };
    Err(refused)
}

/// See above.
///
/// # Errors
/// Always: there is no such class.
#[cfg(not(target_os = "linux"))]
pub(crate) fn give_way_wholly(_thread: Option<ThreadNumber>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The highest niceness.
#[cfg(target_os = "linux")]
const LEAST: libc::c_int = 19;

/// CPU time that a thread of this process has used; `None` where that cannot be seen from outside.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn cpu_time_of(thread: ThreadNumber) -> Option<Duration> {
    /// How Linux names the clock of a thread: the number's complement above three bits that say "a thread's" and
    /// "what the scheduler counts" (`CPUCLOCK_PERTHREAD_MASK` and `CPUCLOCK_SCHED`).
    const KIND: libc::clockid_t = 4 | 2;
    // In a simulation every thread has a core of its own whenever time passes.
    #[cfg(test)]
    #[cfg(not(millstream_loom))]
    if let time @ Some(_) = stage::virtual_time() {
        return time;
    }
    let clock = !thread.get().cast_signed() << 3 | KIND;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that outlives the call, and the call keeps no pointer to it.
    match unsafe { libc::clock_gettime(clock, &raw mut time) } {
        0 => Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?)),
        _ => None,
    }
}

/// See above.
#[cfg(not(target_os = "linux"))]
pub(crate) fn cpu_time_of(_thread: ThreadNumber) -> Option<Duration> {
    None
}

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
