//! Histograms: the victim records, and now and then reads all, as a scrape does; one thread records and is timed.

use std::time::Duration;

use hdrhistogram::Histogram;
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use millstream::{Class, OptimizationConfig, StreamPerformanceMonitor};
use parking_lot::Mutex;

use super::{
    pause::Aim,
    rig::{Kind, Progress, Rig, Row},
};

/// Recordings of the victim between two readings.
const READ_EVERY: u64 = 4096;
const VALUE_US: u64 = 50;
const NAME: &str = "sojourn_seconds";

/// Something that takes figures and gives a summary.
struct Recording<'a> {
    name: &'static str,
    record: &'a (dyn Fn() + Sync),
    read: &'a (dyn Fn() + Sync),
}

/// Every way to record in turn.
pub(crate) fn run(injections: usize) -> Vec<Row> {
    let locked = Mutex::new(Histogram::<u64>::new(3).expect("three digits are possible"));
    let prometheus = PrometheusBuilder::new().build_recorder();
    let scrape = prometheus.handle();
    let metadata = Metadata::new(module_path!(), Level::INFO, None);
    let labels = || vec![Label::new("class", "digest")];
    let handle = prometheus.register_histogram(&Key::from_parts(NAME, labels()), &metadata);
    let seconds = Duration::from_micros(VALUE_US).as_secs_f64();
    let monitor = StreamPerformanceMonitor::new(&OptimizationConfig::default());
    let class = Class::new("digest");
    let recordings = [
        Recording {
            name: "hdrhistogram in a mutex",
            record: &|| locked.lock().saturating_record(VALUE_US),
            read: &|| drop(locked.lock().clone()),
        },
        Recording {
            name: "metrics handle",
            record: &|| handle.record(seconds),
            read: &|| drop(scrape.render()),
        },
        Recording {
            name: "metrics looked up",
            record: &|| {
                prometheus.register_histogram(&Key::from_parts(NAME, labels()), &metadata).record(seconds);
            },
            read: &|| drop(scrape.render()),
        },
        Recording {
            name: "millstream",
            record: &|| monitor.record_sojourn(class, Duration::from_micros(VALUE_US)),
            read: &|| drop(monitor.snapshot()),
        },
    ];
    recordings.iter().flat_map(|recording| one(recording, injections)).collect()
}

fn one(recording: &Recording<'_>, injections: usize) -> Vec<Row> {
    let (aim, progress) = (&Aim::default(), &Progress::new(Kind::Histogram));
    let mut recorded = 0;
    Rig {
        name: recording.name,
        aims: vec![aim],
        loops: vec![
            Box::new(move || {
                (recording.record)();
                recorded += 1;
                if recorded % READ_EVERY == 0 {
                    (recording.read)();
                }
                aim.rest();
            }),
            Box::new(move || {
                (recording.record)();
                progress.made();
            }),
        ],
        progress: vec![progress],
    }
    .run(injections)
}
