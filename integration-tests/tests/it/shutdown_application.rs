//! A thread that fails shuts the whole application down: all instances end and say who asked for it, nobody takes over what cannot be
//! processed, and nothing is lost.

use std::time::Duration;

use anyhow::{Context, Result};
use millstream::handlers::{Handlers, Reaction};
use millstream::{ClientState, GroupProtocol, ProcessingGuarantee};
use millstream_integration_tests::kafka::{NewRecord, ReadRecord};
use millstream_integration_tests::wait::await_until;
use tempfile::TempDir;

use crate::in_process::{DEADLINE, Scene, await_rows, counts_of, recount, running};
use crate::recovery::{Worker, orders, under_load};

const PARTITIONS: usize = 6;
const POISON: &str = "poison";

/// Three workers with a state directory each, as on three machines, with two partitions each.
fn three_workers(scene: &Scene, protocol: &str) -> Result<Vec<(Worker, TempDir)>> {
    let environment = [
        ("MILLSTREAM_PROCESSING_GUARANTEE", "exactly_once"),
        ("MILLSTREAM_GROUP_PROTOCOL", protocol),
        ("SHUTS_DOWN_THE_APPLICATION", ""),
    ];
    let start = |_| {
        let machine = tempfile::tempdir()?;
        Ok((Worker::start_as(scene, machine.path(), 1, "key", &environment)?, machine))
    };
    let mut workers = (0..3).map(start).collect::<Result<Vec<_>>>()?;
    await_until(DEADLINE, "the partitions to be shared", || {
        let mut share = workers.iter_mut().map(|(worker, _)| worker.partitions().ok());
        share.all(|partitions| partitions == Some(PARTITIONS / 3)).then_some(())
    })?;
    Ok(workers)
}

/// The process that said in its log that it asks all others.
fn asker(log: &str) -> Option<&str> {
    let (before, _) = log.split_once(", this one, asked all instances")?;
    before.rsplit_once("process ").map(|(_, process)| process)
}

fn all_instances_end(protocol: &str) -> Result<()> {
    let scene = Scene::new(&format!("shutdown-{protocol}"), PARTITIONS)?;
    scene.write(orders(0, 3_000))?;
    let mut workers = three_workers(&scene, protocol)?;
    under_load(&scene, || {
        scene.await_committed_records(4_000)?;
        scene.kafka.produce(&scene.input, [NewRecord::new(POISON, [0xff]).in_partition(0)])?;
        workers.iter_mut().try_for_each(|(worker, _)| {
            let status = worker.program.wait(DEADLINE)?;
            anyhow::ensure!(!status.success(), "it ended with {status}");
            Ok(())
        })
    })?;

    let logs: Vec<String> =
        workers.iter().map(|(worker, _)| worker.program.error_lines().join("\n")).collect();
    let askers: Vec<&str> = logs.iter().filter_map(|log| asker(log)).collect();
    let [asker] = askers[..] else { panic!("one asks, not {askers:?}: nobody else takes the record") };
    let (one, others): (Vec<_>, Vec<_>) = logs.iter().partition(|log| log.contains(", this one, asked"));
    for log in others {
        let named = format!("process {asker} asked all instances of {} to end", scene.application_id);
        assert!(log.contains(&named), "{named}:\n{log}");
    }
    let own = format!("{}-0@", scene.input);
    assert!(one[0].contains(&own), "its own error names the record:\n{}", one[0]);
    assert!(!one[0].contains("may not have ended"), "it waited for the others, and no longer:\n{}", one[0]);

    let mut settings = scene.settings();
    settings.processing_guarantee = ProcessingGuarantee::ExactlyOnce;
    settings.group_protocol = protocol.parse::<GroupProtocol>()?;
    settings.handlers = Handlers::all(Reaction::Skip);
    let app = running(scene.app(scene.count_by_key()?, settings))?;
    scene.await_committed(&[&scene.input])?;
    let input = scene.kafka.read_all(&scene.input)?;
    let keys = input.iter().filter_map(ReadRecord::key_text).filter(|key| key != POISON);
    await_rows(&recount(keys), || counts_of(&app))?;
    app.close()?;
    Ok(())
}

#[test]
fn all_instances_end_under_the_classic_protocol() -> Result<()> {
    all_instances_end("classic")
}

#[test]
fn all_instances_end_under_the_consumer_protocol() -> Result<()> {
    all_instances_end("consumer")
}

#[test]
fn an_instance_that_is_started_meanwhile_ends_as_well() -> Result<()> {
    for protocol in ["classic", "consumer"] {
        let scene = Scene::new(&format!("shutdown-started-{protocol}"), 2)?;
        let client_id = format!("{}-shutdown-application-another", scene.application_id);
        let request = scene.kafka.join(&scene.application_id, protocol, &client_id, &scene.input)?;
        await_until(DEADLINE, "the request to be in the group", || {
            (request.partitions() == 2).then_some(())
        })?;

        let mut settings = scene.settings();
        settings.group_protocol = protocol.parse::<GroupProtocol>()?;
        let app = scene.app(scene.count_by_key()?, settings).start()?;
        await_until(DEADLINE, "the instance to end", || {
            request.poll(Duration::from_millis(50));
            (app.state() == ClientState::Error).then_some(())
        })?;
        let error = app.close().err().context("close() returned no error")?.to_string();
        let named = format!("process another asked all instances of {} to end", scene.application_id);
        assert!(error.contains(&named), "{error}");
    }
    Ok(())
}

#[test]
fn a_signal_ends_the_wait_for_those_who_do_not_end() -> Result<()> {
    let scene = Scene::new("shutdown-signal", 2)?;
    let environment = [("SHUTS_DOWN_THE_APPLICATION", "")];
    let mut worker = Worker::start_as(&scene, scene.state_dir.path(), 1, "key", &environment)?.running()?;
    // The last one by name has the last partition.
    let deaf = scene.kafka.join(&scene.application_id, "classic", "zzz", &scene.input)?;
    await_until(DEADLINE, "both to have a partition", || {
        (deaf.partitions() == 1 && worker.partitions().ok()? == 1).then_some(())
    })?;
    scene.kafka.produce(&scene.input, [NewRecord::new(POISON, [0xff]).in_partition(0)])?;
    await_until(DEADLINE, "the worker to ask", || {
        deaf.poll(Duration::from_millis(50));
        let log = worker.program.error_lines();
        log.iter()
            .any(|line| line.contains("all instances of the application are asked to end"))
            .then_some(())
    })?;
    assert!(worker.program.is_running()?, "it waits for the other member");
    worker.program.interrupt()?;
    let status = worker.program.wait(Duration::from_secs(25)).context("it would wait for twice as long")?;
    assert!(!status.success(), "it ended with {status}");
    Ok(())
}
