//! More bytes than there is room for: what the server holds stays within its budgets, whatever clients send at once.

use std::fs;

use tokio::{task::JoinSet, time::timeout};

use super::{PATIENCE, Serving, client, request, until};

const MIB: u64 = 1 << 20;
const CLIENTS: u64 = 100;
/// As large as a message may be by default, less its envelope.
const LARGEST: usize = (4 << 20) - 100;
/// What the code, the threads' stacks, 100 calls' windows of 64 KiB and the allocator's slack take beside the budgets.
const BESIDE: u64 = 64 * MIB;

/// The most memory that a process ever had resident.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_with_the_largest_messages_hold_what_the_budgets_allow_and_are_all_answered() {
    let budgets = ["--set", "max_bytes_in_flight=33554432", "--set", "server.max_receiving_bytes=33554432"];
    let server = Serving::start(&budgets).await;
    let pid = server.child.id().unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = client(&server).await;
        calls.spawn(async move {
            for id in 0..2 {
                client.process(request(id, "digest", vec![7; LARGEST], &[])).await.unwrap();
            }
        });
    }
    timeout(PATIENCE, calls.join_all()).await.expect("every call is answered");
    let peak = peak(pid);
    // Without the second budget: 400 MiB more.
    assert!(peak <= 64 * MIB + BESIDE, "{} MiB", peak / MIB);
    let mut client = client(&server).await;
    until(&mut client, "everything is free", |stats| stats.bytes_in_flight == 0).await;
}
