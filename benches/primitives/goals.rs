//! What is to be reached; see [`goal`](crate::goal).

use crate::{
    goal::{Goal, Part},
    histogram, pool,
    room::{Measure, Standing},
};

/// How long recording a time may take, in nanoseconds.
const RECORDING_NS: f64 = 10.0;
/// What a buffer may cost, of what it costs without a pool.
const OF_MALLOC: f64 = 0.5;

/// Judges what was measured: the goals of the pools and of the histograms.
pub(crate) fn judge(rooms: &[(&str, Vec<Measure>)]) -> Vec<Goal> {
    let buffers = of(rooms, pool::ROOM.name).flat_map(|measure| {
        let ours = measure.best(Standing::Ours, |_| true);
        let malloc = measure.best(Standing::Peer, |name| name == pool::MALLOC);
        let pool = measure.best(Standing::Peer, |name| name != pool::MALLOC);
        [
            Part::at_most(
                format!("{}, of malloc and free", measure.what()),
                ours.zip(malloc).map(|(ours, malloc)| ours / malloc),
                OF_MALLOC,
            ),
            Part::at_most(
                format!("{}, of the best pool crate", measure.what()),
                ours.zip(pool).map(|(ours, pool)| ours / pool),
                1.0,
            ),
        ]
    });
    let recordings = of(rooms, histogram::ROOM.name).map(|measure| {
        Part::at_most(format!("{}, ns", measure.what()), measure.best(Standing::Ours, |_| true), RECORDING_NS)
    });
    vec![
        Goal::new(
            8,
            "a buffer from the pool, taken and given back at 1, 2 and 8 threads: at most half of what malloc and free of \
             8 KiB cost, and no more than the best pool crate's",
            buffers.collect(),
        ),
        Goal::new(9, "recording a time: at most 10 ns at 1, 2 and 8 threads", recordings.collect()),
    ]
}

/// The measures of one room.
fn of<'a>(rooms: &'a [(&str, Vec<Measure>)], name: &'a str) -> impl Iterator<Item = &'a Measure> {
    rooms.iter().filter(move |room| room.0 == name).flat_map(|room| &room.1)
}
