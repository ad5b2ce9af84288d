//! Two barriers that make a pair, of which one costs nothing: the one on the hot path.
//!
//! Of two threads, each of which writes one thing and then reads what the other writes, at least one is to see the
//! other's write. With a SeqCst fence between the write and the read of each it does, at 20 cycles or more a fence. Where
//! one of the two does that all the time, and the other hardly ever, the one says [`light`] there, which only keeps the
//! compiler from exchanging the two, and the other says [`heavy`], which has the kernel put a full barrier into whatever
//! each running thread of the process is at: `membarrier(2)`, 2 µs here. A thread that does not run has passed through one
//! when it was stopped, so a heavy barrier waits for no thread.
//!
//! Where there is no such call, and under Loom and Miri, which do not know it, both are SeqCst fences. In a container that
//! forbids the call there is no pair at all: ask [`is_paired`] first.

pub(crate) use imp::{heavy, is_paired, light};

#[cfg(all(target_os = "linux", not(millstream_loom), not(miri)))]
#[allow(unsafe_code)]
mod imp {
    use std::{
        io,
        sync::atomic::{
            AtomicU8,
            Ordering::{Relaxed, SeqCst},
            compiler_fence, fence,
        },
    };

    // From `linux/membarrier.h`.
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    const UNKNOWN: u8 = 0;
    const PAIRED: u8 = 1;
    const FORBIDDEN: u8 = 2;

    /// Whether [`light`] and [`heavy`] may be relied on; to be asked before the first of either.
    pub(crate) fn is_paired() -> bool {
        // Relaxed: each thread that does not know finds out for itself, to the same end.
        static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
        match KNOWN.load(Relaxed) {
            UNKNOWN => {
                let paired = membarrier(REGISTER_PRIVATE_EXPEDITED) && membarrier(PRIVATE_EXPEDITED);
                KNOWN.store(if paired { PAIRED } else { FORBIDDEN }, Relaxed);
                paired
            }
            known => known == PAIRED,
        }
    }

    /// What is written before this is not written after what is read behind it, as far as who says [`heavy`] can tell.
    #[inline]
    pub(crate) fn light() {
        compiler_fence(SeqCst);
    }

    /// The other one. A system call, which interrupts the other cores.
    #[cold]
    pub(crate) fn heavy() {
        fence(SeqCst);
        let done = membarrier(PRIVATE_EXPEDITED);
        assert!(done, "a barrier that was paired before: {}", io::Error::last_os_error());
    }

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: the call takes two numbers (and a third that these commands do not look at), and no pointer.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }
}

#[cfg(not(all(target_os = "linux", not(millstream_loom), not(miri))))]
mod imp {
    use std::sync::atomic::Ordering::SeqCst;

    use crate::platform::atomic::fence;

    pub(crate) fn is_paired() -> bool {
        true
    }

    #[inline]
    pub(crate) fn light() {
        fence(SeqCst);
    }

    #[cold]
    pub(crate) fn heavy() {
        fence(SeqCst);
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
        thread,
    };

    use super::*;

    #[test]
    fn of_two_that_write_and_then_look_one_sees_the_other() {
        if !is_paired() {
            return; // Nobody may rely on it here.
        }
        let rounds = if cfg!(miri) { 100 } else { 20_000 };
        let (mine, yours): (Vec<_>, Vec<_>) =
            (0..rounds).map(|_| (AtomicBool::new(false), AtomicBool::new(false))).unzip();
        let begin = Barrier::new(2);
        let look = |write: &[AtomicBool], read: &[AtomicBool], barrier: fn()| -> Vec<bool> {
            let rounds = write.iter().zip(read);
            rounds
                .map(|(write, read)| {
                    begin.wait();
                    write.store(true, Relaxed);
                    barrier();
                    read.load(Relaxed)
                })
                .collect()
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| look(&yours, &mine, heavy));
            let seen = look(&mine, &yours, light);
            let both = seen.into_iter().zip(other.join().unwrap());
            assert!(both.into_iter().all(|(here, there)| here || there));
        });
    }
}
