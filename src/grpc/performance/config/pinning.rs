//! Which cores workers are pinned to, and how that is written.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which cores the workers are pinned to: `off`, `all`, or `reserve:N`.
///
/// Only cores that the process may use count (its affinity mask and cgroup). Where pinning fails, that is reported
/// once and the pool runs unpinned.
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
