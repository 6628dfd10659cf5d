//! Windows that are emitted once they are closed: whatever is killed, none is lost; exactly-once, none comes twice.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use millstream::prelude::*;
use millstream_integration_tests::kafka::NewRecord;
use millstream_integration_tests::process::RunningProgram;
use millstream_integration_tests::wait::await_until;

use crate::in_process::{DEADLINE, Scene, count_from, running};

/// Counts by key and the start of the second, in the order in which they came.
type Counts = Vec<((String, i64), u64)>;

/// Counts as they must be in the end.
type Expected = BTreeMap<(String, i64), u64>;

const EXACTLY_ONCE: &[(&str, &str)] = &[
    ("MILLSTREAM_PROCESSING_GUARANTEE", "exactly_once"),
    ("MILLSTREAM_TRANSACTION_TIMEOUT_MS", "4000"),
    ("MILLSTREAM_COMMIT_INTERVAL_MS", "100"),
];
const AT_LEAST_ONCE: &[(&str, &str)] = &[("MILLSTREAM_COMMIT_INTERVAL_MS", "300")];

fn start(scene: &Scene, environment: &[(&str, &str)]) -> Result<RunningProgram> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_window-worker"));
    command.args([scene.kafka.bootstrap_servers(), &scene.application_id, &scene.input, &scene.output]);
    command.arg(scene.state_dir.path()).envs(environment.iter().copied());
    RunningProgram::start("window-worker", command)
}

fn await_running(program: &mut RunningProgram) -> Result<()> {
    program.await_line(DEADLINE, "the state running", |line| (line == "state running").then_some(()))
}

/// Event times as of today, the first at a full second: a broker deletes old entries of a windowed changelog by their timestamps.
fn first_time() -> Result<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_secs())? * 1_000)
}

/// Record `number` is 20 ms of event time later than the one before, and some are late by up to 200 ms.
fn record(first_time: i64, number: i64) -> (String, i64) {
    (format!("sku-{}", number % 7), first_time + 20 * number - 40 * (number % 6))
}

/// What the aggregation makes of so many records: late ones are left out.
fn expected(first_time: i64, records: i64) -> Expected {
    let (mut counts, mut stream_time) = (BTreeMap::new(), i64::MIN);
    for (key, time) in (0..records).map(|number| record(first_time, number)) {
        stream_time = stream_time.max(time);
        let start = time / 1_000 * 1_000;
        if start + 1_000 > stream_time {
            *counts.entry((key, start)).or_insert(0) += 1;
        }
    }
    counts.retain(|(_, start), _| start + 1_000 <= stream_time);
    counts
}

fn written(scene: &Scene) -> Result<Counts> {
    let records = scene.kafka.read_all(&scene.output)?.into_iter();
    let read = records.map(|record| {
        let key = record.key.context("an output without a key")?;
        let (key, start) = key.split_last_chunk().context("a key without a window")?;
        let key = String::from_utf8(key.to_vec())?;
        Ok((
            (key, i64::from_be_bytes(*start)),
            count_from(&record.value.context("an output without a count")?)?,
        ))
    });
    read.collect()
}

/// Kills the worker again and again while records come in. Returns the outputs, once all that must come are there.
fn killed_under_load(subject: &str, environment: &[(&str, &str)]) -> Result<(Counts, Expected)> {
    let scene = Scene::new(subject, 1)?;
    let mut worker = start(&scene, environment)?;
    await_running(&mut worker)?;
    let (first_time, mut written_records) = (first_time()?, 0);
    let mut write = |records: i64| -> Result<i64> {
        let new = (written_records..written_records + records).map(|number| record(first_time, number));
        scene.kafka.produce(&scene.input, new.map(|(key, time)| NewRecord::new(key, "order").at(time)))?;
        written_records += records;
        Ok(written_records)
    };
    for pause in [900, 250, 1_400, 60, 700] {
        for _batch in 0..10 {
            write(60)?;
            sleep(Duration::from_millis(pause / 10));
        }
        worker.kill()?;
        worker = start(&scene, environment)?;
    }
    let expected = expected(first_time, write(200)?);
    let mut seen = Counts::new();
    await_until(3 * DEADLINE, "every closed window to be emitted", || {
        seen = written(&scene).ok()?;
        expected.keys().all(|window| seen.iter().any(|(found, _)| found == window)).then_some(())
    })
    .with_context(|| format!("the outputs are {seen:?}, not {expected:?}"))?;
    // What would come twice comes with the next commits.
    sleep(Duration::from_secs(1));
    Ok((written(&scene)?, expected))
}

#[test]
fn exactly_once_each_closed_window_is_emitted_once_whatever_is_killed() -> Result<()> {
    let (outputs, expected) = killed_under_load("windows-exactly-once", EXACTLY_ONCE)?;
    let order: Vec<_> = outputs.iter().map(|((key, start), _)| (*start, key.clone())).collect();
    ensure!(order.is_sorted(), "windows come in the order of time, then of their keys: {order:?}");
    let found: BTreeMap<_, _> = outputs.iter().cloned().collect();
    assert_eq!(found, expected);
    assert_eq!(outputs.len(), expected.len(), "none came twice");
    Ok(())
}

#[test]
fn at_least_once_no_closed_window_is_lost_whatever_is_killed() -> Result<()> {
    let (outputs, expected) = killed_under_load("windows-at-least-once", AT_LEAST_ONCE)?;
    let found: BTreeMap<_, _> = outputs.into_iter().collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (window, count) in &expected {
        ensure!(found[window] >= *count, "{window:?}: {} of {count} records", found[window]);
    }
    Ok(())
}

#[test]
fn a_restore_goes_on_where_the_changelog_begins_by_then() -> Result<()> {
    const PER_HOUR: WindowStoreName<String, u64> = WindowStoreName::new("per-hour");
    const RECORDS: i64 = 200;
    const DELETED: i64 = 150;
    let scene = Scene::new("retention", 1)?;
    let time = first_time()?;
    let sku = |number: i64| format!("sku-{number}");
    let orders = (0..RECORDS).map(|number| NewRecord::new(sku(number), "order").at(time));
    scene.kafka.produce(&scene.input, orders)?;
    let topology = || {
        let builder = StreamsBuilder::new();
        let hours = TimeWindows::of_size_with_no_grace(hours(1));
        let orders = builder.stream::<String, String>(scene.input.as_str()).group_by_key();
        orders.windowed_by(hours).count(PER_HOUR.without_caching());
        builder.build()
    };
    let app = running(scene.app(topology()?, scene.settings()))?;
    scene.await_committed(&[&scene.input])?;
    app.close()?;

    let (kafka, changelog) = (scene.kafka, scene.internal("per-hour-changelog"));
    let elsewhere = tempfile::tempdir()?;
    let settings = Settings { state_dir: elsewhere.path().into(), ..scene.settings() };
    let app = running(scene.app(topology()?, settings).on_restore(move |progress| {
        if progress.next == progress.from {
            kafka.delete_records(&changelog, 0, DELETED).expect("what is old may be deleted");
        }
    }))?;
    let counts = app.window_store(PER_HOUR)?;
    let start = Timestamp::from_millis(time - time % 3_600_000);
    for number in 0..RECORDS {
        let count = counts.fetch(&sku(number), start)?;
        assert_eq!(count, (number >= DELETED).then_some(1), "sku {number}");
    }
    app.close()?;
    Ok(())
}
