//! A handler that does not come back is told of, with all that helps to find it. Alone in its process: the events come
//! from the pool's own thread, so whoever listens to them listens to all.
#![allow(missing_docs)]

mod common;

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use common::*;
use crossbeam::channel::{Sender, unbounded};
use millstream::{FailureKind, OptimizationConfig, processor::StreamOptions};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Hands on what an event says, field by field.
struct Listener(Sender<Vec<(&'static str, String)>>);

#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().ends_with("overstay")
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.send(fields.0).expect("the test listens");
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
async fn a_stuck_handler_is_told_of_with_its_class_message_worker_time_and_whereabouts() {
    let (sender, reports) = unbounded();
    tracing::subscriber::set_global_default(Listener(sender)).unwrap();
    let timeout = Duration::from_millis(100);
    let processor = processor(OptimizationConfig { worker_timeout: timeout, ..config() });
    let (stuck, keeper) = gate();
    let requests = [request(0, Act::Answer), request(1, Act::Answer), request(2, Act::Wait(stuck))];
    let begin = Instant::now();
    let answers = all(processor.stream(ready(requests), StreamOptions::default()).unwrap()).await;
    assert_eq!(answers[2].result.as_ref().unwrap_err().kind(), FailureKind::DeadlineExceeded);
    assert!(begin.elapsed() >= timeout);
    let report = reports.recv_timeout(LONG).expect("it is told of");
    let field = |name: &str| report.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str());
    assert_eq!(field("class"), Some("default"));
    assert_eq!((field("stream"), field("number")), (Some("stream-0"), Some("2")));
    assert!(field("seat").is_some() && field("ran").is_some(), "{report:?}");
    if cfg!(target_os = "linux") {
        let whereabouts = field("whereabouts").expect("it is somewhere");
        assert!(whereabouts.starts_with("asleep"), "it waits for the test: {whereabouts}");
        assert!(field("thread").is_some_and(|thread| thread.parse::<u32>().is_ok()), "{report:?}");
    }
    assert_eq!(field("checkpoint"), None, "it came by none");
    drop(keeper);
    // One that goes round a loop names the place.
    let (spins, _keeper) = gate();
    let requests = [request(0, Act::Spin(spins))];
    all(processor.stream(ready(requests), StreamOptions::default()).unwrap()).await;
    let report = reports.recv_timeout(LONG).expect("it is told of");
    let checkpoint = report.iter().find(|(field, _)| *field == "checkpoint").map(|(_, place)| place);
    assert!(checkpoint.is_some_and(|place| place.starts_with("tests/common/mod.rs:")), "{report:?}");
}
