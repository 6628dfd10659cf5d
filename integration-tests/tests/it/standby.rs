//! Standbys: a task whose instance is killed goes on where its copy is, from its tail; and whoever restores keeps nobody else waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millstream::kafka::{ClusterAdmin, KafkaAdmin, MemberAssignment};
use millstream::runtime::RestoreProgress;
use millstream::{ClientState, Settings, TaskState};
use millstream_integration_tests::kafka::{NewRecord, RealKafka, unique_name};
use millstream_integration_tests::ports::free_port;
use millstream_integration_tests::wait::await_until;
use serde_json::Value;
use tempfile::TempDir;

use crate::in_process::{DEADLINE, Scene, counts_of};
use crate::order_inventory::get_json;
use crate::recovery::{Restored, Worker, orders, under_load};

const PARTITIONS: i32 = 6;

/// A worker on a machine of its own, which keeps standbys and answers over HTTP.
struct Instance {
    worker: Worker,
    address: String,
    _machine: TempDir,
}

impl Instance {
    fn start(scene: &Scene, protocol: &str, taken_ports: &mut Vec<u16>) -> Result<Self> {
        let port = free_port(taken_ports)?;
        taken_ports.push(port);
        let (machine, address) = (tempfile::tempdir()?, format!("127.0.0.1:{port}"));
        let environment = [
            ("MILLSTREAM_NUM_STANDBY_REPLICAS", "1"),
            ("MILLSTREAM_PROCESSING_GUARANTEE", "exactly_once"),
            ("MILLSTREAM_GROUP_PROTOCOL", protocol),
            ("MILLSTREAM_HTTP_ADDRESS", &*address),
        ];
        let worker = Worker::start_as(scene, machine.path(), 1, "key", &environment)?;
        Ok(Instance { worker, address: format!("http://{address}"), _machine: machine })
    }

    fn tasks(&self) -> Result<Value> {
        get_json(&format!("{}/tasks", self.address))
    }

    /// The partitions whose tasks run here.
    fn active(&self) -> Result<BTreeSet<i32>> {
        let tasks = self.tasks()?;
        let threads = tasks["threads"].as_array().context("no threads")?;
        let running = threads.iter().filter_map(|thread| thread["tasks"].as_array()).flatten();
        Ok(running.filter(|task| task["state"] == "running").filter_map(partition_of).collect())
    }

    /// The partitions whose tasks have a standby here, and how far it is behind.
    fn standbys(&self) -> Result<BTreeMap<i32, u64>> {
        let tasks = self.tasks()?;
        let standbys = tasks["standbys"].as_array().context("no standbys")?;
        let lag = |standby: &Value| standby["stores"][0]["remaining"].as_u64();
        Ok(standbys.iter().filter_map(|standby| Some((partition_of(standby)?, lag(standby)?))).collect())
    }

    fn promotions(&self) -> Result<u64> {
        self.tasks()?["promotions"].as_u64().context("no promotions")
    }

    /// What a metric says, all series together.
    fn metric(&self, name: &str) -> Result<f64> {
        let text = ureq::get(format!("{}/metrics", self.address)).call()?.body_mut().read_to_string()?;
        let of_metric = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        let values = of_metric.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(values.sum())
    }
}

fn partition_of(task: &Value) -> Option<i32> {
    task["id"].as_str()?.split_once('_')?.1.parse().ok()
}

/// Whose each partition is if it is dealt out to so many members in runs: at first those that get one more. Nobody's if there are none.
fn range(members: usize) -> Vec<usize> {
    let all = PARTITIONS as usize;
    (0..members).flat_map(|place| vec![place; all / members + usize::from(place < all % members)]).collect()
}

/// The partitions of each member of a group, by which it is known here; and those of others that it gets if one of these ends. None as long
/// as nobody would be left.
fn heirs(admin: &KafkaAdmin, group: &str) -> Option<BTreeMap<BTreeSet<i32>, BTreeSet<i32>>> {
    let mut members = admin.group_assignment(group).ok()??.members;
    members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
    let of_member = |member: MemberAssignment| member.partitions.into_iter().map(|(_, partition)| partition);
    let members: Vec<BTreeSet<i32>> = members.into_iter().map(|member| of_member(member).collect()).collect();
    let mut heirs: BTreeMap<_, BTreeSet<i32>> =
        members.iter().map(|partitions| (partitions.clone(), BTreeSet::new())).collect();
    for gone in members.iter().filter(|_| members.len() > 1) {
        let left: Vec<&BTreeSet<i32>> = members.iter().filter(|member| *member != gone).collect();
        let places = range(left.len());
        for partition in gone {
            let place = *places.get(*partition as usize)?;
            heirs.get_mut(left[place])?.insert(*partition);
        }
    }
    Some(heirs)
}

/// Waits until all partitions run, each has a standby where it will go on if its instance ends, and no standby is behind.
fn await_standbys(scene: &Scene, instances: &[&Instance]) -> Result<()> {
    let admin = KafkaAdmin::new(&Settings::new(scene.kafka.bootstrap_servers()), "standby-test")?;
    let what = "each task to have a standby, which has caught up, where it will go on";
    await_until(DEADLINE, what, || {
        let heirs = heirs(&admin, &scene.application_id)?;
        for instance in instances {
            let (running, copies) = (instance.active().ok()?, instance.standbys().ok()?);
            let expected = heirs.get(&running)?;
            if copies.values().any(|lag| *lag > 0) || !copies.keys().eq(expected) {
                return None;
            }
        }
        Some(())
    })
}

/// Kills the first under load and waits until the others run everything. Returns for each partition that came to one of them, whether its
/// standby was there.
fn kill_first(scene: &Scene, instances: &mut [&mut Instance]) -> Result<BTreeMap<i32, bool>> {
    let before = |instance: &&mut Instance| {
        Ok((instance.active()?, instance.standbys()?, instance.worker.restored().len()))
    };
    let before: Vec<_> = instances.iter().map(before).collect::<Result<_>>()?;
    let [killed, survivors @ ..] = instances else { anyhow::bail!("nobody to kill") };
    let start = Instant::now();
    let changelog = scene.internal("counts-changelog");
    // No standby was behind.
    let ends = scene.kafka.end_offsets(&changelog)?;
    under_load(scene, || {
        let before = scene.kafka.end_offsets(&changelog)?;
        await_until(DEADLINE, "all to be busy", || {
            let now = scene.kafka.end_offsets(&changelog).ok()?;
            now.iter().all(|(partition, end)| *end > before[partition] + 300).then_some(())
        })?;
        killed.worker.program.kill()?;
        await_until(2 * DEADLINE, "the others to run everything", || {
            let running = survivors.iter().map(|survivor| survivor.active());
            let running: BTreeSet<i32> =
                running.collect::<Result<Vec<_>>>().ok()?.into_iter().flatten().collect();
            (running.len() == PARTITIONS as usize).then_some(())
        })
    })?;
    println!("all tasks run again {:?} after the load began", start.elapsed());
    let mut moved = BTreeMap::new();
    for (survivor, (active, standbys, restored_before)) in survivors.iter().zip(&before[1..]) {
        for partition in survivor.active()?.difference(active) {
            moved.insert(*partition, standbys.contains_key(partition));
        }
        let restored = survivor.worker.restored().split_off(*restored_before);
        for Restored { partition, from, to, records } in restored {
            println!("partition {partition} was restored from {from} to {to}, {records} records");
            let was_here = moved.get(&partition).copied().unwrap_or(false);
            // The marks of transactions are no records, and nobody waits for them.
            let least = ends[&partition] - 10;
            ensure!(
                !was_here || from > 0 && from >= least,
                "partition {partition} had a standby here, and was restored from {from} to {to}"
            );
        }
    }
    Ok(moved)
}

/// Standbys are placed by what the group says of itself.
#[test]
fn who_reads_what_is_told_under_both_protocols() -> Result<()> {
    let kafka = RealKafka::shared()?;
    let topic = unique_name("standby-group");
    kafka.create_topic(&topic, 4, &[])?;
    let admin = KafkaAdmin::new(&Settings::new(kafka.bootstrap_servers()), "standby-test")?;
    for protocol in ["classic", "consumer"] {
        let group = unique_name(protocol);
        assert_eq!(admin.group_assignment(&group)?, None, "nobody has joined");
        let join = |client_id: &str| kafka.join(&group, protocol, client_id, &topic);
        let (first, second) = (join("first")?, join("second")?);
        let members = await_until(DEADLINE, "both to have their half", || {
            for member in [&first, &second] {
                member.poll(Duration::from_millis(50));
            }
            let group = admin.group_assignment(&group).ok()?.filter(|group| group.is_settled)?;
            let mut members = group.members;
            members.sort_by(|one, other| one.client_id.cmp(&other.client_id));
            let shares: Vec<usize> = members.iter().map(|member| member.partitions.len()).collect();
            (shares == [2, 2]).then_some(members)
        })?;
        assert_eq!(members.iter().map(|member| &*member.client_id).collect::<Vec<_>>(), ["first", "second"]);
        let all: BTreeSet<(String, i32)> = members.into_iter().flat_map(|member| member.partitions).collect();
        assert_eq!(all, (0..4).map(|partition| (topic.clone(), partition)).collect());
    }
    Ok(())
}

#[test]
fn a_killed_instance_is_replaced_where_its_copies_are() -> Result<()> {
    for protocol in ["classic", "consumer"] {
        let scene = Scene::new(&format!("standby-{protocol}"), PARTITIONS as usize)?;
        scene.write(orders(0, 30_000))?;
        let mut ports = Vec::new();
        let mut start = || Instance::start(&scene, protocol, &mut ports);
        let (mut first, mut second, mut third) = (start()?, start()?, start()?);
        await_standbys(&scene, &[&first, &second, &third])?;
        for instance in [&first, &second, &third] {
            await_until(DEADLINE, "the metric to say so", || {
                let lag = instance.metric("millstream_standby_lag_records").ok()?;
                (lag == 0.0 && instance.metric("millstream_standby_tasks").ok()? >= 1.0).then_some(())
            })?;
        }

        let moved = kill_first(&scene, &mut [&mut first, &mut second, &mut third])?;
        println!("{protocol}, of three: {moved:?}");
        assert!(
            moved.len() >= 2 && moved.values().all(|was_here| *was_here),
            "{protocol}: of three, each task that moved had its standby there: {moved:?}"
        );
        // What is told of the copies of an instance comes a little later than what is told of its tasks.
        await_until(DEADLINE, format!("promotions of all of {moved:?} to be told"), || {
            let promotions = second.promotions().ok()? + third.promotions().ok()?;
            (promotions >= moved.len() as u64).then_some(())
        })?;

        await_standbys(&scene, &[&second, &third])?;
        let moved = kill_first(&scene, &mut [&mut second, &mut third])?;
        println!("{protocol}, of two: {moved:?}");
        assert!(
            !moved.is_empty() && moved.values().all(|was_here| *was_here),
            "{protocol}: of two, each has the other's: {moved:?}"
        );
        scene.await_committed(&[&scene.input])?;
        third.worker.await_counts(&scene.recount()?)?;
        third.worker.stop()?;
    }
    Ok(())
}

/// The restore stands still in its listener, which runs where restores do.
#[test]
fn a_restore_that_takes_long_stops_no_other_task() -> Result<()> {
    let scene = Scene::counted("standby-long", 2, orders(0, 2_000))?;
    fs::remove_dir_all(scene.task_directory("0_0"))?;

    let (go_on, may_go_on) = channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let began = Arc::new(Mutex::new(false));
    let has_begun = Arc::clone(&began);
    let app =
        scene.app(scene.count_by_key()?, scene.settings()).on_restore(move |progress: &RestoreProgress| {
            assert_eq!(progress.task.partition, 0, "the other one has all it needs");
            if progress.records > 0 && !std::mem::replace(&mut *has_begun.lock().unwrap(), true) {
                let released = may_go_on.lock().unwrap().recv_timeout(DEADLINE);
                assert_ne!(released, Err(RecvTimeoutError::Timeout), "the test went on");
            }
        });
    let app = app.start()?;
    await_until(DEADLINE, "the restore to begin", || began.lock().unwrap().then_some(()))?;

    let of_second = scene.kafka.read_all(&scene.input)?.into_iter().find(|record| record.partition == 1);
    let key = of_second.and_then(|record| record.key_text()).context("partition 1 has records")?;
    let more = (0..100).map(|number| NewRecord::new(key.as_str(), number.to_string()).in_partition(1));
    scene.kafka.produce(&scene.input, more)?;
    let end = scene.kafka.end_offsets(&scene.input)?[&1];
    await_until(DEADLINE, "the other task to go on", || {
        let committed = scene.kafka.committed_offsets(&scene.application_id).ok()?;
        (committed.get(&(scene.input.clone(), 1)) == Some(&end)).then_some(())
    })?;
    assert_eq!(app.state(), ClientState::Rebalancing, "one task still restores");
    await_until(DEADLINE, "the thread to tell of both tasks", || {
        let threads = app.threads();
        let tasks: Vec<_> = threads[0].tasks.iter().map(|task| (task.id.partition, task.state)).collect();
        (tasks == [(1, TaskState::Running), (0, TaskState::Restoring)]).then_some(())
    })?;

    go_on.send(())?;
    app.await_state(ClientState::Running, DEADLINE)?;
    let expected = scene.recount()?;
    await_until(DEADLINE, "all of it to be counted", || {
        counts_of(&app).is_ok_and(|counts| counts == expected).then_some(())
    })?;
    app.close()?;
    Ok(())
}

#[test]
fn a_panic_while_restoring_is_the_failure_of_the_application() -> Result<()> {
    let scene = Scene::counted("standby-panic", 2, orders(0, 500))?;
    fs::remove_dir_all(scene.state_dir.path())?;

    let app = scene.app(scene.count_by_key()?, scene.settings());
    let app = app.on_restore(|_: &RestoreProgress| panic!("out of apples")).start()?;
    app.await_state(ClientState::Error, DEADLINE)?;
    let error = app.close().err().context("close() returned no error")?.to_string();
    assert!(error.contains("state updater") && error.contains("out of apples"), "{error}");
    Ok(())
}
