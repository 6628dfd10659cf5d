//! What a restart finds: after `kill -9` the tail of the changelog, after a clean stop everything, without its state directory
//! the whole changelog; and a state directory that it may not or cannot read is an error that says what to do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use millstream::prelude::*;
use millstream::{ClientState, Streams};
use millstream_integration_tests::kafka::{NewRecord, ReadRecord};
use millstream_integration_tests::process::RunningProgram;
use millstream_integration_tests::wait::await_until;

use crate::in_process::{COUNTS, DEADLINE, Scene, await_rows, counts_of, newest_counts, recount};

/// In a worker's environment: how long the group waits for a sign of it, in milliseconds, if not six seconds.
pub(crate) const SESSION_TIMEOUT: &str = "SESSION_TIMEOUT_MS";

/// A count application in a process of its own.
pub(crate) struct Worker {
    pub(crate) program: RunningProgram,
}

/// What a worker has restored of the store of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) partition: i32,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) records: i64,
}

impl Worker {
    pub(crate) fn start(scene: &Scene, state_dir: &Path, threads: usize) -> Result<Self> {
        Worker::start_as(scene, state_dir, threads, "key", &[])
    }

    /// With what it counts by, and more of its environment.
    pub(crate) fn start_as(
        scene: &Scene,
        state_dir: &Path,
        threads: usize,
        count_by: &str,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_count-worker"));
        command.args([scene.kafka.bootstrap_servers(), &scene.application_id, &scene.input, &scene.output]);
        let session = environment.iter().find(|(name, _)| *name == SESSION_TIMEOUT);
        let session = session.map_or("6000", |(_, millis)| *millis);
        command.arg(state_dir).args([session, &threads.to_string(), count_by]);
        command.envs(environment.iter().copied());
        Ok(Worker { program: RunningProgram::start("count-worker", command)? })
    }

    /// The worker, once it runs.
    pub(crate) fn running(mut self) -> Result<Self> {
        self.await_running()?;
        Ok(self)
    }

    pub(crate) fn await_running(&mut self) -> Result<()> {
        self.program.await_line(DEADLINE, "the state running", |line| (line == "state running").then_some(()))
    }

    /// The counts of the partitions it has.
    pub(crate) fn counts(&mut self) -> Result<BTreeMap<String, u64>> {
        self.program.send_line("counts")?;
        let answer = self.program.await_line(DEADLINE, "its counts", |line| {
            let counts = line.strip_prefix("counts ").map(|counts| Ok(counts.to_owned()));
            counts.or_else(|| line.starts_with("no counts: ").then(|| Err(anyhow!("it has {line}"))))
        })?;
        Ok(serde_json::from_str(&answer?)?)
    }

    pub(crate) fn await_counts(&mut self, expected: &BTreeMap<String, u64>) -> Result<()> {
        await_rows(expected, || self.counts())
    }

    /// How many of the store's partitions it has open.
    pub(crate) fn partitions(&mut self) -> Result<usize> {
        self.program.send_line("coverage")?;
        self.program
            .await_line(DEADLINE, "its coverage", |line| {
                let open =
                    line.strip_prefix("coverage ").and_then(|open| Some(Ok(open.split(' ').next()?.parse())));
                open.or_else(|| line.starts_with("no coverage: ").then(|| Err(anyhow!("it has {line}"))))
            })??
            .map_err(anyhow::Error::from)
    }

    pub(crate) fn await_partitions(&mut self, partitions: usize) -> Result<()> {
        await_until(DEADLINE, format!("it to have {partitions} partitions"), || {
            self.partitions().is_ok_and(|open| open == partitions).then_some(())
        })
    }

    /// What it has restored since it started.
    pub(crate) fn restored(&self) -> Vec<Restored> {
        let parse = |line: String| {
            let words: Vec<&str> = line.split(' ').collect();
            let ["restored", "counts", task, "from", from, "to", to, "records", records] = words[..] else {
                return None;
            };
            let (_, partition) = task.split_once('_')?;
            Some(Restored {
                partition: partition.parse().ok()?,
                from: from.parse().ok()?,
                to: to.parse().ok()?,
                records: records.parse().ok()?,
            })
        };
        self.program.lines().into_iter().filter_map(parse).collect()
    }

    pub(crate) fn stop(&mut self) -> Result<()> {
        self.stop_within(DEADLINE)
    }

    pub(crate) fn stop_within(&mut self, deadline: Duration) -> Result<()> {
        self.program.interrupt()?;
        let status = self.program.wait(deadline)?;
        ensure!(
            status.success(),
            "the worker ended with {status}: {}",
            self.program.error_lines().join("\n")
        );
        Ok(())
    }
}

/// `count` records from number `first` on, spread over forty keys.
pub(crate) fn orders(first: usize, count: usize) -> impl Iterator<Item = (String, String)> {
    (first..first + count).map(|number| (format!("sku-{}", number % 40), number.to_string()))
}

/// What at-least-once promises, to the record: the changelog up to where it was restored, plus every input record whose offset
/// was not committed.
fn expected_after_crash(
    changelog: &[ReadRecord],
    input: &[ReadRecord],
    restored_to: &BTreeMap<i32, i64>,
    committed: &BTreeMap<(String, i32), i64>,
    topic: &str,
) -> Result<BTreeMap<String, u64>> {
    let is_restored =
        |record: &&ReadRecord| record.offset < restored_to.get(&record.partition).copied().unwrap_or(0);
    let known: Vec<ReadRecord> = changelog.iter().filter(is_restored).cloned().collect();
    let mut counts = newest_counts(&known)?;
    let is_uncommitted = |record: &&ReadRecord| {
        record.offset >= committed.get(&(topic.to_owned(), record.partition)).copied().unwrap_or(0)
    };
    for key in input.iter().filter(is_uncommitted).filter_map(ReadRecord::key_text) {
        *counts.entry(key).or_insert(0) += 1;
    }
    Ok(counts)
}

/// Writes to the input, fast and yet so that others get a core, while `during` runs, then returns what that returned.
pub(crate) fn under_load<T>(scene: &Scene, during: impl FnOnce() -> Result<T>) -> Result<T> {
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| -> Result<()> {
            let mut first = 1_000_000;
            while !enough.load(Ordering::Relaxed) {
                scene.write(orders(first, 500))?;
                first += 500;
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        });
        let outcome = during();
        enough.store(true, Ordering::Relaxed);
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        outcome
    })
}

#[test]
fn a_kill_costs_the_tail_of_the_changelog_and_no_record() -> Result<()> {
    let scene = Scene::new("killed", 2)?;
    scene.write(orders(0, 5_000))?;
    let mut worker = Worker::start(&scene, scene.state_dir.path(), 1)?.running()?;
    scene.await_committed(&[&scene.input])?;
    // Two commits later the first of them is checkpointed.
    let changelog = scene.internal("counts-changelog");
    for round in 0..2 {
        scene.write(orders(5_000 + round * 100, 100))?;
        scene.await_committed(&[&scene.input])?;
    }

    let before = scene.kafka.end_offsets(&changelog)?;
    under_load(&scene, || {
        let idle = scene.kafka.committed_offsets(&scene.application_id)?;
        let mut committed = idle.clone();
        await_until(DEADLINE, "a commit under load", || {
            committed = scene.kafka.committed_offsets(&scene.application_id).ok()?;
            committed.iter().all(|(partition, next)| *next > idle[partition]).then_some(())
        })?;
        // Each record is one entry of the changelog. Right after a commit Kafka has no more entries than records are committed,
        // and a kill leaves no tail; the next commit is two seconds away.
        await_until(DEADLINE, "a tail of the changelog", || {
            let ends = scene.kafka.end_offsets(&changelog).ok()?;
            let has_tail =
                |(partition, end): (&i32, &i64)| *end > committed[&(scene.input.clone(), *partition)];
            ends.iter().all(has_tail).then_some(())
        })?;
        worker.program.kill()
    })?;
    let committed = scene.kafka.committed_offsets(&scene.application_id)?;

    let mut again = Worker::start(&scene, scene.state_dir.path(), 1)?.running()?;
    let restored = again.restored();
    scene.await_committed(&[&scene.input])?;

    assert_eq!(restored.len(), 2, "both partitions have a tail: {restored:?}");
    for Restored { partition, from, to, records } in &restored {
        assert!(*from > 0, "partition {partition} was restored from the start: {restored:?}");
        assert!(
            *from >= before[partition] - 200,
            "more than the tail: {restored:?}, before the load {before:?}"
        );
        assert_eq!(*records, to - from, "nothing is compacted yet");
    }
    let input = scene.kafka.read_all(&scene.input)?;
    let restored_to = restored.iter().map(|restored| (restored.partition, restored.to)).collect();
    let expected = expected_after_crash(
        &scene.kafka.read_all(&changelog)?,
        &input,
        &restored_to,
        &committed,
        &scene.input,
    )?;
    again.await_counts(&expected)?;
    assert_eq!(scene.counts_in_changelog()?, expected, "the changelog is the store");
    for (key, recounted) in recount(input.iter().filter_map(ReadRecord::key_text)) {
        assert!(expected[&key] >= recounted, "{key} was counted {} times of {recounted}", expected[&key]);
    }
    again.stop()
}

#[test]
fn a_clean_stop_counts_none_twice_and_restores_nothing() -> Result<()> {
    let scene = Scene::new("stopped", 2)?;
    scene.write(orders(0, 2_000))?;
    let mut worker = Worker::start(&scene, scene.state_dir.path(), 1)?.running()?;
    under_load(&scene, || {
        scene.await_committed_records(3_000)?;
        worker.stop()
    })?;

    let mut again = Worker::start(&scene, scene.state_dir.path(), 1)?.running()?;
    assert_eq!(again.restored(), [], "all of it was in the state directory");
    scene.await_committed(&[&scene.input])?;
    let recounted = scene.recount()?;
    again.await_counts(&recounted)?;
    again.stop()?;

    fs::remove_dir_all(scene.state_dir.path())?;
    let changelog_ends = scene.kafka.end_offsets(&scene.internal("counts-changelog"))?;
    let mut without_state = Worker::start(&scene, scene.state_dir.path(), 1)?.running()?;
    let mut restored = without_state.restored();
    restored.sort_by_key(|restored| restored.partition);
    let whole = changelog_ends.into_iter().map(|(partition, end)| Restored {
        partition,
        from: 0,
        to: end,
        records: end,
    });
    assert_eq!(restored, whole.collect::<Vec<_>>());
    assert_eq!(without_state.counts()?, recounted);
    without_state.stop()
}

#[test]
fn a_second_process_waits_for_the_state_directory() -> Result<()> {
    let scene = Scene::new("locked", 2)?;
    scene.write(orders(0, 200))?;
    let mut first = Worker::start(&scene, scene.state_dir.path(), 1)?.running()?;
    scene.await_committed(&[&scene.input])?;
    // The group gives each a partition: the first closes its task before the second opens it.
    let mut second = Worker::start(&scene, scene.state_dir.path(), 2)?.running()?;
    await_until(DEADLINE, "the partitions to be shared", || {
        let shared = (first.partitions().ok()?, second.partitions().ok()?);
        (shared == (1, 1)).then_some(())
    })?;
    scene.write(orders(200, 200))?;
    scene.await_committed(&[&scene.input])?;
    await_rows(&recount(orders(0, 400).map(|(key, _)| key)), || {
        let mut counts = first.counts()?;
        counts.extend(second.counts()?);
        Ok(counts)
    })?;
    first.stop()?;
    second.stop()
}

#[test]
fn a_held_state_directory_is_an_error_after_the_session_timeout() -> Result<()> {
    let scene = written_state("held")?;
    // Held by nobody of the group, so that no rebalance will ever free it.
    let held = fs::File::open(scene.task_directory("0_0").join(".lock"))?;
    held.try_lock()?;
    let error = failure_of(scene.app(scene.count_by_key()?, scene.settings()))?;
    for part in [&*scene.task_directory("0_0").to_string_lossy(), "is in use", "its own `state_dir`"] {
        assert!(error.contains(part), "{error}");
    }
    drop(held);
    scene.run(scene.count_by_key()?)?.close()?;
    Ok(())
}

#[test]
fn a_corrupt_state_directory_is_named_with_its_remedy() -> Result<()> {
    let scene = written_state("corrupt")?;
    let database = scene.task_directory("0_1").join("rocksdb");
    fs::write(database.join("CURRENT"), "no manifest")?;
    let error = failure_of(scene.app(scene.count_by_key()?, scene.settings()))?;
    for part in [&*database.to_string_lossy(), "is corrupt", "Remove that directory"] {
        assert!(error.contains(part), "{error}");
    }

    fs::remove_dir_all(&database)?;
    let app = scene.run(scene.count_by_key()?)?;
    assert_eq!(counts_of(&app)?, recount(orders(0, 400).map(|(key, _)| key)), "the remedy helps");
    app.close()?;
    Ok(())
}

#[test]
fn a_truncated_table_file_is_named_with_its_remedy() -> Result<()> {
    let scene = written_state("truncated")?;
    let database = scene.task_directory("0_0").join("rocksdb");
    let is_table = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sst");
    let files: Vec<PathBuf> = fs::read_dir(&database)?.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
    let tables: Vec<&PathBuf> = files.iter().filter(|path| is_table(path)).collect();
    assert!(!tables.is_empty(), "a clean close writes table files: {files:?}");
    for table in tables {
        let length = fs::metadata(table)?.len();
        fs::OpenOptions::new().write(true).open(table)?.set_len(length / 2)?;
    }
    let error = failure_of(scene.app(scene.count_by_key()?, scene.settings()))?;
    for part in [&*database.to_string_lossy(), "is corrupt", "Remove that directory"] {
        assert!(error.contains(part), "{error}");
    }
    Ok(())
}

#[test]
fn the_state_of_another_application_is_left_alone() -> Result<()> {
    let scene = written_state("moved")?;
    let other = Scene::new("other", 2)?;
    fs::rename(
        scene.state_dir.path().join(&scene.application_id),
        other.state_dir.path().join(&other.application_id),
    )?;
    let error = failure_of(other.app(other.count_by_key()?, other.settings()))?;
    for part in [&*scene.application_id, &*other.application_id, "belongs to", "another `state_dir`"] {
        assert!(error.contains(part), "{error}");
    }
    Ok(())
}

#[test]
fn a_store_that_the_topology_lost_is_an_error() -> Result<()> {
    const OTHER: StoreName<String, u64> = StoreName::new("other-counts");
    let scene = written_state("changed")?;
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>(scene.input.as_str()).group_by_key().count(OTHER);
    let error = failure_of(scene.app(builder.build()?, scene.settings()))?;
    for part in
        [COUNTS.name(), "the topology does not have", "reset", &*scene.state_dir.path().to_string_lossy()]
    {
        assert!(error.contains(part), "{error}");
    }
    let app = scene.run(scene.count_by_key()?)?;
    assert_eq!(counts_of(&app)?.values().sum::<u64>(), 400, "nothing was touched");
    app.close()?;
    Ok(())
}

/// The new changelog has more records than the state directory knows of the former one, so that offsets tell nothing.
#[test]
fn the_state_of_a_changelog_that_was_made_again_is_rebuilt() -> Result<()> {
    let scene = written_state("made-again")?;
    let changelog = scene.internal("counts-changelog");
    scene.kafka.delete_topics(&[&changelog])?;
    await_until(DEADLINE, "the changelog to be gone", || {
        (!scene.kafka.topics().ok()?.contains(&changelog)).then_some(())
    })?;
    scene.kafka.create_topic(&changelog, 2, &[("cleanup.policy", "compact")])?;
    let others = (0..1_000_u64).map(|number| NewRecord::new(format!("other-{number}"), number.to_be_bytes()));
    scene.kafka.produce(&changelog, others)?;

    let app = scene.run(scene.count_by_key()?)?;
    assert_eq!(counts_of(&app)?, scene.counts_in_changelog()?, "and nothing of the former one");
    app.close()?;
    Ok(())
}

/// A cleanly closed application with 400 records counted.
fn written_state(subject: &str) -> Result<Scene> {
    Scene::counted(subject, 2, orders(0, 400))
}

/// The error that ends an application after it has started.
fn failure_of(app: millstream::runtime::AppBuilder) -> Result<String> {
    let streams: Streams = app.start()?;
    streams.await_state(ClientState::Error, DEADLINE).context("the application did not fail")?;
    let error = streams.close().err().context("close() returned no error")?;
    Ok(error.to_string())
}
