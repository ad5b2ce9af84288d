//! A log that nobody reads: the server goes on, and ends in time.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use tonic::Code;

use super::{
    PATIENCE, Serving, client, code, request,
    serving::{millstream, signal},
    within,
};

/// More than a pipe and the queue before it hold, each with a line of its own.
const PANICS: u64 = 8000;
const DRAIN: Duration = Duration::from_millis(300);
/// What the process may take beyond that.
const GRACE: Duration = Duration::from_secs(1);

async fn start() -> Serving {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--allow-fault-injection"];
    let drain = format!("server.drain_timeout={}ms", DRAIN.as_millis());
    let mut command = millstream(&[&arguments[..], &["--set", &drain, "--set", "worker_count=2"]].concat());
    // All that it can say, so that hostile connections are spoken of as well.
    Serving::of(command.env("MILLSTREAM_LOG", "info,millstream=debug")).await
}

/// Panics in workers, broken connections in I/O threads: each is answered, and logged.
async fn flood(server: &Serving) {
    let mut client = client(server).await;
    let panics = (0..PANICS).map(|id| request(id, "echo", "x", &[("panic", "true")]));
    let mut answers = client.stream(tokio_stream::iter(panics)).await.unwrap().into_inner();
    for id in 0..PANICS {
        let answer =
            timeout(PATIENCE, answers.message()).await.expect("the server goes on").unwrap().unwrap();
        assert_eq!((answer.id, code(&answer)), (id, Code::Internal));
    }
    for _ in 0..50 {
        let mut peer = TcpStream::connect(&server.addr).await.unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n GET / HTTP/1.1\r\n\r\n").await.unwrap();
    }
}

#[tokio::test]
async fn a_server_whose_log_is_not_read_answers_all_the_same_and_ends_in_time() {
    let server = start().await;
    flood(&server).await;
    let mut client = client(&server).await;
    let answer = timeout(PATIENCE, client.process(request(1, "echo", "x", &[]))).await.unwrap();
    answer.unwrap();
    signal(&server.child, "-TERM").await;
    assert_eq!(within(DRAIN + GRACE, server.ended()).await, Some(Some(0)));
}

#[tokio::test]
async fn who_reads_the_log_again_is_told_what_is_missing() {
    let mut server = start().await;
    flood(&server).await;
    let mut lines = BufReader::new(server.child.stderr.take().unwrap()).lines();
    let missing = async {
        let mut panics = 0;
        while let Some(line) = lines.next_line().await.unwrap() {
            panics += u64::from(line.contains("panicked"));
            if line.contains("lines of the log are missing here") {
                return panics;
            }
        }
        panic!("the log ends");
    };
    let panics = timeout(PATIENCE, missing).await.expect("the log says so");
    assert!(panics > 0 && panics < PANICS, "{panics} panics were logged before");
}
