//! How a thread is asked for its registers and its stack, and answers.
//!
//! **The handler** runs at an arbitrary instruction of the thread, maybe within the allocator or the loader. It asks for the
//! number of its thread, claims the [question](super::inquiry), writes into a pipe and restores `errno`: system calls and
//! atomics, no lock, no allocation, nothing of the C library that keeps state. The pipe never blocks it: what has no room is
//! left out. The copy is made by the kernel, so that it is no data race by the rules of the language, though others may
//! write to that stack meanwhile; and where a process would fault, the kernel says so.
//!
//! What is copied is what lies between the stack pointer and an address that the thread has given when it began: all of that
//! is there for as long as the thread is. Where its stack pointer is elsewhere (it is on a stack of its own making) the
//! registers are all there is.

use std::{
    io::{self, Read},
    mem,
    os::fd::AsRawFd,
    ptr,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use super::inquiry::{Inquiry, Question};
use crate::platform::whereabouts::ThreadNumber;

/// Of a stack, the innermost part that is looked at. A pipe may hold four times as much without a privilege.
const MOST: usize = 256 << 10;
/// Who has not answered by then never gets to run, and is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for the answer.
const LOOK: Duration = Duration::from_millis(2);

/// Made when the first thread is asked.
static INQUIRY: OnceLock<Inquiry> = OnceLock::new();

/// Where a thread was.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Registers {
    /// The next instruction.
    pub(super) pc: u64,
    /// The stack pointer.
    pub(super) sp: u64,
    /// The frame pointer, where the code has one.
    pub(super) fp: u64,
    /// Where the innermost function returns to, where the machine has a register for that.
    pub(super) lr: u64,
}

/// The registers, and the innermost part of the stack, from the stack pointer on.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) registers: Registers,
    pub(super) stack: Vec<u8>,
}

impl Snapshot {
    /// As the handler writes it.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (registers, stack) = bytes.split_at_checked(size_of::<Registers>())?;
        let mut words =
            registers.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")));
        let [pc, sp, fp, lr] = [(); 4].map(|()| words.next().expect("as many as there are registers"));
        Some(Self { registers: Registers { pc, sp, fp, lr }, stack: stack.to_vec() })
    }
}

/// Asks a thread, and waits for its answer; `None` when it gives none. One caller at a time.
pub(super) fn ask(thread: ThreadNumber, base: usize) -> Option<Snapshot> {
    let answer = answer_to(signal()?, thread, base);
    answer
        .inspect_err(|error| tracing::debug!(%thread, %error, "a thread cannot be asked for its stack"))
        .ok()?
}

fn answer_to(signal: libc::c_int, thread: ThreadNumber, base: usize) -> io::Result<Option<Snapshot>> {
    let (mut answer, pipe) = io::pipe()?;
    set_up(&pipe)?;
    let inquiry = INQUIRY.get_or_init(Inquiry::default);
    inquiry.ask(Question { thread: thread.get(), base: base as u64, pipe: pipe.as_raw_fd().cast_unsigned() });
    let sent = send(signal, thread);
    let deadline = Instant::now() + PATIENCE;
    while !inquiry.is_over() {
        // Once it answers it has nothing to wait for but a core.
        if (sent.is_err() || Instant::now() >= deadline) && inquiry.withdraw() {
            return sent.map(|()| None);
        }
        thread::park_timeout(LOOK);
    }
    // From here on nobody has the number of the pipe.
    drop(pipe);
    let mut bytes = Vec::with_capacity(MOST);
    answer.read_to_end(&mut bytes)?;
    Ok(Snapshot::from_bytes(&bytes))
}

/// Makes the pipe large, as far as the system allows, and such that a write never waits.
#[allow(unsafe_code)]
fn set_up(pipe: &impl AsRawFd) -> io::Result<()> {
    let room = libc::c_int::try_from(2 * MOST).expect("it is less than a gigabyte");
    // SAFETY: these commands take a descriptor, which is open, and a number; they touch no memory of ours. Where the first
    // is refused the pipe is as large as pipes are.
    let refused = unsafe {
        libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, room);
        libc::fcntl(pipe.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK)
    };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends the signal to one thread of this process, if it is still ours.
#[allow(unsafe_code)]
fn send(signal: libc::c_int, thread: ThreadNumber) -> io::Result<()> {
    if disposition(signal, None)?.sa_sigaction != handler_address() {
        return Err(io::Error::other("the signal has another handler by now"));
    }
    // SAFETY: the call takes three numbers. It reaches a thread of this process or none, and the handler ends well in each.
    match unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread.get(), signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn handler_address() -> libc::sighandler_t {
    answer as *const () as libc::sighandler_t
}

/// The signal that has our handler, which is given to it when it is first needed; `None` where all have others.
fn signal() -> Option<libc::c_int> {
    static SIGNAL: OnceLock<Option<libc::c_int>> = OnceLock::new();
    *SIGNAL.get_or_init(|| (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev().find(|&signal| occupy(signal)))
}

/// Sets the handler for a signal that has none.
#[allow(unsafe_code)]
fn occupy(signal: libc::c_int) -> bool {
    let is_default = |action: &libc::sigaction| action.sa_sigaction == libc::SIG_DFL;
    if !disposition(signal, None).is_ok_and(|action| is_default(&action)) {
        return false;
    }
    // SAFETY: all bits zero are a value of this struct of integers, with an empty mask.
    let mut ours: libc::sigaction = unsafe { mem::zeroed() };
    ours.sa_sigaction = handler_address();
    // On the stack that std gives each thread for signals: that of the handler may be nearly used up.
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    match disposition(signal, Some(&ours)) {
        Ok(before) if is_default(&before) => true,
        Ok(before) => {
            // Somebody has come between the two calls. Should giving it back fail, the signal is ours against our will.
            disposition(signal, Some(&before)).is_err()
        }
        Err(_) => false,
    }
}

/// What happens at a signal; and what is to happen from now on.
#[allow(unsafe_code)]
fn disposition(signal: libc::c_int, new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    // SAFETY: as in `occupy`.
    let mut before: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: both are valid, or null, and outlive the call, which keeps no pointer to them. The handler that is set, if
    // any, is `answer`, which may run at any instruction, or one that was set before.
    match unsafe { libc::sigaction(signal, new.map_or(ptr::null(), ptr::from_ref), &raw mut before) } {
        0 => Ok(before),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The handler of the signal; see the module.
#[allow(unsafe_code)]
extern "C" fn answer(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // A look at an atomic, whoever else sent the signal.
    let Some(inquiry) = INQUIRY.get() else { return };
    // SAFETY: the call takes nothing, returns a number and cannot fail.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    let Some(question) = inquiry.claim(thread as u32) else { return };
    // SAFETY: the kernel hands a handler that was set with SA_SIGINFO the context that it has interrupted, which is there
    // until the handler returns.
    let mut registers = registers(unsafe { &*context.cast::<libc::ucontext_t>() });
    let depth = question.base.saturating_sub(registers.sp).min(MOST as u64);
    let parts = [
        libc::iovec { iov_base: (&raw mut registers).cast(), iov_len: size_of::<Registers>() },
        libc::iovec { iov_base: ptr::without_provenance_mut(registers.sp as usize), iov_len: depth as usize },
    ];
    // SAFETY: the descriptor is that of the pipe, which stays open until the question is over. The call only reads what
    // the parts name: the first is `registers`, the second is this thread's own stack, all of which is there; if it were
    // not, the kernel would refuse. `errno` is the thread's own, and as it was when it goes on.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::writev(question.pipe.cast_signed(), parts.as_ptr(), 2);
        *errno = before;
    }
    inquiry.answered();
}

#[cfg(target_arch = "x86_64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let of = |register: libc::c_int| context.uc_mcontext.gregs[register as usize].cast_unsigned();
    Registers { pc: of(libc::REG_RIP), sp: of(libc::REG_RSP), fp: of(libc::REG_RBP), lr: 0 }
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let machine = &context.uc_mcontext;
    Registers { pc: machine.pc, sp: machine.sp, fp: machine.regs[29], lr: machine.regs[30] }
}
