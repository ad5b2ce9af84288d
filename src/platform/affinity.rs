//! Cores: which the process may use, and running on one of them.

use super::whereabouts::ThreadNumber;

/// One core, as the operating system numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Core(core_affinity::CoreId);

impl Core {
    /// How the operating system numbers it.
    pub(crate) fn number(self) -> usize {
        self.0.id
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
impl Core {
    /// One that there is not, so that nobody can be bound to it.
    pub(crate) fn nowhere() -> Self {
        Self(core_affinity::CoreId { id: libc::CPU_SETSIZE as usize - 1 })
    }
}

/// The cores that the process may run on (affinity mask, and so cgroup cpusets); empty where the platform does not
/// tell.
pub(crate) fn allowed_cores() -> Vec<Core> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(Core).collect()
}

/// The core that the calling thread is on, at this moment; `None` where the platform does not tell. A few nanoseconds.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn current_core() -> Option<Core> {
    // SAFETY: `sched_getcpu` takes nothing and touches no memory of ours.
    let core = unsafe { libc::sched_getcpu() };
    Some(Core(core_affinity::CoreId { id: usize::try_from(core).ok()? }))
}

/// See above.
#[cfg(not(target_os = "linux"))]
pub(crate) fn current_core() -> Option<Core> {
    None
}

/// Binds the calling thread to a core; false where the platform refuses.
#[must_use]
pub(crate) fn pin_current_thread(core: Core) -> bool {
    core_affinity::set_for_current(core.0)
}

/// Lets a thread of this process run on these cores and no others; false where the platform refuses.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
#[must_use]
pub(crate) fn pin_thread(thread: ThreadNumber, cores: &[Core]) -> bool {
    // SAFETY: all bits zero are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let most = 8 * size_of_val(&set);
    for core in cores.iter().filter(|core| core.0.id < most) {
        // SAFETY: the number is within the set, as the filter sees to.
        unsafe { libc::CPU_SET(core.0.id, &mut set) };
    }
    // SAFETY: `set` outlives the call, which only reads as much of it as its size says; on Linux the number of a thread
    // names that thread.
    unsafe { libc::sched_setaffinity(thread.get().cast_signed(), size_of_val(&set), &raw const set) == 0 }
}

/// See above.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub(crate) fn pin_thread(_thread: ThreadNumber, _cores: &[Core]) -> bool {
    false
}
