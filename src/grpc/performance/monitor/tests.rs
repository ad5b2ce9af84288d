//! The monitor under several threads, what it makes of its figures, and what it publishes.

use std::{
    collections::BTreeMap,
    sync::{Barrier, mpsc},
    thread,
};

use metrics::{Key, KeyName, Metadata, Recorder as MetricsRecorder, SharedString, Unit};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

const DIGEST: Class = Class::new("digest");
const ECHO: Class = Class::new("echo");

fn monitor() -> StreamPerformanceMonitor {
    StreamPerformanceMonitor::new(&OptimizationConfig::default())
}

fn find(snapshot: &Snapshot, stage: Stage, class: Class) -> &StageHistogram {
    snapshot.histograms.iter().find(|times| times.stage == stage && times.class == class).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn percentiles_of_several_threads_are_those_of_one_histogram_given_every_time(
        threads in prop::collection::vec(prop::collection::vec(1..10_000_000_000_u64, 1..200), 1..5),
    ) {
        let monitor = monitor();
        let mut exact: Vec<u64> = threads.concat();
        let mut one = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 47, 2).unwrap();
        exact.iter().for_each(|&nanos| one.record(nanos).unwrap());
        thread::scope(|scope| {
            for times in &threads {
                let monitor = &monitor;
                scope.spawn(move || {
                    for &nanos in times {
                        monitor.record_sojourn(DIGEST, Duration::from_nanos(nanos));
                    }
                });
            }
        });
        let snapshot = monitor.snapshot();
        let times = find(&snapshot, Stage::SojournTime, DIGEST);
        exact.sort_unstable();
        prop_assert_eq!(times.longest, Duration::from_nanos(exact[exact.len() - 1]));
        prop_assert_eq!(times.total, Duration::from_nanos(exact.iter().sum()));
        for quantile in [0.0, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
            prop_assert_eq!(times.histogram.value_at_quantile(quantile), one.value_at_quantile(quantile));
            let rank = (quantile * exact.len() as f64).ceil().max(1.0) as usize;
            let (right, answer) = (exact[rank - 1] as f64, times.quantile(quantile).as_nanos() as f64);
            prop_assert!((answer - right).abs() <= 0.01 * right, "{} is not {}", answer, right);
        }
    }
}

#[test]
fn nothing_is_lost_under_eight_threads_and_a_reader_never_sees_a_figure_go_back() {
    const THREADS: usize = 8;
    const MESSAGES: u64 = 100_000;
    let monitor = monitor();
    let start = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (monitor, start) = (&monitor, &start);
                scope.spawn(move || {
                    start.wait();
                    let class = if thread % 2 == 0 { DIGEST } else { ECHO };
                    for message in 0..MESSAGES {
                        monitor.count(Counter::Accepted);
                        monitor.record_run(class, Duration::from_nanos(message), Duration::from_nanos(10));
                        monitor.record_sojourn(class, Duration::from_nanos(message + 10));
                        monitor.answered(Outcome::Ok);
                    }
                })
            })
            .collect();
        start.wait();
        let (mut accepted, mut measured) = (0, 0);
        while !writers.iter().all(|writer| writer.is_finished()) {
            let snapshot = monitor.snapshot();
            let now_accepted = snapshot.counts.of(Counter::Accepted);
            let now_measured = snapshot.histograms.iter().map(StageHistogram::count).sum();
            assert!(now_accepted >= accepted && now_measured >= measured);
            (accepted, measured) = (now_accepted, now_measured);
        }
    });
    let all = THREADS as u64 * MESSAGES;
    let snapshot = monitor.snapshot();
    assert_eq!(snapshot.counts.of(Counter::Accepted), all);
    assert_eq!(snapshot.counts.answered(Outcome::Ok), all);
    assert_eq!(snapshot.busy, Duration::from_nanos(10 * all));
    for stage in Stage::ALL {
        for class in [DIGEST, ECHO] {
            assert_eq!(find(&snapshot, stage, class).count(), all / 2, "{stage:?} {class:?}");
        }
    }
}

#[test]
fn figures_stay_when_their_thread_ends_and_the_next_thread_adds_to_them() {
    let monitor = monitor();
    for round in 1..=20 {
        let handle = monitor.clone();
        thread::spawn(move || {
            handle.count(Counter::Batches);
            handle.record_sojourn(ECHO, Duration::from_micros(5));
        })
        .join()
        .unwrap();
        let snapshot = monitor.snapshot();
        assert_eq!(snapshot.counts.of(Counter::Batches), round);
        assert_eq!(find(&snapshot, Stage::SojournTime, ECHO).count(), round);
    }
}

#[test]
fn a_thread_that_is_stopped_with_its_recorder_keeps_nobody_from_recording_or_reading() {
    let monitor = monitor();
    let (go, stopped) = mpsc::channel::<()>();
    let (ready, is_ready) = mpsc::channel();
    thread::scope(|scope| {
        let handle = &monitor;
        scope.spawn(move || {
            handle.count(Counter::Accepted);
            ready.send(()).unwrap();
            // Until the sender is gone.
            assert!(stopped.recv().is_err());
            handle.count(Counter::Accepted);
        });
        is_ready.recv().unwrap();
        monitor.count(Counter::Accepted);
        assert_eq!(monitor.snapshot().counts.of(Counter::Accepted), 2);
        drop(go);
    });
    assert_eq!(monitor.snapshot().counts.of(Counter::Accepted), 3);
}

#[test]
fn refinements_are_put_together_by_name_unless_asked_for() {
    let monitor = monitor();
    monitor.record_sojourn(DIGEST, Duration::from_nanos(1));
    monitor.record_sojourn(DIGEST.refined(4096), Duration::from_nanos(2));
    monitor.record_sojourn(ECHO, Duration::from_nanos(3));

    let by_name = monitor.snapshot();
    assert_eq!(by_name.histograms.len(), 2);
    assert_eq!(find(&by_name, Stage::SojournTime, DIGEST).count(), 2);

    let by_class = monitor.snapshot_by(Grouping::Classes);
    let classes: Vec<_> = by_class.histograms.iter().map(|times| times.class).collect();
    assert_eq!(classes, [DIGEST, DIGEST.refined(4096), ECHO]);
}

#[test]
fn classes_beyond_the_bound_go_to_other_and_are_counted() {
    let monitor = monitor();
    for detail in 0..classes::CLASSES as u32 + 5 {
        monitor.record_sojourn(DIGEST.refined(detail), Duration::from_nanos(1));
    }
    let snapshot = monitor.snapshot();
    assert_eq!(find(&snapshot, Stage::SojournTime, DIGEST).count(), classes::CLASSES as u64);
    assert_eq!(find(&snapshot, Stage::SojournTime, Class::OTHER).count(), 5);
    assert_eq!(snapshot.crowded_out, 5);
}

#[test]
fn a_monitor_that_is_off_counts_and_neither_measures_nor_publishes() {
    let config = OptimizationConfig { enable_metrics: false, ..OptimizationConfig::default() };
    let monitor = StreamPerformanceMonitor::new(&config);
    assert!(!monitor.is_enabled());
    monitor.record_run(DIGEST, Duration::from_millis(1), Duration::from_millis(1));
    monitor.record_sojourn(DIGEST, Duration::from_millis(1));
    monitor.count(Counter::Accepted);
    monitor.answered(Outcome::Internal);

    let snapshot = monitor.snapshot();
    assert!(snapshot.histograms.is_empty());
    assert_eq!(snapshot.busy, Duration::ZERO);
    assert_eq!(snapshot.counts.of(Counter::Accepted), 1);
    assert_eq!(snapshot.counts.answered(Outcome::Internal), 1);
    assert!(published(&monitor, &PoolGauges::default()).is_empty());
}

#[test]
fn the_result_is_made_of_the_figures() {
    let monitor = monitor();
    for millis in 1..=100 {
        let class = if millis % 2 == 0 { DIGEST } else { ECHO };
        monitor.record_run(class, Duration::ZERO, Duration::from_millis(20));
        monitor.record_sojourn(class, Duration::from_millis(millis));
        monitor.answered(if millis == 1 { Outcome::InvalidArgument } else { Outcome::Ok });
    }
    monitor.add(Counter::CacheHits, 30);
    monitor.add(Counter::CacheMisses, 10);

    let snapshot = Snapshot { uptime: Duration::from_secs(4), ..monitor.snapshot() };
    let result = snapshot.result(2);
    let within = |time: Duration, millis: f64| (time.as_secs_f64() * 1000.0 / millis - 1.0).abs() <= 0.01;
    assert_eq!(result.throughput, 25.0);
    assert_eq!(result.avg_latency, Duration::from_micros(50_500));
    assert!(within(result.p95_latency, 95.0), "{result:?}");
    assert!(within(result.p99_latency, 99.0), "{result:?}");
    assert_eq!(result.cache_hit_ratio, 0.75);
    assert_eq!(result.worker_utilization, 0.25);
    assert_eq!(result.memory_usage > 0, cfg!(target_os = "linux"));

    assert_eq!(snapshot.result(0).worker_utilization, 0.0);
    let crowded = Snapshot { uptime: Duration::from_secs(1), ..snapshot };
    assert_eq!(crowded.result(1).worker_utilization, 1.0);
}

#[test]
fn the_result_of_nothing_is_zero() {
    let snapshot = Snapshot { uptime: Duration::ZERO, ..monitor().snapshot() };
    let result = snapshot.result(2);
    assert_eq!((result.throughput, result.cache_hit_ratio, result.worker_utilization), (0.0, 0.0, 0.0));
    assert_eq!((result.avg_latency, result.p99_latency), (Duration::ZERO, Duration::ZERO));
}

/// Keeps what is published, under `name{label="value"}`.
#[derive(Default)]
struct Page {
    figures: Arc<Mutex<BTreeMap<String, f64>>>,
    described: Mutex<Vec<String>>,
}

struct Figure {
    key: String,
    figures: Arc<Mutex<BTreeMap<String, f64>>>,
}

impl Page {
    fn figure(&self, key: &Key) -> Arc<Figure> {
        let labels: String =
            key.labels().map(|label| format!("{{{}={:?}}}", label.key(), label.value())).collect();
        Arc::new(Figure { key: key.name().to_owned() + &labels, figures: Arc::clone(&self.figures) })
    }
}

impl Figure {
    fn change(&self, change: impl FnOnce(f64) -> f64) {
        let mut figures = self.figures.lock();
        let figure = figures.entry(self.key.clone()).or_default();
        *figure = change(*figure);
    }
}

impl metrics::CounterFn for Figure {
    fn increment(&self, value: u64) {
        self.change(|now| now + value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|now| now.max(value as f64));
    }
}

impl metrics::GaugeFn for Figure {
    fn increment(&self, value: f64) {
        self.change(|now| now + value);
    }

    fn decrement(&self, value: f64) {
        self.change(|now| now - value);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

impl MetricsRecorder for Page {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().push(key.as_str().to_owned());
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().push(key.as_str().to_owned());
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        panic!("no histogram is published");
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> metrics::Counter {
        metrics::Counter::from_arc(self.figure(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::from_arc(self.figure(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        panic!("no histogram is published")
    }
}

/// What is on the page after the monitor has published twice; each figure is described, once.
fn published(monitor: &StreamPerformanceMonitor, gauges: &PoolGauges) -> BTreeMap<String, f64> {
    let page = Page::default();
    metrics::with_local_recorder(&page, || {
        monitor.publish(gauges);
        monitor.publish(gauges);
    });
    let figures = page.figures.lock().clone();
    let mut described = page.described.into_inner();
    let count = described.len();
    described.sort();
    described.dedup();
    assert_eq!(described.len(), count, "something is described twice");
    for figure in figures.keys() {
        let name = figure.split('{').next().unwrap();
        assert!(described.iter().any(|known| known == name), "{name} is not described");
    }
    figures
}

#[test]
fn everything_is_published_under_its_name_and_twice_is_not_double() {
    let monitor = monitor();
    for (counter, times) in Counter::ALL.into_iter().zip(1..) {
        monitor.add(counter, times);
    }
    monitor.answered(Outcome::Ok);
    monitor.answered(Outcome::ResourceExhausted);
    monitor.answered(Outcome::ResourceExhausted);
    monitor.record_run(ECHO, Duration::from_millis(250), Duration::from_millis(500));
    monitor.record_run(ECHO.refined(1), Duration::from_millis(250), Duration::from_millis(1500));
    let figures = published(
        &monitor,
        &PoolGauges {
            workers: 2,
            queued: 3,
            bytes_in_flight: 4,
            open_streams: 5,
            cache_entries: 6,
            cache_bytes: 7,
            cache_stale_hits: 17,
            cache_not_admitted: 18,
            handlers: Reuse { hits: 8, misses: 9, idle: 10 },
            ..PoolGauges::default()
        },
    );
    for (counter, times) in Counter::ALL.into_iter().zip(1_u32..) {
        assert_eq!(figures[counter.metric()], f64::from(times));
    }
    for (name, value) in [
        ("millstream_messages_answered_total{code=\"OK\"}", 1.0),
        ("millstream_messages_answered_total{code=\"RESOURCE_EXHAUSTED\"}", 2.0),
        ("millstream_messages_answered_total{code=\"INTERNAL\"}", 0.0),
        ("millstream_queue_wait_seconds{class=\"echo\"}{quantile=\"0.5\"}", 0.25),
        ("millstream_queue_wait_seconds_count{class=\"echo\"}", 2.0),
        ("millstream_service_time_seconds{class=\"echo\"}{quantile=\"1\"}", 1.5),
        ("millstream_service_time_seconds_sum{class=\"echo\"}", 2.0),
        ("millstream_worker_busy_seconds", 2.0),
        ("millstream_workers", 2.0),
        ("millstream_queued_messages", 3.0),
        ("millstream_in_flight_bytes", 4.0),
        ("millstream_open_streams", 5.0),
        ("millstream_cache_entries", 6.0),
        ("millstream_cache_bytes", 7.0),
        ("millstream_cache_stale_hits_total", 17.0),
        ("millstream_cache_not_admitted_total", 18.0),
        ("millstream_pool_hits_total{pool=\"handlers\"}", 8.0),
        ("millstream_pool_misses_total{pool=\"handlers\"}", 9.0),
        ("millstream_pool_idle{pool=\"handlers\"}", 10.0),
        ("millstream_times_clamped_total", 0.0),
        ("millstream_times_crowded_out_total", 0.0),
    ] {
        assert_eq!(figures.get(name), Some(&value), "{name}");
    }
    let median = figures["millstream_service_time_seconds{class=\"echo\"}{quantile=\"0.5\"}"];
    assert!((median / 0.5 - 1.0).abs() <= 0.01, "{median}");
    assert!(figures["millstream_uptime_seconds"] > 0.0);
    assert_eq!(figures["millstream_resident_bytes"] > 0.0, cfg!(target_os = "linux"));
}
