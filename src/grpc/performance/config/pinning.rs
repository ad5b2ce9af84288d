//! Which cores workers are pinned to, and how that is written.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which cores the workers are pinned to: `off`, `all`, or `reserve:N`.
///
/// Only cores that the process may use count (its affinity mask and cgroup). Where pinning fails, that is reported
/// once and the pool runs unpinned. It also does where a quota grants fewer cores than the process may run on: the
/// processes of a machine's containers would all pin to the same ones. On Linux the first core is the first thread of a
/// physical core, the next one that of another one of the same memory node; the other nodes follow, and then the second
/// threads of each core.
///
/// # Which one
/// **Two cores** (`cargo bench --bench tail_latency -- --quick`, two or three runs of each policy, in turn; medians of the
/// p99, and the range where the runs are far from each other. The bench has `off` among its variants, `..._unpinned`; for
/// `reserve:1` it was changed):
///
/// | p99, with workers on | `all` | `off` | `reserve:1` |
/// |---|---|---|---|
/// | 100 µs each, half load, on streams | 1.18 ms | 12 ms | 45 ms |
/// | the same, through [`WorkerPool::spawn`](crate::WorkerPool::spawn) | 0.81 ms (0.79 to 1.8) | 4.4 ms (1.3 to 6.5) | 18 ms |
/// | exponential 1 ms, 70% load, through `spawn` | 8.4 ms | 9.7 ms (8.5 to 11) | 199 ms |
/// | 95% of 0.2 ms and 5% of 10 ms, 80% load, on streams | 36 ms | 39 ms | 600 ms |
/// | a round trip of 20 µs, 1 ms apart, through `spawn` | 72 µs | 77 µs | 107 µs |
///
/// So `all`. Left to itself the kernel puts both workers on one core now and then, beside a core that has nothing to do;
/// and a core that is reserved is half of the machine. I/O threads take their time from workers by their priority
/// ([`worker_niceness`](crate::OptimizationConfig::worker_niceness)).
///
/// What follows is argued, since only two cores were at hand:
/// - **8 cores**: `all`. A reserved core is an eighth of what handlers could have, for what priority gives I/O anyway, at
///   the price of a preemption for each wake. `reserve:1` is for a machine where something else has to run undisturbed, a
///   proxy beside the service say, which is not niced against.
/// - **32 cores, two threads each of 16**: `all`, and as many workers as physical cores (`worker_count = 16`) where
///   handlers compute without a pause, as hashes and codecs do: the second thread adds little to the first, and takes from
///   its service time. They are chosen by themselves, and the second threads are left to I/O. Handlers that wait for
///   memory gain by all 32.
/// - **128 cores in two or more nodes**: a process for each node, bound to it by its cpuset. Lanes, cache and pools are
///   shared by all workers of a pool, and each message passes a few cache lines; between nodes that costs several times as
///   much. One process with a worker for each physical core of one node, or fewer, stays in that node by the order above.
/// - **A container with a CPU limit**: whatever is set, workers are not pinned. With a cpuset in place of the limit they
///   are, and nobody else is on their cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pinning {
    /// The scheduler places the workers.
    Off,
    /// Worker `i` on core `i`, starting anew when there are more workers than cores.
    #[default]
    AllCores,
    /// The first N cores stay free for I/O, at least one remains for the workers.
    ReserveForIo(usize),
}

impl fmt::Display for Pinning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::AllCores => f.write_str("all"),
            Self::ReserveForIo(cores) => write!(f, "reserve:{cores}"),
        }
    }
}

impl FromStr for Pinning {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "all" => Ok(Self::AllCores),
            _ => text
                .strip_prefix("reserve:")
                .and_then(|cores| cores.parse().ok())
                .map(Self::ReserveForIo)
                .ok_or_else(|| format!("`{text}` is not a pinning: write `off`, `all` or `reserve:N`")),
        }
    }
}

impl Serialize for Pinning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pinning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
