//! Cores: which the process may use, and running on one of them.

/// One core, as the operating system numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Core(core_affinity::CoreId);

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
