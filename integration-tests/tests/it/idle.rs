//! An application without work leaves the machine alone.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use millstream_integration_tests::wait::await_until;

use crate::in_process::Scene;
use crate::recovery::{Worker, orders};

const OBSERVED: Duration = Duration::from_secs(5);

#[test]
fn four_idle_tasks_use_under_two_percent_of_a_core() -> Result<()> {
    if !Path::new("/proc/self/stat").exists() {
        eprintln!("NOT TESTED: how much an idle application uses can be read on Linux only");
        return Ok(());
    }
    let scene = Scene::new("idle", 4)?;
    scene.write(orders(0, 400))?;
    let mut worker = Worker::start(&scene, scene.state_dir.path(), 1)?.running()?;
    scene.await_committed(&[&scene.input])?;
    worker.await_partitions(4)?;
    let process = process_with_argument(&scene.application_id)?;

    // What it did last may still go on in the background: a checkpoint, a look at the disk.
    let mut shares = Vec::new();
    await_until(6 * OBSERVED, "it to be idle", || {
        shares.push(share_of_a_core(&process).ok()?);
        shares.last().is_some_and(|share| *share < 0.02).then_some(())
    })
    .with_context(|| format!("shares of a core that it used: {shares:?}"))?;
    assert!(cpu_time(&process)? > Duration::ZERO, "nothing was measured");
    worker.stop()
}

/// What a process uses in a while.
fn share_of_a_core(process: &Path) -> Result<f64> {
    let (began, used_before) = (Instant::now(), cpu_time(process)?);
    std::thread::sleep(OBSERVED);
    let used = cpu_time(process)?.saturating_sub(used_before);
    Ok(used.as_secs_f64() / began.elapsed().as_secs_f64())
}

/// The folder below `/proc` of the process that was started with this argument.
fn process_with_argument(argument: &str) -> Result<std::path::PathBuf> {
    let processes = fs::read_dir("/proc")?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_wanted = |process: &std::path::PathBuf| {
        // A process may end meanwhile, and others are not ours to read.
        let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|found| found == argument.as_bytes())
    };
    let mut wanted = processes.filter(is_wanted);
    wanted.next().with_context(|| format!("no process was started with {argument}"))
}

/// What all threads of a process have used: its times in user and in kernel mode, in hundredths of a second.
fn cpu_time(process: &Path) -> Result<Duration> {
    let stat = fs::read_to_string(process.join("stat"))?;
    // The second field is the program's name in brackets, which may hold anything.
    let (_, after_name) = stat.rsplit_once(')').context("not a line of /proc/<pid>/stat")?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next =
        || -> Result<u64> { Ok(fields.next().context("a short line in /proc/<pid>/stat")?.parse()?) };
    Ok(Duration::from_millis(10 * (next()? + next()?)))
}
