//! What does it cost to record one time, so that percentiles can be had of it?
//!
//! `hdrhistogram per thread` is the least there can be: nobody else may read it. Ours is read by any thread at any time.

use std::{cell::RefCell, time::Duration};

use hdrhistogram::Histogram;
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use millstream::{Class, OptimizationConfig, StreamPerformanceMonitor};
use parking_lot::Mutex;

use crate::{
    room::{
        Effort, Measure, Room,
        Standing::{Limit, Ours, Peer},
    },
    speed::{self, Repeat},
};

pub(crate) const ROOM: Room = Room {
    name: "histogram",
    question: "What does it take to record one time, so that percentiles can be had of it?",
    measure,
};

const THREADS: [usize; 3] = [1, 2, 8];
const NAME: &str = "sojourn_seconds";
/// Times of short work: five octaves of them.
const TIMES_US: std::ops::Range<u64> = 20..600;

thread_local! {
    static OWN: RefCell<Histogram<u64>> = RefCell::new(histogram());
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are possible")
}

/// The times of so many recordings.
fn times(count: usize) -> impl Iterator<Item = u64> {
    TIMES_US.cycle().take(count)
}

fn measure(effort: &Effort) -> Vec<Measure> {
    let locked = Mutex::new(histogram());
    let prometheus = PrometheusBuilder::new().build_recorder();
    let metadata = Metadata::new(module_path!(), Level::INFO, None);
    let labels = || vec![Label::new("class", "digest")];
    let handle = prometheus.register_histogram(&Key::from_parts(NAME, labels()), &metadata);
    let monitor = StreamPerformanceMonitor::new(&OptimizationConfig::default());
    let class = Class::new("digest");
    let seconds = |micros| Duration::from_micros(micros).as_secs_f64();
    // What is recorded there stays in memory until somebody scrapes.
    let drained = |count: usize| {
        times(count).for_each(|micros| handle.record(seconds(micros)));
        prometheus.handle().run_upkeep();
    };
    let recordings: [(&str, _, Repeat<'_>); 5] = [
        ("hdrhistogram per thread", Limit, &|count| {
            times(count).for_each(|micros| OWN.with_borrow_mut(|own| own.saturating_record(micros)));
        }),
        ("hdrhistogram in a mutex", Peer, &|count| {
            times(count).for_each(|micros| locked.lock().saturating_record(micros));
        }),
        ("metrics handle", Peer, &drained),
        ("metrics looked up", Peer, &|count| {
            for micros in times(count) {
                let key = Key::from_parts(NAME, labels());
                prometheus.register_histogram(&key, &metadata).record(seconds(micros));
            }
            prometheus.handle().run_upkeep();
        }),
        ("millstream", Ours, &|count| {
            times(count).for_each(|micros| monitor.record_sojourn(class, Duration::from_micros(micros)));
        }),
    ];
    speed::with_threads("a recording", &THREADS, effort, &recordings)
}
