//! Cores: which the process may use, and running on one of them.

/// One core, as the operating system numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Core(core_affinity::CoreId);

/// The cores that the process may run on (affinity mask, and so cgroup cpusets); empty where the platform does not
/// tell.
pub(crate) fn allowed_cores() -> Vec<Core> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(Core).collect()
}

/// Binds the calling thread to a core; false where the platform refuses.
#[must_use]
pub(crate) fn pin_current_thread(core: Core) -> bool {
    core_affinity::set_for_current(core.0)
}
