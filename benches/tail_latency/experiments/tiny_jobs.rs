//! How many jobs a second that are all hand-off.

use std::time::Duration;

use crate::{contenders::Entry, work::Work};

/// Jobs in flight.
pub(crate) const IN_FLIGHT: [usize; 2] = [64, 1024];

const WARM_UP: Duration = Duration::from_millis(20);
const LENGTH: Duration = Duration::from_millis(150);

/// Jobs a second.
pub(crate) fn run(entry: &Entry, in_flight: usize) -> f64 {
    let contender = (entry.start)();
    contender.flood(Work::NOTHING, in_flight, WARM_UP);
    contender.flood(Work::NOTHING, in_flight, LENGTH).per_second()
}
