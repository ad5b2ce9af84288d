//! What is to be reached; see [`goal`](crate::goal).

use crate::{
    busy::{Growth, OURS},
    goal::{Goal, Part},
    idle::Idle,
    naive,
    variety::{OF_ANSWERS, OF_CLASSES, OF_KEYS, Variety},
};

/// Judges what was measured: goal 13 of the tail.
pub(crate) fn judge(busy: &[Growth], idle: &[Idle], variety: &[Variety]) -> Vec<Goal> {
    let cost = |server| busy.iter().find(|growth| growth.server == server).map(|growth| growth.cpu.ratio);
    let kib = |server| idle.iter().find(|idle| idle.server == server).map(|idle| idle.bytes / 1024.0);
    let beyond_tonic = |server| Some(kib(server)? - kib(naive::MAPPED)?);
    let ratio = |of| variety.iter().find(|variety| variety.of == of).map(|variety| variety.time.ratio);
    vec![Goal::new(
        13,
        "growth: server CPU per message with 1,000 streams at most 1.3 times that with 1, at the same total rate; an idle \
         stream costs at most 16 KiB beyond what tonic itself holds; the same work on 1,000 classes or 1,000,000 distinct \
         keys is no slower than on one by more than a tenth",
        vec![
            Part::at_most("CPU per message on 1,000 streams, of that on one", cost(OURS), 1.3),
            Part::at_most("the same, of a server that is nothing but tonic", cost(naive::MAPPED), 1.3)
                .informative(),
            Part::at_most("KiB of an idle stream beyond tonic's", beyond_tonic(OURS), 16.0),
            Part::at_most(
                "the same, with a task and a channel for each stream",
                beyond_tonic(naive::INLINE),
                16.0,
            )
            .informative(),
            Part::at_most("1,000 classes: time per message, of that in one", ratio(OF_CLASSES), 1.1),
            Part::at_most("1,000,000 keys: time per message, of that on one", ratio(OF_KEYS), 1.1),
            Part::at_most("1,000,000 keys, answered from the cache: the same", ratio(OF_ANSWERS), 1.1)
                .informative(),
        ],
    )]
}
