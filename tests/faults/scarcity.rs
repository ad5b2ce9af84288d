//! A system that has nothing to give: no descriptors, no threads.

use std::{fs, time::Duration};

use tokio::{net::TcpStream, process::Command, time::timeout};

use super::{PATIENCE, Serving, client, request, serving::millstream};

/// The server under a limit of the shell's `ulimit`.
fn limited(limit: &str, arguments: &str) -> Command {
    let tool = millstream(&[]);
    let mut command = Command::new("sh");
    let script = format!(
        "ulimit {limit} && exec {} serve --listen 127.0.0.1:0 {arguments}",
        env!("CARGO_BIN_EXE_millstream")
    );
    command.args(["-c", &script]);
    for (name, value) in tool.as_std().get_envs() {
        if value.is_none() {
            command.env_remove(name);
        }
    }
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped()).kill_on_drop(true);
    command
}

/// CPU time that a process has used, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test]
async fn without_descriptors_those_who_are_in_are_served_and_those_who_wait_come_in_later() {
    let server = Serving::of(&mut limited("-n 40", "--set worker_count=2")).await;
    let pid = server.child.id().unwrap();
    let mut inside = client(&server).await;
    inside.process(request(0, "echo", "x", &[])).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..60 {
        crowd.push(TcpStream::connect(&server.addr).await.unwrap());
    }
    inside.process(request(1, "echo", "x", &[])).await.unwrap();
    let before = ticks(pid);
    let outside = timeout(Duration::from_millis(500), async {
        let mut outside = client(&server).await;
        outside.process(request(2, "echo", "x", &[])).await
    });
    assert!(outside.await.is_err(), "there is no descriptor for it");
    let spent = ticks(pid) - before;
    assert!(spent < 25, "{spent}0 ms of CPU time in 500 ms: the loop is busy");
    inside.process(request(3, "echo", "x", &[])).await.unwrap();
    drop(crowd);
    let mut outside = timeout(PATIENCE, client(&server)).await.unwrap();
    timeout(PATIENCE, outside.process(request(4, "echo", "x", &[]))).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_gets_no_threads_says_so_and_ends() {
    // Each thread takes 2 MiB of addresses for its stack. Where the last one gets that, and then no room for its signal stack,
    // the standard library ends the process: a matter of some kilobytes, so that another limit is tried then.
    let mut limits = [1_500_000, 1_500_700, 1_501_400].into_iter();
    let output = loop {
        let limit = limits.next().expect("not every limit is one of those");
        let mut command = limited(&format!("-v {limit}"), "--set worker_count=1000");
        let output = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
        if output.status.code().is_some() {
            break output;
        }
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the system gives no thread for worker_count = 1000"), "{stderr}");
}
