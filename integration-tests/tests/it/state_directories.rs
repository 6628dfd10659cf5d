//! State on this machine: kept for a task that comes back, removed when none has for long, and measured.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use millstream::prelude::*;
use millstream::{StateDirectory, StoreError, TaskId};
use millstream_integration_tests::wait::await_until;

use crate::in_process::{COUNTS, DEADLINE, Scene, counts_of, recount, running};
use crate::recovery::orders;

const DELAY: Duration = Duration::from_secs(2);

/// The value of a metric without labels of its own.
fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn state_that_nobody_uses_goes_after_the_delay_and_what_runs_stays() -> Result<()> {
    let scene = Scene::new("cleaned", 2)?;
    scene.write(orders(0, 400))?;
    // As if partitions 5 and 6 had run here once. Of these, somebody still holds 6.
    let directory = StateDirectory::new(scene.state_dir.path(), &scene.application_id);
    let [left, held] = [5, 6].map(|partition| TaskId { subtopology: 0, partition });
    drop(directory.lock_task(left)?);
    std::fs::write(directory.of(left).join("rows"), vec![0; 20_000_000])?;
    let _lock = directory.lock_task(held)?;
    std::fs::write(directory.of(held).join("rows"), vec![0; 10_000_000])?;

    let mut settings = scene.settings();
    settings.state_cleanup_delay = DELAY;
    let app = running(scene.app(scene.count_by_key()?, settings))?;
    scene.await_committed(&[&scene.input])?;
    let bytes = |app: &millstream::Streams| -> Result<f64> {
        metric(&app.metrics_text()?, "millstream_state_dir_bytes").context("it is not served")
    };
    await_until(DEADLINE, "the unused state to go", || (!directory.of(left).exists()).then_some(()))?;
    await_until(DEADLINE, "what is left to be measured", || {
        bytes(&app).is_ok_and(|bytes| bytes > 1e7 && bytes < 2e7).then_some(())
    })?;
    assert!(directory.of(held).exists(), "somebody holds it");
    let tasks: Vec<String> = directory.list()?.iter().map(ToString::to_string).collect();
    assert_eq!(tasks, ["0_0", "0_1", "0_6"]);
    assert!(matches!(directory.remove(held), Err(StoreError::Locked { .. })));
    app.close()?;
    Ok(())
}

#[test]
fn an_instance_that_was_away_for_longer_than_the_delay_finds_its_state_again() -> Result<()> {
    let scene = Scene::counted("away", 2, orders(0, 400))?;
    let directory = StateDirectory::new(scene.state_dir.path(), &scene.application_id);
    for owner in directory.list()? {
        for path in ["", ".lock", "rocksdb"].map(|name| directory.of(owner).join(name)) {
            File::open(&path)?.set_modified(SystemTime::now() - Duration::from_secs(86_400))?;
        }
    }
    let restored = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&restored);
    let mut settings = scene.settings();
    settings.state_cleanup_delay = Duration::from_secs(60);
    let app = scene.app(scene.count_by_key()?, settings).on_restore(move |_| {
        told.fetch_add(1, Ordering::Relaxed);
    });
    let app = running(app)?;
    assert_eq!(counts_of(&app)?, recount(orders(0, 400).map(|(key, _)| key)));
    assert_eq!(restored.load(Ordering::Relaxed), 0, "nothing had to be restored");
    app.close()?;
    Ok(())
}

/// The state is seconds old, which is older than what is kept for no time.
#[test]
fn state_that_is_older_than_the_tombstones_of_its_changelog_is_restored_from_the_start() -> Result<()> {
    for (kept_millis, expected) in [("0", true), ("86400000", false)] {
        let scene = Scene::new("tombstones", 1)?;
        let elsewhere = tempfile::tempdir()?;
        let run = |state_dir: &Path, orders| -> Result<Option<i64>> {
            let builder = StreamsBuilder::new();
            let counts = COUNTS.with_changelog_config("delete.retention.ms", kept_millis);
            let input = builder.stream::<String, String>(scene.input.as_str());
            input.group_by_key().count(counts).to_stream().to(scene.output.as_str());
            let mut settings = scene.settings();
            settings.state_dir = state_dir.into();
            let restored_from = Arc::new(Mutex::new(None));
            let told = Arc::clone(&restored_from);
            let app = scene.app(builder.build()?, settings).on_restore(move |progress| {
                told.lock().expect("nothing panics while it is held").get_or_insert(progress.from.get());
            });
            let app = running(app)?;
            scene.write(orders)?;
            scene.await_committed(&[&scene.input])?;
            app.close()?;
            Ok(*restored_from.lock().expect("nothing panics while it is held"))
        };
        let here = scene.state_dir.path();
        assert_eq!(run(here, orders(0, 100))?, None, "there is nothing yet");
        assert_eq!(run(here, orders(100, 200))?, None, "nothing was written meanwhile");
        run(elsewhere.path(), orders(200, 300))?;
        let from = run(here, orders(300, 301))?.context("it has nothing to restore")?;
        assert_eq!(from == 0, expected, "restored from {from}, with tombstones kept for {kept_millis} ms");
    }
    Ok(())
}
