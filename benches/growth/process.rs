//! What a process uses and holds, as Linux tells it.

use std::{fs, time::Duration};

/// One tick of the times in `/proc/PID/stat`: 100 a second on every architecture, since programs rely on it.
const TICK: Duration = Duration::from_millis(10);
/// Words of `/proc/PID/stat` behind the name of the program and before the CPU time in user mode.
const BEFORE_TIMES: usize = 11;

/// CPU time of all threads of a process.
pub(crate) fn cpu(process: u32) -> Result<Duration, String> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let (_, words) = stat.rsplit_once(") ").ok_or_else(|| format!("{path} has another form"))?;
    let times: Vec<u32> =
        words.split(' ').skip(BEFORE_TIMES).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    let &[user, system] = &times[..] else { return Err(format!("{path} does not tell CPU times")) };
    Ok(TICK * (user + system))
}

/// Bytes of a process that are in memory.
pub(crate) fn resident(process: u32) -> Result<u64, String> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| format!("{path} does not tell what is resident"))
}
