//! Stopping a thread for 5 ms: at an arbitrary instruction, by a signal, or where the thread itself allows it.
//!
//! The handler of SIGUSR1 sleeps. It does nothing but what POSIX allows a handler to do (`clock_gettime`, `nanosleep`,
//! stores to atomics), and restores `errno`. One pause goes on at a time: whoever [`Aim::fire`]s waits until it is over,
//! and is told when it began and ended.

#![allow(unsafe_code)]

use std::{
    io,
    mem::MaybeUninit,
    ptr,
    sync::{
        Once,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a thread is stopped.
pub(crate) const PAUSE_MS: u64 = 5;
/// A pause that has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(10);
const NANOS_PER_MS: u64 = 1_000_000;

static BEGAN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);
static PAUSES: AtomicUsize = AtomicUsize::new(0);

/// When a pause began and ended, on the clock of [`now`], in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

/// Where the thread is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Wherever it happens to be.
    AnyInstruction,
    /// Between two operations, where it holds nothing.
    Rest,
}

/// A thread that may be stopped. It registers itself with its first [`rest`](Aim::rest).
#[derive(Debug, Default)]
pub(crate) struct Aim {
    thread: AtomicU64,
    wanted: AtomicBool,
}

impl Aim {
    /// Called by the threads that may be stopped, between two operations; the first one that calls is the one.
    pub(crate) fn rest(&self) {
        // SAFETY: has no conditions.
        let this = unsafe { libc::pthread_self() };
        let aimed_at = self.thread.compare_exchange(0, this, SeqCst, SeqCst).unwrap_or(this);
        if (aimed_at == 0 || aimed_at == this) && self.wanted.load(SeqCst) {
            self.wanted.store(false, SeqCst);
            pause();
        }
    }

    /// Stops the thread, and waits until it goes on. The thread has to be alive, and calling [`rest`](Self::rest).
    pub(crate) fn fire(&self, at: At) -> Window {
        install();
        await_that("the thread to be stopped has begun", || self.thread.load(SeqCst) != 0);
        let before = PAUSES.load(SeqCst);
        match at {
            At::Rest => self.wanted.store(true, SeqCst),
            At::AnyInstruction => {
                // SAFETY: the thread registered itself, and the rig joins it only after the last shot.
                let error = unsafe { libc::pthread_kill(self.thread.load(SeqCst), libc::SIGUSR1) };
                assert_eq!(error, 0, "a thread that is alive can be signalled");
            }
        }
        await_that("the pause is over", || PAUSES.load(SeqCst) != before);
        Window { began: BEGAN.load(SeqCst), ended: ENDED.load(SeqCst) }
    }
}

fn await_that(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{PATIENCE:?} are over, and not yet true: {what}");
        thread::park_timeout(Duration::from_micros(200));
    }
}

/// Nanoseconds on the monotonic clock; may be called in a signal handler.
pub(crate) fn now() -> u64 {
    let mut time = MaybeUninit::uninit();
    // SAFETY: `time` is valid for writes, and CLOCK_MONOTONIC is a clock on every system that has signals.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr());
        time.assume_init()
    };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn pause() {
    let sleep = libc::timespec { tv_sec: 0, tv_nsec: (PAUSE_MS * NANOS_PER_MS) as i64 };
    BEGAN.store(now(), SeqCst);
    // SAFETY: `sleep` is valid for reads; the time that is left over is not asked for.
    unsafe { libc::nanosleep(&raw const sleep, ptr::null_mut()) };
    ENDED.store(now(), SeqCst);
    PAUSES.fetch_add(1, SeqCst);
}

extern "C" fn on_signal(_: libc::c_int) {
    // SAFETY: `errno` is this thread's own.
    unsafe {
        let errno = *libc::__errno_location();
        pause();
        *libc::__errno_location() = errno;
    }
}

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let handler: extern "C" fn(libc::c_int) = on_signal;
        // SAFETY: a zeroed `sigaction` is valid (no flags, nothing blocked); the handler does only what is safe in one.
        let result = unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut())
        };
        assert_eq!(result, 0, "SIGUSR1 can be handled: {}", io::Error::last_os_error());
    });
}
