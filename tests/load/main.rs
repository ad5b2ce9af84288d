//! The load generator against servers that behave, and that do not.
#![cfg(feature = "cli")]

mod stand_in;

use std::time::Duration;

use millstream::grpc::proto::StreamResponse;
use millstream::load::{self, Arrivals, LoadError, LoadOptions, LoadReport, Order, Payload, WeightedMessage};
use stand_in::{StandIn, Step, answer, refuse};
use tonic::{Code, Status};

/// 300 evenly paced messages of 64 bytes in 300 ms, on two streams.
fn options(server: &StandIn) -> LoadOptions {
    let message = WeightedMessage { payload: Payload::Random(64), ..WeightedMessage::new("echo") };
    LoadOptions {
        duration: Duration::from_millis(300),
        warm_up: Duration::ZERO,
        streams: 2,
        arrivals: Arrivals::Constant,
        seed: 1,
        judge_cpu: false,
        ..LoadOptions::new(server.address(), message)
    }
}

async fn run(options: LoadOptions) -> LoadReport {
    load::run(options).await.expect("the server accepts connections")
}

/// Sent, good, failed, lost.
fn counts(report: &LoadReport) -> (u64, u64, u64, u64) {
    (report.sent, report.answered_ok, report.failed(), report.lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_answered_and_measured() {
    let server = StandIn::start(|_, request| answer(&request)).await;
    let report = run(options(&server)).await;
    assert_eq!(counts(&report), (300, 300, 0, 0));
    assert_eq!((report.duplicates, report.unknown, report.streams_failed, report.streams_cut), (0, 0, 0, 0));
    assert!((report.offered_per_s - 1000.0).abs() < 1e-6);
    assert!((report.goodput_per_s - 1000.0).abs() < 1e-6);
    assert!(report.latency.p50_us > 0 && report.latency.max_us >= report.uncorrected_latency.max_us);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_carries_what_was_asked_for() {
    let server = StandIn::start(|_, request| {
        let as_asked = request.payload.len() == 64
            && request.operation == "echo"
            && request.parameters.get("busy").is_some_and(|busy| busy == "5ms")
            && request.timeout == Some(prost_types::Duration { seconds: 60, nanos: 0 });
        if as_asked {
            answer(&request)
        } else {
            refuse(&request, Code::InvalidArgument, &format!("{request:?}"))
        }
    })
    .await;
    let mut options = LoadOptions { order: Order::Completion, ..options(&server) };
    options.mix[0].parameters.insert("busy".to_owned(), "5ms".to_owned());
    options.mix[0].timeout = Some(Duration::from_secs(60));
    let report = run(options).await;
    assert_eq!(counts(&report), (300, 300, 0, 0), "{:?}", report.error_examples);
    assert_eq!(server.orders(), ["completion", "completion"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_spread_over_the_connections() {
    let server = StandIn::start(|_, request| answer(&request)).await;
    let report = run(LoadOptions { streams: 7, connections: Some(3), ..options(&server) }).await;
    assert_eq!(counts(&report), (300, 300, 0, 0));
    assert_eq!(server.streams_by_peer(), [2, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_counted_by_code_and_by_label() {
    let server = StandIn::start(|_, request| match request.operation.as_str() {
        "digest" => refuse(&request, Code::ResourceExhausted, "the lanes are full"),
        _ => answer(&request),
    })
    .await;
    let mut options = options(&server);
    options.mix.push(WeightedMessage { payload: Payload::Random(64), ..WeightedMessage::new("digest") });
    let report = run(options).await;
    let [echo, digest] = &report.labels[..] else { panic!("two labels: {:?}", report.labels) };
    assert!(echo.sent > 0 && digest.sent > 0 && echo.sent + digest.sent == 300);
    assert_eq!((echo.answered_ok, echo.failed), (echo.sent, 0));
    assert_eq!((digest.answered_ok, digest.failed), (0, digest.sent));
    assert_eq!(report.errors["RESOURCE_EXHAUSTED"], digest.sent);
    assert_eq!(report.error_examples["RESOURCE_EXHAUSTED"], "the lanes are full");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_never_come_are_lost() {
    let server = StandIn::start(|number, request| match number % 10 {
        9 => Step::Answers(Vec::new()),
        _ => answer(&request),
    })
    .await;
    let report = run(options(&server)).await;
    assert_eq!(counts(&report), (300, 270, 0, 30));
    assert_eq!((report.lost_in_warm_up, report.unsent), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_with_neither_a_result_nor_an_error_are_errors() {
    let server = StandIn::start(|_, request| match answer(&request) {
        Step::Answers(answers) => {
            let empty = |answer| StreamResponse { outcome: None, ..answer };
            Step::Answers(answers.into_iter().map(empty).collect())
        }
        other => other,
    })
    .await;
    let report = run(options(&server)).await;
    assert_eq!((report.answered_ok, report.errors["UNKNOWN"]), (0, 300));
    assert!(report.error_examples["UNKNOWN"].contains("neither"), "{:?}", report.error_examples);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_come_twice_are_said_and_counted_once() {
    let server = StandIn::start(|_, request| match answer(&request) {
        Step::Answers(answers) => Step::Answers([answers.clone(), answers].concat()),
        other => other,
    })
    .await;
    let report = run(options(&server)).await;
    assert_eq!(counts(&report), (300, 300, 0, 0));
    assert_eq!((report.duplicates, report.unknown), (300, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_what_was_never_asked_are_said() {
    let server = StandIn::start(|_, mut request| {
        request.id += 1_000_000;
        answer(&request)
    })
    .await;
    let report = run(options(&server)).await;
    assert_eq!(counts(&report), (300, 0, 0, 300));
    assert_eq!((report.duplicates, report.unknown), (0, 300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_stream_leaves_has_the_streams_status() {
    let server = StandIn::start(|number, request| match number {
        50 => Step::Close(Status::unavailable("draining")),
        _ => answer(&request),
    })
    .await;
    let report = run(options(&server)).await;
    assert_eq!(counts(&report), (300, 100, 200, 0), "each of two streams answers 50");
    assert_eq!(report.errors["UNAVAILABLE"], 200);
    assert_eq!(report.error_examples["UNAVAILABLE"], "draining");
    assert_eq!(report.streams_failed, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_ends_a_stream_is_waited_for_no_longer_than_the_drain() {
    let server = StandIn::start(|number, request| match number {
        100 => Step::Hang,
        _ => answer(&request),
    })
    .await;
    // A machine that stops the server for all of that time makes more of them lost.
    let mut drain = Duration::from_millis(500);
    loop {
        let report = run(LoadOptions { drain: Some(drain), ..options(&server) }).await;
        assert_eq!((report.sent, report.failed(), report.answered_ok + report.lost), (300, 0, 300));
        assert_eq!((report.streams_cut, report.streams_failed), (2, 0));
        assert!(report.answered_ok <= 200, "{report:?}");
        server.until(|server| server.open_streams() == 0).await;
        if report.answered_ok == 200 {
            break;
        }
        assert!(drain < Duration::from_secs(60), "{report:?}");
        drain *= 2;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_reading_holds_up_nobody_but_itself() {
    let server = StandIn::start(|_, _| Step::Hang).await;
    let mut options = LoadOptions { drain: Some(Duration::from_millis(200)), ..options(&server) };
    options.mix[0].payload = Payload::Random(16 * 1024);
    let report = run(options).await;
    assert_eq!(counts(&report), (300, 0, 0, 300), "all was offered, whatever the server read");
    assert!(report.unsent > 0, "2.4 MB for each stream is more than its window");
    server.until(|server| server.open_streams() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_warm_up_is_sent_and_not_counted() {
    let server = StandIn::start(|_, request| answer(&request)).await;
    let report = run(LoadOptions { warm_up: Duration::from_millis(100), ..options(&server) }).await;
    assert_eq!(counts(&report), (300, 300, 0, 0));
    assert_eq!(server.received(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goodput_is_what_came_in_time() {
    let stall = Duration::from_millis(100);
    let server = StandIn::start(move |number, request| match number {
        0 => Step::Stall(stall, answer(&request).into_answers()),
        _ => answer(&request),
    })
    .await;
    let mut options = LoadOptions { streams: 1, ..options(&server) };
    options.mix[0].timeout = Some(Duration::from_millis(50));
    let report = run(options).await;
    assert_eq!(counts(&report), (300, 300, 0, 0));
    // The first fifty of those that fell due in the stall had to wait for longer than 50 ms.
    assert!(report.goodput_per_s <= 250.0 / 0.3, "{} in time per second", report.goodput_per_s);
}

/// A thousand messages per second, a server that stands still for 200 ms: who sends the next message when it has the
/// last answer sees one slow message; in truth 200 were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_shows_in_every_message_that_fell_due_in_it() {
    let server = StandIn::start(|number, request| match number {
        300 => Step::Stall(Duration::from_millis(200), answer(&request).into_answers()),
        _ => answer(&request),
    })
    .await;
    let mut options = LoadOptions { duration: Duration::from_secs(1), streams: 1, ..options(&server) };
    // 800 KB in the time of the stall: more than the server's window, so that most of it cannot even be sent.
    options.mix[0].payload = Payload::Random(4096);
    let report = run(options).await;
    assert_eq!(counts(&report), (1000, 1000, 0, 0));
    let LoadReport { latency, uncorrected_latency, .. } = &report;
    assert!(latency.p99_us >= 180_000, "10 of 1000 fell due in the first 10 ms of the stall: {latency:?}");
    assert!(latency.p90_us >= 90_000, "100 of 1000 fell due in its first half: {latency:?}");
    assert!(
        uncorrected_latency.p90_us < latency.p90_us,
        "waiting to be sent is left out: {uncorrected_latency:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_dropped_lets_go_of_its_streams() {
    let server = StandIn::start(|_, request| answer(&request)).await;
    let endless = LoadOptions { duration: Duration::from_secs(3600), ..options(&server) };
    let run = tokio::spawn(load::run(endless));
    server.until(|server| server.received() > 0).await;
    run.abort();
    server.until(|server| server.open_streams() == 0).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    // Taken by somebody who does not listen, so that nobody else does.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let server = format!("http://{}", taken.local_addr().unwrap());
    let error = load::run(LoadOptions::new(&server, WeightedMessage::new("echo"))).await.unwrap_err();
    assert!(matches!(error, LoadError::Connect { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("cannot connect to {server}"));
    let source = std::error::Error::source(&error).expect("the transport says why");
    assert!(format!("{source:?}").contains("ConnectionRefused"), "{source:?}");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let error =
        load::run(LoadOptions::new("not an address", WeightedMessage::new("echo"))).await.unwrap_err();
    assert!(error.to_string().starts_with("server = not an address: "), "{error}");
}

#[tokio::test]
async fn an_option_that_cannot_work_is_refused_before_anything_is_sent() {
    let server = StandIn::start(|_, request| answer(&request)).await;
    let error = load::run(LoadOptions { rate_per_s: 0.0, ..options(&server) }).await.unwrap_err();
    assert_eq!(error.to_string(), "rate_per_s = 0.0: a rate is a number above 0");
    assert_eq!(server.orders(), [""; 0]);
}
