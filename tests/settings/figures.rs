//! What is measured, published and traced.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::{Duration, Instant},
};

use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use millstream::{
    Class, HandlerError, JobScope, MessageHandler, OptimizationConfig, OptimizedStreamProcessor,
    processor::Message,
};
use parking_lot::Mutex;
use tracing::{Event, Level, Subscriber, span};

use crate::{DOCUMENTATION, common::*};

/// Its requests are the names of their classes, so that each test finds its own among the published figures.
struct Named;

impl MessageHandler for Named {
    type Request = &'static str;
    type Response = ();

    fn handle(&mut self, _: &'static str, _: &mut JobScope<'_>) -> Result<(), HandlerError> {
        Ok(())
    }

    fn class(request: &&'static str) -> Class {
        Class::new(request)
    }
}

fn named(config: OptimizationConfig) -> OptimizedStreamProcessor<Named> {
    OptimizedStreamProcessor::new(config, || Named).unwrap()
}

/// By name and class.
type Figures = BTreeMap<(String, String), Arc<Figure>>;

/// Every figure that was published, and how often.
#[derive(Clone, Default)]
struct Board(Arc<Mutex<Figures>>);

#[derive(Default)]
struct Figure {
    published: AtomicUsize,
}

impl CounterFn for Figure {
    fn increment(&self, _: u64) {
        unreachable!("figures are published as what they are since the start");
    }

    fn absolute(&self, _: u64) {
        self.published.fetch_add(1, SeqCst);
    }
}

impl GaugeFn for Figure {
    fn increment(&self, _: f64) {
        unreachable!("figures are published as what they are since the start");
    }

    fn decrement(&self, _: f64) {
        unreachable!("figures are published as what they are since the start");
    }

    fn set(&self, _: f64) {
        self.published.fetch_add(1, SeqCst);
    }
}

impl Board {
    /// The one that the process publishes to.
    fn installed() -> &'static Self {
        static BOARD: OnceLock<Board> = OnceLock::new();
        BOARD.get_or_init(|| {
            let board = Self::default();
            metrics::set_global_recorder(board.clone()).expect("nobody else installs one");
            board
        })
    }

    fn figure(&self, key: &Key) -> Arc<Figure> {
        let class = key.labels().find(|label| label.key() == "class").map_or("", |label| label.value());
        Arc::clone(self.0.lock().entry((key.name().to_owned(), class.to_owned())).or_default())
    }

    /// How often the sojourn times of a class were published.
    fn published(&self, class: &str) -> usize {
        let key = ("millstream_sojourn_time_seconds_count".to_owned(), class.to_owned());
        self.0.lock().get(&key).map_or(0, |figure| figure.published.load(SeqCst))
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().keys().map(|(name, _)| name.clone()).collect()
    }
}

impl metrics::Recorder for Board {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.figure(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.figure(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn times_are_measured_and_published_only_when_they_are_wanted() {
    let board = Board::installed();
    for (enable_metrics, class) in [(true, "measured"), (false, "unmeasured")] {
        let metrics_interval = Duration::from_secs(3600);
        let processor = named(OptimizationConfig { enable_metrics, metrics_interval, ..config() });
        processor.process_one(class).await.unwrap();
        assert_eq!(processor.monitor().snapshot().histograms.is_empty(), !enable_metrics);
        assert_eq!(processor.result().avg_latency.is_zero(), !enable_metrics);
        // The last figures are published before the drain is over.
        processor.drain(Instant::now() + LONG).await;
        assert_eq!(board.published(class), usize::from(enable_metrics), "{class}");
    }
}

#[tokio::test]
async fn figures_are_published_once_in_an_interval() {
    let board = Board::installed();
    let interval = |metrics_interval| named(OptimizationConfig { metrics_interval, ..config() });
    let often = interval(Duration::from_millis(10));
    let seldom = interval(Duration::from_secs(3600));
    often.process_one("often").await.unwrap();
    seldom.process_one("seldom").await.unwrap();
    eventually("figures come out ten times", || board.published("often") >= 10).await;
    assert_eq!(board.published("seldom"), 0);
    seldom.drain(Instant::now() + LONG).await;
    assert_eq!(board.published("seldom"), 1);
}

#[tokio::test]
async fn every_figure_that_the_documentation_names_is_published() {
    let processor = named(config());
    let board = Board::installed();
    processor.process_one("documented").await.unwrap();
    processor.drain(Instant::now() + LONG).await;
    let published = board.names();
    let named = DOCUMENTATION.split('`').filter(|text| text.starts_with("millstream_"));
    let mut seen = 0;
    for name in named {
        let name = name.split('{').next().unwrap();
        assert!(published.iter().any(|figure| figure == name), "{name} is not published");
        seen += 1;
    }
    assert!(seen > 0);
}

/// Counts the events of messages.
#[derive(Clone, Default)]
struct Events(Arc<AtomicUsize>);

impl Subscriber for Events {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "millstream::message"
    }

    fn event(&self, event: &Event<'_>) {
        assert_eq!(*event.metadata().level(), Level::DEBUG);
        assert!(event.fields().any(|field| field.name() == "sojourn"));
        self.0.fetch_add(1, SeqCst);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn each_message_leaves_an_event_only_when_that_is_wanted() {
    for enable_detailed_tracing in [true, false] {
        let processor = named(OptimizationConfig { enable_detailed_tracing, ..config() });
        let events = Events::default();
        // The stream of a message is polled on this thread.
        let listening = tracing::subscriber::set_default(events.clone());
        for _ in 0..3 {
            processor.process_one("traced").await.unwrap();
        }
        assert_eq!(events.0.load(SeqCst), if enable_detailed_tracing { 3 } else { 0 });
        let gone = Message::new("gone").timeout(Some(LONG));
        let mut gone = Box::pin(processor.answer(gone, None));
        poll_fn(|cx| {
            let _ = gone.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
        drop((gone, listening));
        assert_eq!(events.0.load(SeqCst), if enable_detailed_tracing { 4 } else { 0 }, "cancelled or not");
    }
}
