//! How much memory a budget of bytes takes, all told: what becomes resident while a cache is filled several times over.
//!
//! The cache may hold many more entries than fit by their bytes, so that it is the budget of bytes that binds. Beside keys
//! and values there are the table, what [`Bytes`](bytes::Bytes) and the heap keep for each, and what the heap does not give
//! back of what was replaced. Each cache has a process of its own: what another has freed would serve it, unseen.

use std::{
    env,
    process::{Command, Stdio},
    time::Duration,
};

use millstream::{CacheKey, OptimizationConfig, StreamCache};
use serde::{Deserialize, Serialize};

/// In full and quickly.
const BUDGET: [usize; 2] = [1 << 30, 128 << 20];
/// Entries are allowed for each of so many bytes.
const BYTES_PER_ENTRY: usize = 256;
const VALUES: [usize; 3] = [1 << 10, 4 << 10, 64 << 10];
/// Times that as many values are stored as there is room for.
const TURNS: usize = 3;
/// Tells a process of this bench that it is to fill one cache: the size of the values, and the budget.
const TASK: &str = "MILLSTREAM_BENCH_MEMORY";

/// What one budget takes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) value_bytes: usize,
    budget: usize,
    resident: usize,
    /// By the cache's own books.
    entries: usize,
    /// What becomes resident, as a share of the budget.
    pub(crate) share: f64,
}

/// Every size of values, where the platform tells how much is resident.
pub(crate) fn run(quick: bool) -> Vec<Memory> {
    let budget = BUDGET[usize::from(quick)];
    println!("Memory that a budget of {} MiB takes:\n", budget >> 20);
    let figures: Vec<_> = VALUES.iter().filter_map(|value_bytes| apart(*value_bytes, budget)).collect();
    for Memory { value_bytes, resident, entries, share, .. } in &figures {
        println!(
            "  with values of {value_bytes} bytes: {} MiB for {entries} entries, {:.1}% of the budget.",
            resident >> 20,
            100.0 * share
        );
    }
    println!();
    figures
}

/// Whether this process is here to fill one cache, which it does with that.
pub(crate) fn was_the_task() -> bool {
    let Ok(task) = env::var(TASK) else { return false };
    let [value_bytes, budget] = serde_json::from_str(&task).expect("the task was written by `apart`");
    println!("{}", serde_json::json!(fill(value_bytes, budget)));
    true
}

fn apart(value_bytes: usize, budget: usize) -> Option<Memory> {
    let program = env::current_exe().expect("a process knows its program");
    let mut command = Command::new(program);
    command.env(TASK, serde_json::json!([value_bytes, budget]).to_string()).stderr(Stdio::inherit());
    let output = command.output().expect("this program can be started once more");
    serde_json::from_slice(&output.stdout).expect("it prints what it has found")
}

fn fill(value_bytes: usize, budget: usize) -> Option<Memory> {
    let config = OptimizationConfig {
        cache_capacity: budget / BYTES_PER_ENTRY,
        cache_byte_capacity: budget,
        cache_ttl: Duration::from_secs(24 * 60 * 60),
        enable_cache_compression: false,
        ..OptimizationConfig::default()
    };
    let value = vec![7; value_bytes];
    let before = resident()?;
    let cache = StreamCache::new(&config).expect("a cache of this size can be made");
    for n in 0..TURNS * budget / value_bytes {
        cache.insert(CacheKey::of(&[&n.to_le_bytes()]), &value);
    }
    let resident = resident()?.saturating_sub(before);
    let share = resident as f64 / budget as f64;
    Some(Memory { value_bytes, budget, resident, entries: cache.stats().entries, share })
}

/// Bytes of this process that are resident, on Linux.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: usize = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kilobytes << 10)
}
