//! The tool `millstream` from the outside: arguments, files and signals in; stdout, stderr and exit codes out.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod admin_pages;
mod serving;

use std::{
    fs,
    path::{Path, PathBuf},
};

use millstream::grpc::proto::{StreamRequest, data_plane_client::DataPlaneClient, stream_response::Outcome};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use self::serving::{PATIENCE, Serving, millstream, signal};

/// What a run of the tool left behind.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

async fn finish(command: &mut Command) -> Run {
    let output = timeout(PATIENCE, command.output()).await.expect("the tool ends").unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn run(arguments: &[&str]) -> Run {
    finish(&mut millstream(arguments)).await
}

/// Files in a directory of their own.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self.text(name)
    }
}

fn digest_line(path: &str) -> String {
    format!("{}  {path}", blake3::hash(&fs::read(path).unwrap()))
}

#[tokio::test]
async fn a_wrong_command_line_is_usage() {
    for arguments in [
        &[][..],
        &["make-coffee"],
        &["process", "digest"],
        &["process", "digest", "x", "--order", "random"],
        &["process", "digest", "x", "--param", "no-equals-sign"],
        &["process", "digest", "x", "--server", "http://127.0.0.1:1", "--set", "worker_count=1"],
        &["process", "make-coffee", "x"],
        &["serve", "--listen", "nowhere"],
        &["top"],
        &["top", "--server", "http://127.0.0.1:1", "--interval", "10"],
        &["config", "show", "--set", "worker_count"],
    ] {
        let run = run(arguments).await;
        assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
        assert_eq!(run.stdout, "", "{arguments:?}");
        assert_ne!(run.stderr, "", "{arguments:?}");
    }
    for flag in ["--listen", "--admin-listen"] {
        let run = run(&["serve", flag, "localhost:50051"]).await;
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains(flag) && run.stderr.contains("127.0.0.1:50051"), "{run:?}");
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_usage_for_every_command_that_reads_it() {
    let files = Files::new();
    let file = files.write("millstream.toml", "worker_count = 2\nworker_cuont = 2\n");
    for command in [&["serve"][..], &["process", "digest", &file], &["config", "show"]] {
        let run = run(&[command, &["--config", &file]].concat()).await;
        assert_eq!(run.code, Some(2), "{run:?}");
        assert_eq!(
            run.stderr,
            format!("millstream: unknown key `worker_cuont` ({file}:2): is it `worker_count`?\n")
        );
    }
    let run = finish(millstream(&["serve"]).env("MILLSTREAM_WORKER_COUNTS", "4")).await;
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("is it MILLSTREAM_WORKER_COUNT?"), "{run:?}");
    let run = finish(millstream(&["config", "presets"]).env("MILLSTREAM_LOG", "what=[")).await;
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("MILLSTREAM_LOG"), "{run:?}");
    #[cfg(unix)]
    {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

        let garbled = OsStr::from_bytes(b"debug\xff");
        let run = finish(millstream(&["config", "presets"]).env("MILLSTREAM_LOG", garbled)).await;
        assert_eq!(run.code, Some(2));
        assert_eq!(run.stderr, "millstream: MILLSTREAM_LOG = \"debug\\xFF\": it is not UTF-8\n");
    }
}

#[tokio::test]
async fn the_configuration_in_force_is_shown_with_origins_and_reads_back() {
    let files = Files::new();
    let file = files.write("millstream.toml", "batch_size = 7\n[server]\ndrain_timeout = '3s'\n");
    let arguments =
        ["config", "show", "--config", &file, "--preset", "memory_efficient", "--set", "when_full=shed"];
    let shown = finish(millstream(&arguments).env("MILLSTREAM_WORKER_COUNT", "4")).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for line in [
        "preset = \"memory_efficient\"  # --preset",
        &format!("batch_size = 7  # {file}:1"),
        "cache_capacity = 100  # preset memory_efficient",
        "worker_count = 4  # MILLSTREAM_WORKER_COUNT",
        "when_full = \"shed\"  # --set",
        "worker_timeout = \"30s\"  # default",
        &format!("drain_timeout = \"3s\"  # {file}:3"),
    ] {
        assert!(shown.stdout.lines().any(|shown| shown == line), "{line}\n{}", shown.stdout);
    }
    let file = files.write("shown.toml", &shown.stdout);
    let again = run(&["config", "show", "--config", &file]).await;
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&again.stdout), values(&shown.stdout));
}

#[tokio::test]
async fn a_file_is_checked_and_presets_are_listed() {
    let files = Files::new();
    let good = files.write("good.toml", "preset = 'development'\n");
    let bad = files.write("bad.toml", "worker_timeout = 5\n");
    let checked = run(&["config", "check", &good]).await;
    assert_eq!((checked.code, checked.stdout), (Some(0), format!("{good}: ok\n")));
    let checked = run(&["config", "check", &bad]).await;
    assert_eq!(checked.code, Some(2));
    assert!(
        checked.stderr.contains(&format!("worker_timeout = 5 ({bad}:1): expected a duration")),
        "{checked:?}"
    );
    let presets = run(&["config", "presets"]).await;
    assert_eq!(presets.code, Some(0));
    assert!(presets.stdout.contains("high_performance: throughput first\n"), "{presets:?}");
}

#[tokio::test]
async fn a_server_drains_on_the_first_signal_and_its_logs_are_plain_on_stderr() {
    let mut server = Serving::start(&["--set", "server.drain_timeout=1h"]).await;
    let mut client = DataPlaneClient::connect(server.url()).await.unwrap();
    let (requests, stream) = mpsc::channel(1);
    let mut answers = client.stream(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let echo = |id| StreamRequest { id, operation: "echo".into(), payload: "x".into(), ..Default::default() };
    requests.send(echo(1)).await.unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!((answer.id, answer.outcome), (1, Some(Outcome::Result("x".into()))));

    signal(&server.child, "-TERM").await;
    // The drain has begun once the socket is closed: what is sent from then on is refused.
    while tokio::net::TcpStream::connect(&server.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    requests.send(echo(2)).await.unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(Outcome::Error(error)) = answer.outcome else { panic!("accepted while draining: {answer:?}") };
    assert_eq!(Code::from(error.code), Code::Unavailable, "{error:?}");
    drop(requests);
    assert_eq!(answers.message().await.unwrap(), None);
    drop(client);

    let mut stderr = String::new();
    let pipe = server.child.stderr.take().unwrap();
    assert_eq!(server.ended().await, Some(0));
    tokio::io::AsyncReadExt::read_to_string(&mut { pipe }, &mut stderr).await.unwrap();
    assert!(stderr.contains("draining"), "{stderr}");
    assert!(!stderr.contains('\x1b'), "{stderr}");
}

#[tokio::test]
async fn the_second_signal_ends_the_server_at_once() {
    let server = Serving::start(&["--set", "server.drain_timeout=1h"]).await;
    let mut client = DataPlaneClient::connect(server.url()).await.unwrap();
    let open = client.stream(tokio_stream::pending::<StreamRequest>()).await.unwrap();
    signal(&server.child, "-INT").await;
    while tokio::net::TcpStream::connect(&server.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    signal(&server.child, "-TERM").await;
    assert_eq!(server.ended().await, Some(1));
    drop(open);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_servers_io_has_as_many_threads_as_it_was_given() {
    let server = Serving::start(&["--set", "server.io_threads=3"]).await;
    let tasks = format!("/proc/{}/task", server.child.id().unwrap());
    let named = || {
        let tasks = std::fs::read_dir(&tasks).unwrap();
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
        };
        tasks.map(name).filter(|name| name.trim_end() == "millstream-io").count()
    };
    // A thread gives itself its name, some time after it was made.
    timeout(PATIENCE, async {
        while named() != 3 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("three threads");
    let refused = run(&["serve", "--set", "server.io_threads=0"]).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("server.io_threads"), "{refused:?}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_a_failure() {
    let server = Serving::start(&[]).await;
    let second = run(&["serve", "--listen", &server.addr]).await;
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains(&format!("cannot listen on {}", server.addr)), "{second:?}");
    assert_eq!(second.stdout, "");
}

#[tokio::test]
async fn digests_are_listed_on_stdout_in_order_and_a_file_that_fails_does_not_stop_the_others() {
    let files = Files::new();
    let names: Vec<String> =
        (0..300).map(|i| files.write(&format!("f{i}"), format!("{i}").repeat(i))).collect();
    let missing = files.text("missing");
    let mut arguments = vec!["process", "digest"];
    arguments.extend(names[..150].iter().map(String::as_str));
    arguments.extend([missing.as_str(), files.dir.path().to_str().unwrap()]);
    arguments.extend(names[150..].iter().map(String::as_str));
    let lines: Vec<String> = names.iter().map(|name| digest_line(name)).collect();

    let done = run(&arguments).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!(done.stdout.lines().collect::<Vec<_>>(), lines);
    assert!(done.stderr.contains(&format!("{missing}: No such file")), "{}", done.stderr);
    assert!(done.stderr.contains(": not a regular file"), "{}", done.stderr);
    assert!(done.stderr.contains("files         302 (2 failed)\n"), "{}", done.stderr);
    assert!(!done.stderr.contains('\x1b'), "{}", done.stderr);

    arguments.extend(["--order", "completion"]);
    let done = run(&arguments).await;
    let mut finished: Vec<_> = done.stdout.lines().collect();
    finished.sort_unstable();
    let mut lines = lines;
    lines.sort_unstable();
    assert_eq!(finished, lines);
}

#[tokio::test]
async fn results_are_written_under_their_names_and_the_table_is_on_stdout() {
    let files = Files::new();
    let (a, b) = (files.write("in/a.json", "{\"b\": 1, \"a\": 2}"), files.write("in/b.json", "[1.0]"));
    let out = files.text("out");
    for (operation, results) in [
        ("echo", [("a.json", "{\"b\": 1, \"a\": 2}"), ("b.json", "[1.0]")]),
        ("validate", [("a.json", "{\"a\":2,\"b\":1}"), ("b.json", "[1]")]),
    ] {
        let done = run(&["process", operation, &a, &b, "--output", &out]).await;
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{done:?}");
        for figure in ["files         2\n", "messages/s ", "cache hits ", " p50 ", " p95 ", " p99\n"] {
            assert!(done.stdout.contains(figure), "{figure}\n{}", done.stdout);
        }
        for (name, content) in results {
            assert_eq!(fs::read_to_string(Path::new(&out).join(name)).unwrap(), content);
        }
    }
    let done = run(&["process", "digest", &a, "--output", &out]).await;
    assert_eq!(done.code, Some(0));
    let digest = fs::read_to_string(Path::new(&out).join("a.json.blake3")).unwrap();
    assert_eq!(digest, format!("{}  a.json\n", blake3::hash(b"{\"b\": 1, \"a\": 2}")));
    let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.json", "a.json.blake3", "b.json"]);
}

#[tokio::test]
async fn what_fails_on_the_server_is_named_with_its_reason() {
    let files = Files::new();
    let (good, bad) = (files.write("good.json", "[]"), files.write("bad.json", "["));
    let done = run(&["process", "validate", &bad, &good]).await;
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.starts_with(&format!("{bad}: ")), "{done:?}");
    assert!(done.stderr.contains("line 1") && done.stderr.contains("(InvalidArgument)"), "{done:?}");
    assert!(done.stdout.starts_with("files         2 (1 failed)\n"), "{done:?}");
}

#[tokio::test]
async fn an_input_is_never_overwritten_nor_one_result_by_another() {
    let files = Files::new();
    let (a, b) = (files.write("a/x", "a"), files.write("b/x", "b"));
    let done = run(&["process", "echo", &a, "--output", &files.text("a")]).await;
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("would overwrite the input"), "{done:?}");
    let done = run(&["process", "echo", &a, &b, "--output", &files.text("out")]).await;
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("would both be"), "{done:?}");
    assert_eq!((fs::read(a).unwrap(), fs::read(b).unwrap()), (b"a".to_vec(), b"b".to_vec()));
}

#[tokio::test]
async fn results_that_are_being_written_are_in_nobodys_way() {
    let files = Files::new();
    let inputs = [".a.part", "a", &"n".repeat(255)].map(|name| files.write(&format!("in/{name}"), name));
    let results = files.text("out");
    let [hidden, plain, long] = &inputs;
    let done = run(&["process", "echo", hidden, plain, long, "--output", &results]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(fs::read_dir(&results).unwrap().count(), 3);
    for input in inputs {
        let name = Path::new(&input).file_name().unwrap();
        assert_eq!(fs::read(Path::new(&results).join(name)).unwrap(), fs::read(&input).unwrap());
    }
}

#[tokio::test]
async fn a_file_that_the_server_finds_too_large_does_not_take_the_others_along() {
    let files = Files::new();
    let server = Serving::start(&["--set", "server.max_message_size=10KiB"]).await;
    let size = |i: usize| if i % 40 == 20 { 20_000 } else { 100 + i };
    let names: Vec<String> = (0..100).map(|i| files.write(&format!("f{i}"), vec![7; size(i)])).collect();
    let mut arguments = vec!["process", "digest"];
    arguments.extend(names.iter().map(String::as_str));
    let url = server.url();
    arguments.extend(["--server", &url]);
    let done = run(&arguments).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!(done.stderr.matches("is above the limit of 10240 bytes").count(), 2, "{}", done.stderr);
    assert!(done.stderr.contains(&format!("{}: a message of 200", names[20])), "{}", done.stderr);
    let mut finished: Vec<_> = done.stdout.lines().map(str::to_owned).collect();
    finished.sort_unstable();
    let fitting = names.iter().enumerate().filter(|(i, _)| i % 40 != 20);
    let mut lines: Vec<_> = fitting.map(|(_, name)| digest_line(name)).collect();
    lines.sort_unstable();
    assert_eq!(finished, lines);
    signal(&server.child, "-TERM").await;
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn a_file_above_the_embedded_limit_is_told_which_setting_raises_it() {
    let files = Files::new();
    let (large, small) = (files.write("large", vec![0; 5 << 20]), files.write("small", "x"));
    let done = run(&["process", "digest", &large, &small]).await;
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("--set server.max_message_size=SIZE raises it"), "{done:?}");
    assert_eq!(done.stdout, digest_line(&small) + "\n");
    let done = run(&["process", "digest", &large, "--set", "server.max_message_size=6MiB"]).await;
    assert_eq!((done.code, done.stdout), (Some(0), digest_line(&large) + "\n"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure() {
    let files = Files::new();
    let file = files.write("x", "x");
    // Taken by somebody who does not listen, so that nobody else does.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", taken.local_addr().unwrap());
    for arguments in [&["process", "digest", &file][..], &["top"]] {
        let done = run(&[arguments, &["--server", &url]].concat()).await;
        assert_eq!(done.code, Some(1));
        assert!(done.stderr.contains(&format!("cannot connect to {url}")), "{done:?}");
    }
}

#[tokio::test]
async fn top_shows_a_table_once_and_a_line_for_each_look_without_a_terminal() {
    let server = Serving::start(&[]).await;
    let once = run(&["top", "--server", &server.addr, "--once"]).await;
    assert_eq!(once.code, Some(0), "{once:?}");
    assert!(once.stdout.contains("uptime ") && once.stdout.contains("in flight "), "{once:?}");
    let mut top = millstream(&["top", "--server", &server.url(), "--interval", "20ms"]).spawn().unwrap();
    let mut lines = BufReader::new(top.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.starts_with("up ") && !line.contains('\x1b'), "{line}");
    signal(&top, "-INT").await;
    assert_eq!(timeout(PATIENCE, top.wait()).await.unwrap().unwrap().code(), Some(0));
}

#[tokio::test]
async fn top_ends_on_a_signal_whatever_it_waits_for() {
    // A server that accepts connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    for (more, name) in [(&["--once"][..], "-INT"), (&[], "-TERM")] {
        let mut top = millstream(&[&["top", "--server", &url], more].concat()).spawn().unwrap();
        let _connection = timeout(PATIENCE, silent.accept()).await.unwrap().unwrap();
        signal(&top, name).await;
        assert_eq!(timeout(PATIENCE, top.wait()).await.expect("it ends").unwrap().code(), Some(0), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_not_waited_for() {
    let files = Files::new();
    let input = files.write("a.txt", "a");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let done = run(&["process", "digest", &input, "--server", &url]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("cannot list the operations"), "{done:?}");
}

#[tokio::test]
async fn load_is_measured_told_and_judged() {
    let files = Files::new();
    let server = Serving::start(&[]).await;
    let (url, json) = (server.url(), files.text("load.json"));
    let arguments = ["load", "--server", &url, "--operation", "digest", "--rate", "200", "--streams", "4"];
    let more =
        ["--duration", "500ms", "--warm-up", "0s", "--payload", "1KiB", "--seed", "7", "--json", &json];
    let done = run(&[&arguments[..], &more].concat()).await;
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    // Whether the generator kept up is the machine's affair: what it says about it is ours.
    if report["valid"] == true {
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(!done.stdout.contains("INVALID"), "{done:?}");
    } else {
        assert_eq!(done.code, Some(3), "{done:?}");
        assert!(done.stdout.starts_with("INVALID"), "{done:?}");
    }
    assert_eq!((&report["seed"], &report["lost"]), (&7.into(), &0.into()), "{report}");
    assert_eq!(report["sent"], report["answered_ok"], "{report}");
    assert_ne!(report["sent"], 0);
    assert_eq!(report["errors"]["RESOURCE_EXHAUSTED"], 0);
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_said_all_the_same() {
    let files = Files::new();
    let server = Serving::start(&[]).await;
    let (url, nowhere) = (server.url(), files.text("nowhere/load.json"));
    let arguments = ["load", "--server", &url, "--operation", "digest", "--rate", "100", "--streams", "1"];
    let more = ["--duration", "100ms", "--warm-up", "0s", "--json", &nowhere];
    let done = run(&[&arguments[..], &more].concat()).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.contains("p99") || done.stdout.contains("INVALID"), "{done:?}");
    assert!(done.stderr.contains(&format!("cannot write {nowhere}: ")), "{done:?}");
}

#[tokio::test]
async fn load_that_cannot_be_offered_is_usage() {
    let arguments = ["load", "--server", "127.0.0.1:1", "--operation", "echo", "--streams", "1"];
    for wrong in [
        &["--rate", "0", "--duration", "1s"][..],
        &["--rate", "10", "--duration", "10"],
        &["--rate", "10", "--duration", "1s", "--payload", "4KX"],
        &["--rate", "10"],
    ] {
        let run = run(&[&arguments[..], wrong].concat()).await;
        assert_eq!(run.code, Some(2), "{wrong:?}: {run:?}");
    }
    let run = run(&[&arguments[..], &["--rate", "10", "--duration", "1s"]].concat()).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("cannot connect to http://127.0.0.1:1"), "{run:?}");
}
