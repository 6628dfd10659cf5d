//! A thousand tasks in one instance: started, shared with a second instance and taken back, within memory, time and open files.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millstream_integration_tests::kafka::{NewRecord, RealKafka, unique_name};
use millstream_integration_tests::wait::await_until;

use crate::in_process::Scene;
use crate::recovery::Worker;

const TASKS: i32 = 1_000;
/// For the broker as well: it makes as many partitions for the changelog.
const DEADLINE: Duration = Duration::from_secs(180);
const LONGEST_START: Duration = Duration::from_secs(30);
const MOST_RESIDENT: u64 = 1 << 30;
/// They are per instance, not per task.
const MOST_THREADS: u64 = 100;
/// Of a task; `docs/performance.md` says which.
const MOST_FILES: usize = 12;

/// What the operating system says about a process.
#[derive(Debug, Clone, Copy)]
struct Usage {
    resident: u64,
    open_files: usize,
    threads: u64,
}

impl Usage {
    #[cfg(target_os = "linux")]
    fn of(process: u32) -> Result<Usage> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.with_context(|| format!("no {name} in {status}"))
        };
        Ok(Usage {
            resident: field("VmRSS:")? << 10,
            open_files: std::fs::read_dir(format!("/proc/{process}/fd"))?.count(),
            threads: field("Threads:")?,
        })
    }

    /// Elsewhere nothing is measured.
    #[cfg(not(target_os = "linux"))]
    fn of(_process: u32) -> Result<Usage> {
        Ok(Usage { resident: 0, open_files: 0, threads: 0 })
    }
}

/// Partitions for `TASKS` tasks, each with a key of its own in it.
fn scene() -> Result<Scene> {
    let scene = Scene {
        kafka: RealKafka::shared()?,
        application_id: unique_name("many"),
        input: unique_name("many-in"),
        output: unique_name("many-out"),
        state_dir: tempfile::Builder::new().prefix("millstream-of-a-test-").tempdir()?,
    };
    scene.kafka.create_topic(&scene.input, usize::try_from(TASKS)?, &[])?;
    scene.kafka.create_topic(&scene.output, 4, &[])?;
    Ok(scene)
}

fn write(scene: &Scene) -> Result<()> {
    let record = |partition: i32| NewRecord::new(format!("sku-{partition}"), "1").in_partition(partition);
    scene.kafka.produce(&scene.input, (0..TASKS).map(record))
}

/// Starts a worker with two threads, and says how long it took to run.
fn start(scene: &Scene, state_dir: &std::path::Path) -> Result<(Worker, Duration)> {
    let started = Instant::now();
    let mut worker = Worker::start(scene, state_dir, 2)?;
    worker
        .program
        .await_line(DEADLINE, "the state running", |line| (line == "state running").then_some(()))?;
    Ok((worker, started.elapsed()))
}

fn await_count(worker: &mut Worker, count: u64) -> Result<()> {
    await_until(DEADLINE, format!("each key to be counted {count} times"), || {
        let counts = worker.counts().ok()?;
        let all =
            counts.len() == usize::try_from(TASKS).ok()? && counts.values().all(|found| *found == count);
        all.then_some(())
    })
}

fn await_tasks(worker: &mut Worker, tasks: std::ops::RangeInclusive<usize>) -> Result<()> {
    await_until(DEADLINE, format!("{tasks:?} tasks to be open"), || {
        worker.partitions().is_ok_and(|open| tasks.contains(&open)).then_some(())
    })
}

#[test]
fn a_thousand_tasks_start_are_shared_and_stay_within_memory() -> Result<()> {
    let scene = scene()?;
    let (mut worker, first_start) = start(&scene, scene.state_dir.path())?;
    let idle = Usage::of(worker.program.id())?;
    write(&scene)?;
    await_count(&mut worker, 1)?;
    let counted = Usage::of(worker.program.id())?;
    worker.stop_within(DEADLINE)?;

    let (mut worker, restart) = start(&scene, scene.state_dir.path())?;
    assert_eq!(worker.restored(), [], "all of it was in the state directory");
    let restarted = Usage::of(worker.program.id())?;
    let (elsewhere, half) = (tempfile::tempdir()?, usize::try_from(TASKS)? / 2);
    let joining = Instant::now();
    let (mut other, _) = start(&scene, elsewhere.path())?;
    await_tasks(&mut worker, half..=half)?;
    await_tasks(&mut other, half..=half)?;
    let shared = joining.elapsed();
    write(&scene)?;
    let leaving = Instant::now();
    other.stop_within(DEADLINE)?;
    await_tasks(&mut worker, 2 * half..=2 * half)?;
    let taken_back = leaving.elapsed();
    await_count(&mut worker, 2)?;
    let after = Usage::of(worker.program.id())?;
    worker.stop_within(DEADLINE)?;

    println!(
        "first start {first_start:?}, restart {restart:?}, shared after {shared:?}, taken back after {taken_back:?}"
    );
    println!("idle {idle:?}\ncounted {counted:?}\nrestarted {restarted:?}\nafter {after:?}");
    for usage in [idle, counted, restarted, after] {
        ensure!(usage.resident < MOST_RESIDENT, "it takes {} MB", usage.resident >> 20);
        ensure!(usage.threads < MOST_THREADS, "{usage:?}");
        let per_task = usage.open_files / usize::try_from(TASKS)?;
        ensure!(per_task <= MOST_FILES, "{per_task} open files a task: {usage:?}");
    }
    for (what, took) in [("the first start", first_start), ("a start with state", restart)] {
        ensure!(took < LONGEST_START, "{what} took {took:?}");
    }
    Ok(())
}
