//! Context switches: how often a thread went to sleep, or had its core taken from it. Each hand-off that is made of wakes
//! shows here, whatever it costs on the machine at hand.

/// Of all threads of this process, those that have ended too.
pub(crate) fn process_switches() -> u64 {
    read(libc::RUSAGE_SELF)
}

/// Of the calling thread.
pub(crate) fn thread_switches() -> u64 {
    read(libc::RUSAGE_THREAD)
}

#[allow(unsafe_code)]
fn read(whose: libc::c_int) -> u64 {
    // SAFETY: all bits zero are a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid rusage that outlives the call, and the call keeps no pointer to it.
    let failed = unsafe { libc::getrusage(whose, &raw mut usage) };
    assert_eq!(failed, 0, "the usage of {whose} cannot be read");
    (usage.ru_nvcsw + usage.ru_nivcsw) as u64
}
