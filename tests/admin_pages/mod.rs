//! `serve --admin-listen`: what Prometheus and the probes of whoever runs the server are told.

use millstream::grpc::proto::{StreamRequest, data_plane_client::DataPlaneClient, stream_response::Outcome};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    run,
    serving::{PATIENCE, Serving, signal},
};

/// Status and the rest of what a page answers.
async fn ask(addr: &str, request: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut answer)).await.expect("the page answers").unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// The value of the only line of the page that begins so.
fn figure(page: &str, name: &str) -> f64 {
    let lines: Vec<_> = page.lines().filter_map(|line| line.strip_prefix(name)).collect();
    let [value] = lines[..] else { panic!("{name}: {lines:?} in\n{page}") };
    value.trim().parse().unwrap()
}

async fn with_pages(arguments: &[&str]) -> (Serving, String) {
    let mut server = Serving::start(&[&["--admin-listen", "127.0.0.1:0"], arguments].concat()).await;
    let line = server.next_line().await;
    let addr = line.strip_prefix("admin on ").expect("the line of the contract").to_owned();
    (server, addr)
}

fn echo(id: u64) -> StreamRequest {
    StreamRequest { id, operation: "echo".into(), payload: "x".into(), ..Default::default() }
}

#[tokio::test]
async fn the_figures_are_those_of_the_moment_in_which_they_are_asked_for() {
    let (server, admin) = with_pages(&["--set", "metrics_interval=1h"]).await;
    let mut client = DataPlaneClient::connect(server.url()).await.unwrap();
    for asked in 1..=3 {
        client.process(echo(asked)).await.unwrap();
        let (status, page) = ask(&admin, "GET /metrics").await;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{page}");
        assert_eq!(figure(&page, r#"millstream_messages_answered_total{code="OK"}"#), asked as f64);
        assert_eq!(figure(&page, r#"millstream_sojourn_time_seconds_count{class="echo"}"#), asked as f64);
        let longest = figure(&page, r#"millstream_sojourn_time_seconds{class="echo",quantile="1"}"#);
        assert!(longest > 0.0, "{page}");
        assert_eq!(figure(&page, "millstream_open_connections"), 1.0);
    }
}

#[tokio::test]
async fn readiness_is_taken_back_when_the_drain_begins_and_life_is_not() {
    let (server, admin) = with_pages(&["--set", "server.drain_timeout=1h"]).await;
    for page in ["/readyz", "/healthz"] {
        assert_eq!(ask(&admin, &format!("GET {page}")).await.0, 200, "{page}");
    }
    let mut client = DataPlaneClient::connect(server.url()).await.unwrap();
    let (requests, stream) = mpsc::channel(1);
    let mut answers = client.stream(ReceiverStream::new(stream)).await.unwrap().into_inner();
    requests.send(echo(1)).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().outcome, Some(Outcome::Result("x".into())));

    signal(&server.child, "-TERM").await;
    while TcpStream::connect(&server.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let (status, page) = ask(&admin, "GET /readyz").await;
    assert_eq!(status, 503, "{page}");
    assert!(page.ends_with("draining\n"), "{page}");
    assert_eq!(ask(&admin, "GET /healthz").await.0, 200);
    drop(requests);
    assert_eq!(answers.message().await.unwrap(), None);
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn what_is_no_page_is_told_which_there_are() {
    let (_server, admin) = with_pages(&[]).await;
    let (status, answer) = ask(&admin, "GET /metric").await;
    assert_eq!(status, 404);
    assert!(answer.ends_with("there are /metrics, /healthz and /readyz\n"), "{answer}");
    let (status, answer) = ask(&admin, "POST /metrics").await;
    assert_eq!(status, 405);
    assert!(answer.contains("allow: GET, HEAD"), "{answer}");
    let (status, answer) = ask(&admin, "HEAD /healthz").await;
    assert_eq!(status, 200);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn connections_that_say_nothing_leave_the_pages_to_others_when_they_go() {
    let (_server, admin) = with_pages(&[]).await;
    // One more than may be open at a time: the page waits in the kernel until one of them has gone.
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(TcpStream::connect(&admin).await.unwrap());
    }
    silent.pop();
    assert_eq!(ask(&admin, "GET /healthz").await.0, 200);
}

#[tokio::test]
async fn an_address_for_the_pages_that_is_none_or_taken_is_refused() {
    let refused = run(&["serve", "--set", "server.admin_listen=here"]).await;
    assert_eq!(refused.code, Some(2));
    let expected = r#"expected an address such as "127.0.0.1:9090", or "off""#;
    assert!(refused.stderr.contains(expected), "{refused:?}");
    let (_server, admin) = with_pages(&[]).await;
    let refused = run(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", &admin]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains(&format!("cannot listen on {admin}")), "{refused:?}");
    assert_eq!(refused.stdout, "");
}
