//! Mixed load with random faults for as long as `MILLSTREAM_SOAK_SECONDS` says (15 by default), and then the accounts:
//! every message has one answer, and the server has given back its memory, threads, sockets and pooled objects.
//!
//! ```sh
//! MILLSTREAM_SOAK_SECONDS=600 cargo test --release --all-features --test faults soak -- --nocapture
//! ```

use std::{collections::BTreeSet, env, fs, process::Stdio, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::{Client, PATIENCE, Serving, client, code, request, serving::millstream, until};
use millstream::grpc::proto::StreamRequest;

const SECONDS: u64 = 15;
const CUSTOMERS: u64 = 6;
/// Before this the pools fill, and the allocator finds its size.
const WARM_UP: f64 = 0.3;
/// What resident memory may grow by from then on, whatever the length of the run: the allocator's arenas, not messages.
const NOISE: f64 = (24 << 20) as f64;

fn seconds() -> u64 {
    let text = env::var("MILLSTREAM_SOAK_SECONDS").unwrap_or_else(|_| SECONDS.to_string());
    text.parse().expect("MILLSTREAM_SOAK_SECONDS is a number")
}

/// Some message or other.
fn message(dice: &mut StdRng, id: u64) -> StreamRequest {
    let bytes = |dice: &mut StdRng, most: usize| vec![dice.random::<u8>(); dice.random_range(0..most)];
    let mut request = match dice.random_range(0..100) {
        0..40 => request(id, "echo", bytes(dice, 4096), &[]),
        40..55 => request(id, "echo", bytes(dice, 64), &[("busy", "2ms")]),
        55..65 => request(id, "digest", bytes(dice, 256 << 10), &[]),
        65..73 => request(id, "compress", bytes(dice, 64 << 10), &[]),
        73..80 => request(id, "decompress", bytes(dice, 64), &[]),
        80..88 => request(id, "validate", r#"{"a": [1, 2, {"b": "#, &[]),
        88..93 => request(id, "echo", "x", &[("panic", "true")]),
        93..95 => request(id, "echo", "x", &[("busy", "250ms"), ("stubborn", "true")]),
        95..98 => request(id, "echo", "x", &[("busy", "50ms")]),
        _ => request(id, "coffee", "x", &[]),
    };
    request.priority = dice.random_range(0..4);
    request.no_cache = dice.random();
    if dice.random_ratio(1, 4) {
        let nanos = dice.random_range(1_000_000..100_000_000);
        request.timeout = Some(prost_types::Duration { seconds: 0, nanos });
    }
    request
}

/// One client after the other, until the end; gives how many answers it has had.
async fn customers(url: String, seed: u64, end: Instant) -> u64 {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut answered = 0;
    while Instant::now() < end {
        let mut client = Client::connect(url.clone()).await.expect("the server accepts connections");
        for _ in 0..dice.random_range(1..6) {
            match dice.random_range(0..10) {
                0 => breaks_off(&url, &mut dice).await,
                1 => {
                    // Takes its call back.
                    let call = client.process(message(&mut dice, 0));
                    let _ = timeout(Duration::from_millis(dice.random_range(0..20)), call).await;
                }
                2 => answered += stream(&mut client, &mut dice, true).await,
                _ => answered += stream(&mut client, &mut dice, false).await,
            }
        }
    }
    answered
}

/// A peer that does not get far.
async fn breaks_off(url: &str, dice: &mut StdRng) {
    let addr = url.strip_prefix("http://").expect("it is made of an address");
    let mut peer = TcpStream::connect(addr).await.expect("the server accepts connections");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    peer.write_all(&preface[..dice.random_range(0..preface.len())]).await.expect("it is open");
}

/// A stream: to its end, with an answer for each message, or, when it leaves, to somewhere in between.
async fn stream(client: &mut Client, dice: &mut StdRng, leaves: bool) -> u64 {
    let length = dice.random_range(1..60);
    let (sender, feed) = mpsc::channel(length as usize);
    let mut open: BTreeSet<_> = (0..length).collect();
    let sent: Vec<_> = (0..length).map(|id| message(dice, id)).collect();
    for message in &sent {
        sender.try_send(message.clone()).expect("the feed has room for all");
    }
    drop(sender);
    let mut answers = client.stream(ReceiverStream::new(feed)).await.expect("the stream opens").into_inner();
    let stays_for = if leaves { dice.random_range(0..length) } else { length };
    for _ in 0..stays_for {
        let answer = timeout(PATIENCE, answers.message()).await.unwrap_or_else(|_| {
            let next = open.first().map(|id| {
                let StreamRequest { operation, parameters, priority, timeout, payload, .. } =
                    &sent[*id as usize];
                format!(
                    "{operation} of {} bytes, {parameters:?}, priority {priority}, {timeout:?}",
                    payload.len()
                )
            });
            panic!("no answer within {PATIENCE:?}; open are {open:?}, the first of them {next:?}")
        });
        let answer = answer.expect("the stream lives").expect("each message has an answer");
        assert!(open.remove(&answer.id), "answered twice: {answer:?}");
        assert!(!matches!(code(&answer), Code::Unknown | Code::Cancelled), "{answer:?}");
    }
    if !leaves {
        assert!(answers.message().await.expect("the stream ends well").is_none());
    }
    stays_for
}

/// What a process holds: threads, and descriptors.
fn holdings(pid: u32) -> (usize, usize) {
    let count = |what| fs::read_dir(format!("/proc/{pid}/{what}")).expect("the server runs").count();
    (count("task"), count("fd"))
}

/// By how much a straight line through the samples, taken at regular times, rises from the first to the last.
fn rise(samples: &[f64]) -> f64 {
    let count = samples.len() as f64;
    let (mean_x, mean_y) = ((count - 1.0) / 2.0, samples.iter().sum::<f64>() / count);
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (x, y) in samples.iter().enumerate() {
        covariance += (x as f64 - mean_x) * (y - mean_y);
        variance += (x as f64 - mean_x).powi(2);
    }
    covariance / variance * (count - 1.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_long_mixed_load_with_faults_every_message_is_accounted_for_and_nothing_has_leaked() {
    let length = Duration::from_secs(seconds());
    let mut command = millstream(&["serve", "--listen", "127.0.0.1:0", "--allow-fault-injection"]);
    command.args(["--set", "worker_count=2", "--set", "worker_timeout=100ms"]);
    // A cache that is full before the memory is looked at.
    command.args(["--set", "cache_byte_capacity=4194304"]);
    // A pipe that nobody reads would fill with what the log says of all the faults, and stop the server.
    command.args(["--set", "server.handshake_timeout=5s"]).stderr(Stdio::null());
    let server = Serving::of(&mut command).await;
    let pid = server.child.id().expect("the server runs");
    let mut watcher = client(&server).await;
    until(&mut watcher, "it is up", |stats| stats.workers == 2).await;
    let before = holdings(pid);
    let seed = rand::random::<u64>();
    println!("a soak of {length:?}, by seed {seed}");
    let end = Instant::now() + length;
    let mut load = JoinSet::new();
    for customer in 0..CUSTOMERS {
        load.spawn(customers(server.url(), seed.wrapping_add(customer), end));
    }
    let mut memory = Vec::new();
    let mut looks = tokio::time::interval(length / 100);
    while Instant::now() < end {
        looks.tick().await;
        memory.push(until(&mut watcher, "figures come", |_| true).await.resident_bytes as f64);
    }
    let mut answered = 0;
    while let Some(customer) =
        timeout(PATIENCE, load.join_next()).await.expect("all customers come to an end")
    {
        answered += customer.expect("no customer has a complaint");
    }
    let stats = until(&mut watcher, "everything is given back", |stats| {
        let answers = stats.answered_ok + stats.errors.values().sum::<u64>();
        stats.accepted == answers && stats.queued + stats.bytes_in_flight + stats.open_streams == 0
    })
    .await;
    assert!(stats.accepted >= answered && answered > 100, "{answered} answers: {stats:?}");
    // Connections that have been left close when the server hears of it, half of a preface after its timeout.
    let deadline = Instant::now() + PATIENCE;
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while holdings(pid) != before {
        looks.tick().await;
        assert!(Instant::now() < deadline, "threads and descriptors: {before:?}, then {:?}", holdings(pid));
    }
    let settled = &memory[(memory.len() as f64 * WARM_UP) as usize..];
    let rise = rise(settled);
    println!(
        "{} messages; memory {:.0} MiB, rises by {:.1} MiB",
        stats.accepted,
        settled[0] / 1048576.0,
        rise / 1048576.0
    );
    assert!(rise < NOISE, "resident memory grows by {rise:.0} bytes: {settled:?}");
}
