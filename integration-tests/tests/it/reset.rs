//! `millstream reset` and its library: an application reads its history again, and ends where it was.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use millstream::reset::{ApplicationReset, ResetRequest, ResetStep, ResetTarget};
use millstream::{ClientState, Offset, Timestamp};
use millstream_integration_tests::kafka::{NewRecord, unique_name};
use millstream_integration_tests::wait::await_until;
use serde_json::Value;

use crate::command_line::{Ended, millstream};
use crate::in_process::{COUNTS, DEADLINE, Scene, await_rows, counts_of, recount};
use crate::recovery::{Worker, orders};

/// An application that has counted 400 records by value, through a repartition topic, and has ended.
fn counted(subject: &str) -> Result<(Scene, BTreeMap<String, u64>)> {
    let scene = Scene::new(subject, 2)?;
    scene.write(orders(0, 400).map(|(key, value)| (value, key)))?;
    let app = scene.run(scene.count_by_value()?)?;
    scene.await_committed(&[&scene.input, &scene.internal("by-value-repartition")])?;
    let counts = recount(orders(0, 400).map(|(key, _)| key));
    await_rows(&counts, || counts_of(&app))?;
    app.close()?;
    Ok((scene, counts))
}

fn reset(scene: &Scene, more: &[&str]) -> Result<Ended> {
    reset_on_machine(scene, scene.state_dir.path(), more)
}

/// Where the application's state is in this directory, if there is any.
fn reset_on_machine(scene: &Scene, state_dir: &Path, more: &[&str]) -> Result<Ended> {
    let state_dir = state_dir.to_string_lossy();
    let mut arguments = vec!["reset", "--application-id", &scene.application_id, "--state-dir", &state_dir];
    arguments.extend(["--bootstrap-servers", scene.kafka.bootstrap_servers()]);
    millstream(arguments.iter().chain(more))
}

#[test]
fn an_application_that_was_reset_reads_all_again_and_ends_where_it_was() -> Result<()> {
    let (scene, counts) = counted("reset")?;
    let internal = [scene.internal("by-value-repartition"), scene.internal("counts-changelog")];
    let before = scene.kafka.committed_offsets(&scene.application_id)?;

    let plan = reset(&scene, &["--dry-run", "--json"])?.success()?;
    let plan: Value = serde_json::from_str(&plan)?;
    assert_eq!(plan["deleted_topics"], serde_json::json!(internal));
    assert_eq!(plan["removed_state"]["tasks"], serde_json::json!(["1_0", "1_1"]));
    let offsets = plan["offsets"].as_array().cloned().unwrap_or_default();
    let moved: Vec<_> =
        offsets.iter().map(|moved| (moved["partition"].as_i64(), moved["to"].as_i64())).collect();
    assert_eq!(moved, [(Some(0), Some(0)), (Some(1), Some(0))]);
    let refused = reset(&scene, &[])?;
    assert_eq!((refused.code, refused.stderr.contains("pass --yes")), (Some(3), true), "{refused:?}");
    assert_eq!(scene.kafka.committed_offsets(&scene.application_id)?, before, "nothing has changed");

    let shown = reset(&scene, &["--yes"])?.success()?;
    for part in ["TOPIC", &scene.input, &internal[0], &internal[1], "1_0 1_1"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let topics = scene.kafka.topics()?;
    assert!(internal.iter().all(|topic| !topics.contains(topic)), "{topics:?}");
    assert!(!scene.task_directory("1_0").exists());

    let app = scene.run(scene.count_by_value()?)?;
    scene.await_committed(&[&scene.input, &internal[0]])?;
    await_rows(&counts, || counts_of(&app)).context("counted again, and none twice")?;
    let running = reset(&scene, &["--yes"])?;
    assert_eq!(running.code, Some(1), "{running:?}");
    assert!(running.stderr.contains("is running: stop its instances first"), "{running:?}");
    app.close()?;
    Ok(())
}

/// Waits until the worker has ended by itself, with an error that says this.
fn await_refusal(worker: &mut Worker, said: &str) -> Result<()> {
    let status = worker.program.wait(DEADLINE)?;
    let errors = worker.program.error_lines().join("\n");
    ensure!(
        !status.success() && errors.contains(said),
        "it ended with {status}, but `{said}` is not in {errors}"
    );
    Ok(())
}

#[test]
fn live_members_are_removed_by_force_and_their_instances_end() -> Result<()> {
    let scene = Scene::new("forced", 2)?;
    scene.write(orders(0, 400).map(|(key, value)| (value, key)))?;
    let topics = [&*scene.input, &*scene.internal("by-value-repartition")].map(str::to_owned);
    let start = || Worker::start_as(&scene, scene.state_dir.path(), 2, "value", &[]);
    let mut removed = start()?.running()?;
    scene.await_committed(&topics.each_ref().map(String::as_str))?;
    let before = scene.kafka.committed_offsets(&scene.application_id)?;

    let refused = reset(&scene, &["--yes"])?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("--force"), "{refused:?}");
    let plan: Value = serde_json::from_str(&reset(&scene, &["--force", "--dry-run", "--json"])?.success()?)?;
    let members = plan["removed_members"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<_> = members.iter().filter_map(|member| member["client_id"].as_str()).collect();
    names.sort_unstable();
    let id = &scene.application_id;
    let prefixes = [1, 2].map(|thread| format!("{id}-StreamThread-{thread}-"));
    assert_eq!(names.len(), prefixes.len(), "{names:?}");
    for (name, prefix) in names.iter().zip(&prefixes) {
        assert!(name.starts_with(prefix) && name.ends_with("-consumer"), "{names:?}");
    }
    assert!(removed.program.is_running()?);
    assert_eq!(scene.kafka.committed_offsets(id)?, before, "nothing has changed");

    let shown = reset(&scene, &["--force", "--yes"])?.success()?;
    assert!(shown.contains("Removed members:") && shown.contains(names[0]), "{shown}");
    assert_eq!(scene.kafka.committed_offsets(id)?[&(scene.input.clone(), 0)], 0);
    await_refusal(&mut removed, "reset")?;

    let mut again = start()?.running()?;
    scene.await_committed(&topics.each_ref().map(String::as_str))?;
    let once = recount(orders(0, 400).map(|(key, _)| key));
    again.await_counts(&once).context("counted again, and none twice")?;
    again.stop()
}

#[test]
fn an_instance_that_slept_through_a_reset_ends_when_it_wakes() -> Result<()> {
    let scene = Scene::new("slept", 2)?;
    scene.write(orders(0, 400))?;
    let mut sleeper = Worker::start(&scene, scene.state_dir.path(), 1)?.running()?;
    scene.await_committed(&[&scene.input])?;
    sleeper.program.pause()?;
    let elsewhere = tempfile::tempdir()?;
    reset_on_machine(&scene, elsewhere.path(), &["--force", "--yes"])?.success()?;
    let mut awake = Worker::start(&scene, elsewhere.path(), 1)?.running()?;
    scene.write(orders(0, 400))?;
    scene.await_committed(&[&scene.input])?;

    sleeper.program.resume()?;
    await_refusal(&mut sleeper, "was made anew since this instance started")?;
    let twice = (0..2).flat_map(|_| orders(0, 400)).map(|(key, _)| key);
    awake.await_counts(&recount(twice))?;
    awake.stop()
}

#[test]
fn members_of_the_consumer_protocol_cannot_be_removed() -> Result<()> {
    let (scene, _) = counted("protocol")?;
    let member = scene.kafka.join(&scene.application_id, "consumer", "outsider", &scene.input)?;
    await_until(DEADLINE, "the member to be given something", || (member.partitions() > 0).then_some(()))?;
    let refused = reset(&scene, &["--force", "--yes"])?;
    ensure!(refused.code == Some(1), "{refused:?}");
    for part in ["KIP-848", "stop its instances"] {
        ensure!(refused.stderr.contains(part), "{part:?} is not in {refused:?}");
    }
    Ok(())
}

#[test]
fn a_changed_program_over_the_same_history() -> Result<()> {
    let (scene, counts) = counted("changed")?;
    reset(&scene, &["--yes"])?.success()?;
    // By key, of which each has one record.
    let app = scene.run(scene.count_by_key()?)?;
    scene.await_committed(&[&scene.input])?;
    let by_key = recount(orders(0, 400).map(|(_, value)| value));
    assert_ne!(by_key, counts);
    await_rows(&by_key, || counts_of(&app))?;
    app.close()?;
    Ok(())
}

#[test]
fn state_on_another_machine_is_noticed_when_it_comes_back() -> Result<()> {
    let (scene, counts) = counted("elsewhere")?;
    let elsewhere = tempfile::tempdir()?;
    reset_on_machine(&scene, elsewhere.path(), &["--yes"])?.success()?;
    // Twice as much as before, so that its changelogs are longer than the state of this machine knows.
    scene.write(orders(0, 800).map(|(key, value)| (value, key)))?;
    let mut settings = scene.settings();
    settings.state_dir = elsewhere.path().into();
    let app = crate::in_process::running(scene.app(scene.count_by_value()?, settings))?;
    scene.await_committed(&[&scene.input, &scene.internal("by-value-repartition")])?;
    let there = recount(orders(0, 400).chain(orders(0, 800)).map(|(key, _)| key));
    await_rows(&there, || counts_of(&app))?;
    app.close()?;
    assert_ne!(there, counts);
    let app = scene.run(scene.count_by_value()?)?;
    assert_eq!(counts_of(&app)?, there);
    app.close()?;
    Ok(())
}

#[test]
fn until_a_reset_is_finished_no_instance_starts() -> Result<()> {
    let (scene, counts) = counted("unfinished")?;
    let library = ApplicationReset::new(&*scene.application_id, &scene.settings())?;
    let plan = library.plan(&ResetRequest::default())?;
    let died = catch_unwind(AssertUnwindSafe(|| {
        library
            .execute(&plan, |step| assert!(!matches!(step, ResetStep::TopicDeleted(_)), "the process dies"))
    }));
    assert!(died.is_err());
    let app = scene.app(scene.count_by_value()?, scene.settings()).start()?;
    app.await_state(ClientState::Error, DEADLINE)?;
    let error = app.close().err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("a reset was begun and not finished"), "{error}");

    reset(&scene, &["--yes"])?.success()?;
    let app = scene.run(scene.count_by_value()?)?;
    scene.await_committed(&[&scene.input, &scene.internal("by-value-repartition")])?;
    await_rows(&counts, || counts_of(&app))?;
    app.close()?;
    Ok(())
}

#[test]
fn offsets_go_to_a_time_or_as_a_file_says() -> Result<()> {
    let scene = Scene::new("times", 1)?;
    let at = |millis: i64| NewRecord::new("apples", "1").at(millis);
    scene.kafka.produce(&scene.input, [1_000, 2_000, 3_000].map(at))?;
    let app = scene.run(scene.count_by_key()?)?;
    scene.await_committed(&[&scene.input])?;
    app.close()?;
    let library = ApplicationReset::new(&*scene.application_id, &scene.settings())?;
    let to = |to: ResetTarget| -> Result<Vec<i64>> {
        let plan = library.plan(&ResetRequest { to, ..ResetRequest::default() })?;
        Ok(plan.offsets.iter().map(|moved| moved.to.get()).collect())
    };
    for (millis, offset) in [(0, 0), (1_001, 1), (3_000, 2), (3_001, 3)] {
        assert_eq!(to(ResetTarget::Timestamp(Timestamp::from_millis(millis)))?, [offset], "{millis}");
    }
    assert_eq!(to(ResetTarget::ShiftBy(-1))?, [2]);
    assert_eq!(to(ResetTarget::Latest)?, [3]);
    assert_eq!(to(ResetTarget::Each(BTreeMap::from([((scene.input.clone(), 0), Offset::new(1))])))?, [1]);

    let file = scene.state_dir.path().join("offsets.csv");
    std::fs::write(&file, format!("{},0,2\n", scene.input))?;
    reset(&scene, &["--yes", "--keep-internal-topics", "--from-file", &file.to_string_lossy()])?.success()?;
    let committed = scene.kafka.committed_offsets(&scene.application_id)?;
    assert_eq!(committed[&(scene.input.clone(), 0)], 2);
    assert!(scene.kafka.topics()?.contains(&scene.internal(&format!("{}-changelog", COUNTS.name()))));
    Ok(())
}

#[test]
fn what_is_not_there_is_named_with_what_is() -> Result<()> {
    let (scene, _) = counted("named")?;
    let nobody = unique_name("nobody");
    let no_topic = unique_name("no-topic");
    let cases: [(&[&str], &[&str]); 6] = [
        (&["--to-offset", "100000"], &[&scene.input, "it has offsets 0 to", "not 100000"]),
        (&["--shift-by", "-100000"], &[&scene.input, "it has offsets 0 to"]),
        (&["--input-topic", &no_topic], &["topic", &no_topic, "does not exist; there are"]),
        (&["--input-topic", &format!("{}:7", scene.input)], &["has partitions 0 to 1, not 7"]),
        (&["--internal-topic", &scene.input], &["is no internal topic", &scene.internal("counts-changelog")]),
        (&["--from-file", "/no/such/file"], &["cannot read /no/such/file"]),
    ];
    for (arguments, said) in cases {
        let ended = reset(&scene, &[&["--yes"], arguments].concat())?;
        ensure!(ended.code == Some(1), "{arguments:?}: {ended:?}");
        for part in said {
            ensure!(ended.stderr.contains(part), "{part:?} is not in {ended:?}");
        }
    }
    let servers = ["--bootstrap-servers", scene.kafka.bootstrap_servers()];
    let ended = millstream([&["reset", "--application-id", &nobody, "--yes"], &servers[..]].concat().iter())?;
    ensure!(ended.code == Some(1) && ended.stderr.contains("has committed no offsets here"), "{ended:?}");
    let away = ["reset", "--application-id", "shop", "--yes", "--bootstrap-servers", "localhost:1"];
    let ended = millstream(away.iter())?;
    ensure!(ended.code == Some(1), "{ended:?}");
    ensure!(
        ended.stderr.contains("at localhost:1 within") && ended.stderr.contains("check bootstrap_servers"),
        "{ended:?}"
    );
    let both = reset(&scene, &["--to-earliest", "--to-latest"])?;
    ensure!(both.code == Some(2) && both.stderr.contains("cannot be used with"), "{both:?}");
    Ok(())
}
