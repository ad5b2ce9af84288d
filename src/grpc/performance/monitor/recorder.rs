//! What one thread counts and measures.

use std::time::Duration;

use super::{
    class::Class,
    classes::{ClassTimes, Classes},
    counters::{Counter, Counts, Outcome, Tallies},
    snapshot::{Merge, Stage},
    tally::Tally,
};

/// Written by the thread that it belongs to, read by any (see [`tally`](super::tally)).
#[derive(Debug)]
pub(super) struct Recorder {
    tallies: Tallies,
    busy: Tally,
    classes: Classes,
}

impl Recorder {
    pub(super) const fn new() -> Self {
        Self { tallies: Tallies::new(), busy: Tally::new(), classes: Classes::new() }
    }

    #[inline]
    pub(super) fn add(&self, counter: Counter, more: u64) {
        self.tallies.add(counter, more);
    }

    #[inline]
    pub(super) fn answered(&self, outcome: Outcome) {
        self.tallies.answered(outcome);
    }

    #[inline]
    pub(super) fn run(&self, class: Class, queue_wait: u64, service: u64) {
        self.run_of(self.classes.of(class), queue_wait, service);
    }

    #[inline]
    fn run_of(&self, times: &ClassTimes, queue_wait: u64, service: u64) {
        self.busy.add(service);
        times.stage(Stage::QueueWait).record(queue_wait);
        times.stage(Stage::ServiceTime).record(service);
    }

    /// Both, of one message.
    #[inline]
    pub(super) fn whole(&self, class: Class, queue_wait: u64, service: u64, sojourn: u64) {
        let times = self.classes.of(class);
        self.run_of(times, queue_wait, service);
        times.stage(Stage::SojournTime).record(sojourn);
    }

    #[inline]
    pub(super) fn sojourn(&self, class: Class, nanos: u64) {
        self.classes.of(class).stage(Stage::SojournTime).record(nanos);
    }

    pub(super) fn add_counts_to(&self, counts: &mut Counts) {
        self.tallies.add_to(counts);
    }

    pub(super) fn add_to(&self, merge: &mut Merge) {
        self.add_counts_to(&mut merge.counts);
        merge.busy += Duration::from_nanos(self.busy.read());
        merge.crowded_out += self.classes.crowded_out();
        self.classes.iter().for_each(|times| merge.add(times));
    }
}
