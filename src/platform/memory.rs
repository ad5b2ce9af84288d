//! How much memory this process takes.

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

/// The figure on the line `VmRSS:     1234 kB`.
#[cfg(target_os = "linux")]
fn resident(status: &str) -> Option<usize> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: usize = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_touched_is_resident() {
        const TOUCHED: usize = 64 << 20;
        let before = resident_bytes();
        let touched = std::hint::black_box(vec![1_u8; TOUCHED]);
        let after = resident_bytes();
        // Other tests free memory meanwhile, hence the half.
        assert!(before > 0 && after >= before + TOUCHED / 2, "{before} then {after}");
        drop(touched);
    }

    #[test]
    fn what_is_not_understood_is_not_guessed_at() {
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\nThreads:\t1\n"), Some(1234 * 1024));
        for status in ["", "VmRSS:", "VmRSS: 12", "VmRSS: x kB", "VmRSS: 18446744073709551615 kB"] {
            assert_eq!(resident(status), None, "{status:?}");
        }
    }
}
