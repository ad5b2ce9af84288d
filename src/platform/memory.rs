//! How much memory this process takes, and giving back what it does not use.

/// Resident memory of this process in bytes; 0 where the platform does not tell.
///
/// From `/proc/self/status`, which gives kilobytes; `statm` counts pages, whose size only an unsafe call tells.
#[cfg(target_os = "linux")]
pub(crate) fn resident_bytes() -> usize {
    std::fs::read_to_string("/proc/self/status").ok().and_then(|status| resident(&status)).unwrap_or(0)
}

/// Resident memory of this process in bytes; 0 where the platform does not tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn resident_bytes() -> usize {
    0
}

/// Returns memory that has been freed, and that the allocator keeps for later, to the system. The pages are released
/// one arena at a time, and who allocates from that arena meanwhile waits.
#[cfg(all(feature = "cli", target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(crate) fn release_free() {
    // SAFETY: it takes no pointer, and moves nothing that is allocated. Whether there was anything to return is what
    // it answers, and of no use here.
    unsafe { libc::malloc_trim(0) };
}

/// Where the allocator is not glibc's, it decides by itself.
#[cfg(all(feature = "cli", not(all(target_os = "linux", target_env = "gnu"))))]
pub(crate) fn release_free() {}

/// The figure on the line `VmRSS:     1234 kB`.
#[cfg(target_os = "linux")]
fn resident(status: &str) -> Option<usize> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: usize = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// The figure is that of the whole process: these two take turns, and what the others do meanwhile spoils a try, but not
    /// each.
    static TURN: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

    fn comes_true(mut holds: impl FnMut() -> Result<(), String>) {
        let _turn = TURN.lock();
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(figures) = holds() {
            assert!(Instant::now() < deadline, "{figures}");
        }
    }

    #[test]
    fn memory_that_is_touched_is_resident() {
        const TOUCHED: usize = 64 << 20;
        comes_true(|| {
            let before = resident_bytes();
            let touched = std::hint::black_box(vec![1_u8; TOUCHED]);
            let after = resident_bytes();
            drop(touched);
            assert!(before > 0);
            (after >= before + TOUCHED / 2).then_some(()).ok_or_else(|| format!("{before} then {after}"))
        });
    }

    #[cfg(all(feature = "cli", target_env = "gnu"))]
    #[test]
    fn what_a_small_remainder_holds_back_is_released() {
        const PIECES: usize = 64 << 10;
        comes_true(|| {
            let mut pieces: Vec<_> = (0..PIECES).map(|_| std::hint::black_box(vec![1_u8; 1024])).collect();
            let full = resident_bytes();
            // The last piece lies behind all others, so that none of them is at the end of its arena.
            let remainder = pieces.pop();
            drop(pieces);
            release_free();
            let released = resident_bytes();
            drop(remainder);
            let is_less = released + PIECES / 2 * 1024 <= full;
            is_less.then_some(()).ok_or_else(|| format!("{full} then {released}"))
        });
    }

    #[test]
    fn what_is_not_understood_is_not_guessed_at() {
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\nThreads:\t1\n"), Some(1234 * 1024));
        for status in ["", "VmRSS:", "VmRSS: 12", "VmRSS: x kB", "VmRSS: 18446744073709551615 kB"] {
            assert_eq!(resident(status), None, "{status:?}");
        }
    }
}
