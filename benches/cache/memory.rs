//! How much memory a budget of bytes takes, all told: what becomes resident while a cache is filled several times over.
//!
//! The cache may hold many more entries than fit by their bytes, so that it is the budget of bytes that binds. Beside keys
//! and values there are the table, what [`Bytes`](bytes::Bytes) and the heap keep for each, and what the heap does not give
//! back of what was replaced.

use std::time::Duration;

use millstream::{CacheKey, OptimizationConfig, StreamCache};
use serde::Serialize;

/// In full and quickly.
const BUDGET: [usize; 2] = [1 << 30, 128 << 20];
/// Entries are allowed for each of so many bytes.
const BYTES_PER_ENTRY: usize = 256;
const VALUES: [usize; 3] = [1 << 10, 4 << 10, 64 << 10];
/// Times that as many values are stored as there is room for.
const TURNS: usize = 3;

/// What one budget takes.
#[derive(Debug, Serialize)]
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
    let figures: Vec<_> = VALUES.iter().filter_map(|&value_bytes| fill(value_bytes, budget)).collect();
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
