//! The stack of another thread of this process, by functions: what a handler is stuck in.
//!
//! A stack can be walked only while it stands still, and whoever walks it takes locks: those of the loader and of the
//! allocator, which the very thread may hold that is to be seen. So the thread itself does next to nothing. It is sent a
//! signal, whose handler hands out its registers and a copy of the innermost part of its stack, and goes on. Walking the
//! copy, and finding names for its addresses, is done elsewhere, at leisure, by code that reads nothing but the copy and the
//! files that the process was loaded from: whatever is wrong in them makes a wrong report at most.
//!
//! - `inquiry`: who asks whom, and who may write into which pipe; one inquiry at a time, in the process.
//! - `linux/signal`: the signal, its handler, and all that is unsafe here.
//! - `linux/walk`: from the copy to addresses, by the tables for unwinding; `linux/names`: from addresses to functions;
//!   `linux/binaries`: the files that have both.
//!
//! **Nobody waits.** A thread that does not answer (it never gets a core, or the kernel does not let it) is given up after
//! a while. Whoever asks does it on a thread of its own, where it takes its turn.
//!
//! **What the thread that is asked may notice.** A system call that is interrupted goes on by itself (`SA_RESTART`), but for
//! those few that Linux ends with EINTR after any signal (`poll`, `epoll_wait`, `nanosleep`; `signal(7)` lists them). A
//! handler is asked only when its message has been answered for, and its thread is to end.
//!
//! **The signal** is the highest real-time one for which nobody has a handler when the first thread is asked; the handler
//! stays. Whoever takes it over later has it: it is not sent any more. Where all threads block all signals there are no
//! stacks, and a binary that is stripped has places in its file instead of names.
//!
//! Elsewhere than on Linux on x86_64 and aarch64, and without the feature `stacks`, there are none.

#[cfg(any(
    all(test, millstream_loom),
    all(
        feature = "stacks",
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(any(miri, millstream_loom, millstream_shuttle))
    )
))]
mod inquiry;
#[cfg(all(
    feature = "stacks",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(miri, millstream_loom, millstream_shuttle))
))]
mod linux;

use super::whereabouts::ThreadNumber;

/// Where a thread's stack was when it began: what is called from there lies below.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base(usize);

impl Base {
    /// The caller's.
    #[inline(always)]
    pub(crate) fn here() -> Self {
        let here = 0_u8;
        Self((&raw const here).addr())
    }
}

#[cfg(not(all(
    feature = "stacks",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(miri, millstream_loom, millstream_shuttle))
)))]
mod linux {
    /// There are none here.
    pub(super) const AVAILABLE: bool = false;

    pub(super) fn of(_: super::ThreadNumber, _: usize) -> Option<String> {
        None
    }
}

/// Whether it is worth a thread to ask. In a simulation it is not: there the threads are of the test's making.
pub(crate) fn is_available() -> bool {
    #[cfg(test)]
    #[cfg(not(millstream_loom))]
    if super::stage::virtual_time().is_some() {
        return false;
    }
    linux::AVAILABLE
}

/// The functions that a thread of this process is in, innermost first. `None` if
/// it does not answer. One is asked after the other, and each may take seconds.
pub(crate) fn of(thread: ThreadNumber, base: Base) -> Option<String> {
    linux::of(thread, base.0)
}
