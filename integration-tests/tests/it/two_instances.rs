//! Two instances share the partitions of an application. One is killed or leaves, the other takes over, and no record is lost.

use std::time::{Duration, Instant};

use anyhow::Result;
use millstream_integration_tests::wait::await_until;
use tempfile::TempDir;

use crate::in_process::{DEADLINE, Scene};
use crate::recovery::{SESSION_TIMEOUT, Worker, orders, under_load};

/// Longer than any handover takes.
const LONG_SESSION: (&str, &str) = (SESSION_TIMEOUT, "45000");

/// Two workers with a state directory each, as on two machines, each with two of four partitions.
fn two_workers(scene: &Scene, environment: &[(&str, &str)]) -> Result<([Worker; 2], TempDir)> {
    let other_machine = tempfile::tempdir()?;
    let start = |state_dir| Worker::start_as(scene, state_dir, 1, "key", environment);
    let (mut first, mut second) = (start(scene.state_dir.path())?.running()?, start(other_machine.path())?);
    await_until(DEADLINE, "the partitions to be shared", || {
        let shared = (first.partitions().ok()?, second.partitions().ok()?);
        (shared == (2, 2)).then_some(())
    })?;
    Ok(([first, second], other_machine))
}

#[test]
fn the_partitions_of_a_killed_instance_are_taken_over_and_no_record_is_lost() -> Result<()> {
    let scene = Scene::new("two-killed", 4)?;
    scene.write(orders(0, 4_000))?;
    let ([mut killed, mut survivor], _other_machine) = two_workers(&scene, &[])?;
    let counted_by_survivor = survivor.counts()?;
    let (committed, changelog_ends) = under_load(&scene, || {
        let before = scene.kafka.end_offsets(&scene.internal("counts-changelog"))?;
        await_until(DEADLINE, "both workers to be busy", || {
            let now = scene.kafka.end_offsets(&scene.internal("counts-changelog")).ok()?;
            now.iter().all(|(partition, end)| *end > before[partition] + 500).then_some(())
        })?;
        killed.program.kill()?;
        Ok((
            scene.kafka.committed_offsets(&scene.application_id)?,
            scene.kafka.end_offsets(&scene.internal("counts-changelog"))?,
        ))
    })?;
    survivor.await_partitions(4)?;
    scene.await_committed(&[&scene.input])?;

    // The changelog is the store.
    let (counts, recounted) = (scene.counts_in_changelog()?, scene.recount()?);
    survivor.await_counts(&counts)?;
    assert!(counted_by_survivor.len() < counts.len(), "the survivor had some of the keys, now it has all");
    let mut counted_twice = 0;
    for (key, recounted) in &recounted {
        let counted = counts.get(key).copied().unwrap_or(0);
        assert!(counted >= *recounted, "{key} was counted {counted} times of {recounted}");
        counted_twice += counted - recounted;
    }
    // A count is a changelog record: what was counted without being committed is what the changelog is ahead by.
    let ahead: i64 = changelog_ends
        .iter()
        .map(|(partition, end)| end - committed.get(&(scene.input.clone(), *partition)).copied().unwrap_or(0))
        .sum();
    assert!(
        i64::try_from(counted_twice)? <= ahead,
        "{counted_twice} were counted twice, and {ahead} were not committed when the instance was killed"
    );
    survivor.stop()
}

#[test]
fn an_instance_that_leaves_hands_over_at_once_and_none_is_counted_twice() -> Result<()> {
    let scene = Scene::new("two-left", 4)?;
    scene.write(orders(0, 4_000))?;
    let ([mut leaver, mut survivor], _other_machine) = two_workers(&scene, &[LONG_SESSION])?;
    let handover = under_load(&scene, || {
        leaver.stop()?;
        let left_at = Instant::now();
        survivor.await_partitions(4)?;
        Ok(left_at.elapsed())
    })?;
    assert!(
        handover < Duration::from_secs(30),
        "it took {handover:?}, so the group waited for the session to end"
    );
    scene.await_committed(&[&scene.input])?;
    survivor.await_counts(&scene.recount()?)?;
    survivor.stop()
}
