//! A handler that does not come back is told of, with all that helps to find it. Alone in its process: the events come
//! from the pool's own thread, so whoever listens to them listens to all.
#![allow(missing_docs)]

mod common;

use std::{
    fmt::Debug,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use common::*;
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use millstream::{
    FailureKind, HandlerError, JobScope, MessageHandler, OptimizationConfig, OptimizedStreamProcessor,
    processor::StreamOptions,
};
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

/// A handler that is stuck in functions with names.
struct Stuck;

/// Where it is stuck.
enum In {
    /// In a loop, until that is true.
    Loop(Arc<AtomicBool>),
    /// In a system call, until the sender is dropped.
    SystemCall(Receiver<()>),
}

impl MessageHandler for Stuck {
    type Request = In;
    type Response = ();

    fn handle(&mut self, request: In, _: &mut JobScope<'_>) -> Result<(), HandlerError> {
        match request {
            In::Loop(stop) => goes_round_and_round(&stop),
            In::SystemCall(gate) => waits_at_the_gate(&gate),
        }
        Ok(())
    }
}

#[inline(never)]
fn goes_round_and_round(stop: &AtomicBool) {
    while !stop.load(SeqCst) {
        black_box(stop);
    }
}

#[inline(never)]
fn waits_at_the_gate(gate: &Receiver<()>) {
    black_box(gate.recv().is_err());
}

type Report = Vec<(&'static str, String)>;

fn field<'a>(report: &'a Report, name: &str) -> Option<&'a str> {
    report.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
}

/// The next report that has a field, and of which that is so.
fn report(reports: &Receiver<Report>, has: &str, holds: impl Fn(&Report) -> bool) -> Report {
    let deadline = Instant::now() + LONG;
    loop {
        let report = reports.recv_deadline(deadline).expect("it is told of");
        if field(&report, has).is_some() && holds(&report) {
            return report;
        }
    }
}

/// Of a machine that is so busy that others overstay, too, more is told than of the stuck one.
#[tokio::test]
async fn a_stuck_handler_is_told_of_with_its_class_message_worker_time_whereabouts_and_stack() {
    let (sender, reports) = unbounded();
    tracing::subscriber::set_global_default(Listener(sender)).unwrap();
    let worker_timeout = Duration::from_millis(100);
    // First, since no more than a few stacks are looked for in a minute.
    if cfg!(all(
        feature = "stacks",
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )) {
        // Time to come to where it is stuck, on a busy machine.
        let longer = OptimizationConfig { worker_timeout: 5 * worker_timeout, ..config() };
        let processor = OptimizedStreamProcessor::new(longer, || Stuck).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let is_told = async |request: In, function: &str| {
            let overstays = processor.process_one(request).await.unwrap_err();
            assert_eq!(overstays.kind(), FailureKind::DeadlineExceeded);
            let ours = |stack: &str| stack.contains("stuck::");
            let told = report(&reports, "stack", |report| field(report, "stack").is_some_and(ours));
            let stack = field(&told, "stack").expect("as above");
            let innermost = stack.split(" < ").find(|function| ours(function));
            assert_eq!(innermost, Some(&*format!("stuck::{function}")), "{stack}");
            assert!(
                !stack.contains("worker_pool"),
                "the pool has called the handler, and is left out: {stack}"
            );
        };
        is_told(In::Loop(Arc::clone(&stop)), "goes_round_and_round").await;
        stop.store(true, SeqCst);
        let (open, gate) = bounded(0);
        is_told(In::SystemCall(gate), "waits_at_the_gate").await;
        drop(open);
    }

    let processor = processor(OptimizationConfig { worker_timeout, ..config() });
    let (stuck, keeper) = gate();
    let requests = [request(0, Act::Answer), request(1, Act::Answer), request(2, Act::Wait(stuck))];
    let begin = Instant::now();
    let answers = all(processor.stream(ready(requests), StreamOptions::default()).unwrap()).await;
    assert_eq!(answers[2].result.as_ref().unwrap_err().kind(), FailureKind::DeadlineExceeded);
    assert!(begin.elapsed() >= worker_timeout);
    let told = report(&reports, "whereabouts", |report| field(report, "number") == Some("2"));
    assert_eq!((field(&told, "class"), field(&told, "stream")), (Some("default"), Some("stream-0")));
    assert!(field(&told, "seat").is_some() && field(&told, "ran").is_some(), "{told:?}");
    if cfg!(target_os = "linux") {
        assert!(field(&told, "thread").is_some_and(|thread| thread.parse::<u32>().is_ok()), "{told:?}");
        assert_ne!(field(&told, "whereabouts"), Some("unknown"), "it is somewhere");
    }
    assert_eq!(field(&told, "checkpoint"), None, "it came by none");
    drop(keeper);

    // One that goes round a loop names the place.
    let (spins, keeper) = gate();
    let requests = [request(0, Act::Spin(spins))];
    all(processor.stream(ready(requests), StreamOptions::default()).unwrap()).await;
    let told = report(&reports, "checkpoint", |_| true);
    assert!(
        field(&told, "checkpoint").is_some_and(|place| place.starts_with("tests/common/mod.rs:")),
        "{told:?}"
    );
    drop(keeper);
}
