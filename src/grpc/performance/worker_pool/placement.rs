//! Which worker runs on which core.
//!
//! The first worker is on the first core, the next on the next, and so on, beginning anew at the end. "First" is a
//! matter of [`topology`]: physical cores before their second threads, and one memory node after the other, so that a
//! pool of fewer workers than cores shares neither a core's units nor a line between nodes if it need not.
//!
//! **Why pinned at all.** A worker that is woken on the core of who hands it a message spares an interrupt and some 40 µs
//! (`sleepers`), and that has to be known when it is woken: so each has its core. A kernel that places workers itself puts
//! two of them on one core now and then, each with half of it, until its balancer comes by.
//!
//! **When not.** Where a quota grants fewer cores than the process may run on (a container with a CPU limit and no
//! cpuset), every process of the machine would choose the same first cores, and wait there while others are idle: so nobody
//! is pinned then. It is the same with `reserve:N`, which has no sense there: what is reserved is others' already.
//!
//! **Policies**: figures and advice are in the configuration's table, [`Pinning`].

use crate::{
    grpc::performance::config::Pinning,
    platform::{
        affinity::{Core, allowed_cores},
        topology,
    },
};

/// The cores that workers are pinned to, in turn; none: unpinned.
pub(super) fn cores(pinning: Pinning) -> Vec<Core> {
    if pinning == Pinning::Off {
        return Vec::new();
    }
    let mut allowed = allowed_cores();
    topology::order_for_use(&mut allowed);
    let granted = num_cpus::get();
    let seen = allowed.len();
    let chosen = choose(pinning, allowed, granted);
    if chosen.is_empty() && seen > 0 {
        tracing::info!(%pinning, cores = seen, granted, "a quota grants fewer cores than there are: workers are not pinned");
    }
    chosen
}

/// The same, of the cores in this order, as many of which are granted at a time.
fn choose(pinning: Pinning, mut cores: Vec<Core>, granted: usize) -> Vec<Core> {
    if granted < cores.len() {
        return Vec::new();
    }
    match pinning {
        Pinning::Off => Vec::new(),
        Pinning::AllCores => cores,
        Pinning::ReserveForIo(reserved) => {
            let reserved = reserved.min(cores.len().saturating_sub(1));
            cores.drain(..reserved);
            cores
        }
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_quota_below_the_cores_pins_nobody() {
        let cores = vec![Core::nowhere(); 4];
        for pinning in [Pinning::AllCores, Pinning::ReserveForIo(1)] {
            assert!(choose(pinning, cores.clone(), 3).is_empty());
        }
        assert_eq!(choose(Pinning::AllCores, cores.clone(), 4).len(), 4);
        assert_eq!(choose(Pinning::ReserveForIo(1), cores.clone(), 4).len(), 3);
        assert_eq!(choose(Pinning::ReserveForIo(9), cores, 4).len(), 1, "one is left for the workers");
    }
}
