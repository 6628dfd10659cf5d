//! CPU time and memory of this process, as the operating system counts them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Measured;

/// CPU time of this process so far, all threads, user and system.
pub(crate) fn cpu_time() -> Result<Duration> {
    const TICKS_PER_SECOND: u64 = 100;
    let stat =
        fs::read_to_string("/proc/self/stat").context("CPU time is read from /proc, which only Linux has")?;
    // The process name, in parentheses, may contain spaces; user and system time are fields 14 and 15.
    let after_name = stat.rsplit_once(") ").context("/proc/self/stat has no process name")?.1;
    let mut fields = after_name.split(' ').skip(11).map(str::parse::<u64>);
    let mut next = || fields.next().context("/proc/self/stat is too short");
    let ticks = next()?? + next()??;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// The largest resident size so far, in megabytes.
fn peak_resident_megabytes() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("/proc/self/status has no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024.0)
}

/// What a run that took `elapsed` and `cpu` for `records` comes to.
pub(crate) fn measured(records: u64, elapsed: Duration, cpu: Duration) -> Result<Measured> {
    #[allow(clippy::cast_precision_loss, reason = "a count of records fits")]
    let records = records as f64;
    Ok(Measured {
        records_per_second: records / elapsed.as_secs_f64(),
        cpu_nanoseconds_per_record: cpu.as_secs_f64() * 1e9 / records,
        resident_megabytes: peak_resident_megabytes()?,
    })
}
