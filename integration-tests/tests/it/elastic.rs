//! Instances, and threads of an instance, come and go under load and exactly-once: what stays goes on, what goes is taken over at
//! once, and nothing is lost, doubled, or restored from its start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use millstream::prelude::*;
use millstream::{ClientState, ProcessingGuarantee, Streams};
use millstream_integration_tests::kafka::{NewRecord, unique_name};
use millstream_integration_tests::wait::await_until;
use tempfile::TempDir;

use crate::exactly_once::check_each_result_once;
use crate::in_process::{DEADLINE, Scene, counts_of, running};
use crate::recovery::{SESSION_TIMEOUT, Worker};

const PROTOCOLS: [&str; 2] = ["classic", "consumer"];
const PARTITIONS: usize = 6;
/// So many that each partition has some.
const KEYS: usize = 60;
/// What the brokers of the tests give the groups of the consumer protocol.
const SESSION_OF_GROUP: Duration = Duration::from_secs(10);
/// Each key is written once in this time.
const LOAD_INTERVAL: Duration = Duration::from_millis(20);

/// Workers with a state directory each, as on as many machines.
struct Fleet {
    scene: Scene,
    environment: Vec<(&'static str, String)>,
    members: Vec<Member>,
}

struct Member {
    worker: Worker,
    state_dir: TempDir,
    /// Makes it a static member.
    instance_id: Option<String>,
}

impl Fleet {
    fn new(subject: &str, protocol: &str) -> Result<Self> {
        // The brokers' time says when a record was written.
        let scene = Scene::new(subject, PARTITIONS)?;
        let output = unique_name("timed");
        scene.kafka.create_topic(&output, PARTITIONS, &[("message.timestamp.type", "LogAppendTime")])?;
        let environment = vec![
            ("MILLSTREAM_PROCESSING_GUARANTEE", "exactly_once".to_owned()),
            ("MILLSTREAM_GROUP_PROTOCOL", protocol.to_owned()),
            ("NO_COLOR", "1".to_owned()),
        ];
        Ok(Fleet { scene: Scene { output, ..scene }, environment, members: Vec::new() })
    }

    fn start(&self, state_dir: &TempDir, instance_id: Option<&str>) -> Result<Worker> {
        let mut environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        environment.extend(instance_id.map(|id| ("MILLSTREAM_GROUP_INSTANCE_ID", id)));
        Worker::start_as(&self.scene, state_dir.path(), 1, "key", &environment)
    }

    fn join(&mut self, instance_id: Option<&str>) -> Result<()> {
        let state_dir = tempfile::tempdir()?;
        let worker = self.start(&state_dir, instance_id)?.running()?;
        self.members.push(Member { worker, state_dir, instance_id: instance_id.map(str::to_owned) });
        Ok(())
    }

    /// Waits until all have equally many partitions, restored.
    fn await_shared(&mut self) -> Result<()> {
        let share = PARTITIONS / self.members.len();
        self.members.iter_mut().try_for_each(|member| member.worker.await_partitions(share))
    }

    /// Which member counts which key.
    fn owners(&mut self) -> Result<BTreeMap<String, usize>> {
        let mut owners = BTreeMap::new();
        await_until(DEADLINE, "every key to be counted", || {
            for (index, member) in self.members.iter_mut().enumerate() {
                owners.extend(member.worker.counts().ok()?.into_keys().map(|key| (key, index)));
            }
            (owners.len() == KEYS).then_some(())
        })?;
        Ok(owners)
    }

    /// How often each member was told something by its group.
    fn decisions(&self) -> Vec<usize> {
        let told = |member: &Member| {
            let lines = member.worker.program.error_lines();
            lines.iter().filter(|line| line.contains("the group decided")).count()
        };
        self.members.iter().map(told).collect()
    }

    /// Each input record has its one result, and the state is that of a recount.
    fn check(&mut self) -> Result<()> {
        let expected = self.scene.recount()?;
        let mut counted = BTreeMap::new();
        await_until(DEADLINE, "every record to be counted", || {
            counted.clear();
            for member in &mut self.members {
                counted.extend(member.worker.counts().ok()?);
            }
            (counted == expected).then_some(())
        })
        .with_context(|| format!("{counted:?}, not {expected:?}"))?;
        check_each_result_once(&self.scene, &expected)
    }

    fn stop(mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(|member| member.worker.stop())
    }

    /// The longest time without a result of any of these keys after a moment, and in the second before it, in milliseconds.
    fn longest_gap(&self, keys: &BTreeSet<String>, moment: i64) -> Result<Gap> {
        let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for record in self.scene.kafka.read_all(&self.scene.output)? {
            let key = record.key_text().context("an output without a key")?;
            times.entry(key).or_default().push(record.timestamp.context("an output without a time")?);
        }
        times.retain(|key, _| keys.contains(key));
        ensure!(!times.is_empty(), "none of {keys:?} has a result");
        let longest = |within: std::ops::Range<i64>| {
            let pairs = times.values().flat_map(|times| times.windows(2));
            let pairs = pairs.filter(|pair| within.contains(&pair[1]));
            pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
        };
        Ok(Gap { after: longest(moment..i64::MAX), before: longest(moment - 1_000..moment) })
    }
}

/// See [`Fleet::longest_gap`].
#[derive(Debug)]
struct Gap {
    after: i64,
    before: i64,
}

/// What the protocol makes everybody wait for is there each time; what a machine with other things to do makes of it is not. Such a machine
/// takes its time for everything, too: `slack` times as long as without the event.
fn is_short_once(limit: i64, slack: i64, what: &str, mut measure: impl FnMut() -> Result<Gap>) -> Result<()> {
    let mut gaps = Vec::new();
    for _try in 0..3 {
        let gap = measure()?;
        println!("{what}: {gap:?} in milliseconds, at most {limit} are allowed");
        if gap.after < limit + slack * gap.before {
            return Ok(());
        }
        gaps.push(gap);
    }
    anyhow::bail!("{what}: {gaps:?} in milliseconds, at most {limit} are allowed")
}

fn now_in_millis() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// Writes every key again and again while `during` runs.
fn under_load<T>(fleet: &mut Fleet, during: impl FnOnce(&mut Fleet) -> Result<T>) -> Result<T> {
    let enough = AtomicBool::new(false);
    let (kafka, input) = (fleet.scene.kafka, fleet.scene.input.clone());
    std::thread::scope(|scope| {
        let load = scope.spawn(|| -> Result<()> {
            let writer = kafka.writer(DEADLINE)?;
            while !enough.load(Ordering::Relaxed) {
                for key in 0..KEYS {
                    writer.write(&input, &NewRecord::new(format!("sku-{key}"), "1"))?;
                }
                writer.flush()?;
                sleep(LOAD_INTERVAL);
            }
            Ok(())
        });
        let outcome = during(fleet);
        enough.store(true, Ordering::Relaxed);
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        outcome
    })
}

#[test]
fn one_instance_more_hardly_stops_what_does_not_move() -> Result<()> {
    // Classic: everybody waits until the last one has heard of it, with its heartbeat.
    for (protocol, longest) in [("classic", 1_500), ("consumer", 500)] {
        is_short_once(longest, 3, &format!("{protocol}, partitions that stay"), || one_more(protocol))?;
    }
    Ok(())
}

/// How long partitions stand still that stay where they are while a third instance joins two.
fn one_more(protocol: &str) -> Result<Gap> {
    let mut fleet = Fleet::new("elastic-more", protocol)?;
    let (stayed, from) = under_load(&mut fleet, |fleet| {
        fleet.join(None)?;
        fleet.join(None)?;
        fleet.await_shared()?;
        sleep(Duration::from_secs(1));
        let (before, from) = (fleet.owners()?, now_in_millis()?);
        fleet.join(None)?;
        fleet.await_shared()?;
        sleep(Duration::from_secs(1));
        let after = fleet.owners()?;
        let stayed = before.into_iter().filter(|(key, owner)| after[key] == *owner);
        Ok((stayed.map(|(key, _)| key).collect::<BTreeSet<_>>(), from))
    })?;
    ensure!(!stayed.is_empty() && stayed.len() < KEYS, "some keys stay and some move: {stayed:?}");
    fleet.check()?;
    let gap = fleet.longest_gap(&stayed, from)?;
    fleet.stop()?;
    Ok(gap)
}

#[test]
fn a_planned_stop_is_a_gap_of_less_than_a_second() -> Result<()> {
    for protocol in PROTOCOLS {
        is_short_once(1_000, 10, &format!("{protocol}, partitions of who stopped"), || one_less(protocol))?;
    }
    Ok(())
}

/// How long the partitions of one of three instances stand still when it is stopped.
fn one_less(protocol: &str) -> Result<Gap> {
    let mut fleet = Fleet::new("elastic-stop", protocol)?;
    let (moved, from) = under_load(&mut fleet, |fleet| {
        (0..3).try_for_each(|_| fleet.join(None))?;
        fleet.await_shared()?;
        sleep(Duration::from_secs(1));
        let (before, from) = (fleet.owners()?, now_in_millis()?);
        let mut leaver = fleet.members.remove(0);
        leaver.worker.stop()?;
        fleet.await_shared()?;
        sleep(Duration::from_secs(1));
        let moved = before.into_iter().filter(|(_, owner)| *owner == 0);
        Ok((moved.map(|(key, _)| key).collect::<BTreeSet<_>>(), from))
    })?;
    fleet.check()?;
    let gap = fleet.longest_gap(&moved, from)?;
    fleet.stop()?;
    Ok(gap)
}

#[test]
fn a_rolling_restart_of_static_members_loses_doubles_and_restores_nothing() -> Result<()> {
    for protocol in PROTOCOLS {
        let mut fleet = Fleet::new("elastic-rolling", protocol)?;
        // Longer than any restart takes; of the consumer protocol, it is the group's.
        fleet.environment.push((SESSION_TIMEOUT, "45000".to_owned()));
        under_load(&mut fleet, |fleet| {
            (0..3).try_for_each(|number| fleet.join(Some(&format!("member-{number}"))))?;
            fleet.await_shared()?;
            let (before, told) = (fleet.owners()?, fleet.decisions());
            for index in 0..3 {
                let mut member = fleet.members.remove(index);
                member.worker.stop()?;
                let stopped_at = Instant::now();
                member.worker = fleet.start(&member.state_dir, member.instance_id.as_deref())?.running()?;
                println!("{protocol}: back after {:?}", stopped_at.elapsed());
                let from_the_start: Vec<_> =
                    member.worker.restored().into_iter().filter(|restored| restored.from == 0).collect();
                ensure!(from_the_start.is_empty(), "restored from the start: {from_the_start:?}");
                fleet.members.insert(index, member);
                fleet.await_shared()?;
                let others = (0..3).filter(|other| *other > index);
                let heard = others.filter(|other| fleet.decisions()[*other] != told[*other]);
                ensure!(heard.count() == 0, "the others noticed: {:?}, {told:?}", fleet.decisions());
            }
            ensure!(fleet.owners()? == before, "the tasks moved");
            Ok(())
        })?;
        fleet.check()?;
        fleet.stop()?;
    }
    Ok(())
}

/// Of each thread: its name and how many tasks it runs.
fn tasks_of(app: &Streams) -> BTreeMap<String, usize> {
    let running = |task: &&millstream::runtime::TaskSnapshot| task.state == millstream::TaskState::Running;
    let threads = app.threads();
    threads
        .iter()
        .map(|thread| (thread.name.to_string(), thread.tasks.iter().filter(running).count()))
        .collect()
}

fn await_tasks(app: &Streams, expected: &[(String, usize)]) -> Result<()> {
    let expected: BTreeMap<String, usize> = expected.iter().cloned().collect();
    await_until(DEADLINE, format!("{expected:?}"), || (tasks_of(app) == expected).then_some(()))
        .with_context(|| format!("{:?}", tasks_of(app)))
}

fn exactly_once(scene: &Scene) -> Settings {
    Settings { processing_guarantee: ProcessingGuarantee::ExactlyOnce, ..scene.settings() }
}

#[test]
fn threads_are_added_and_removed_while_the_application_runs() -> Result<()> {
    for protocol in PROTOCOLS {
        let scene = Scene::new("elastic-threads", 4)?;
        let session_timeout = Duration::from_secs(45);
        let settings =
            Settings { group_protocol: protocol.parse()?, session_timeout, ..exactly_once(&scene) };
        let app = running(scene.app(scene.count_by_key()?, settings))?;
        let thread =
            |number: usize, tasks: usize| (format!("{}-StreamThread-{number}", scene.application_id), tasks);
        let mut written = 0;
        let mut write = || {
            written += 400;
            scene.write(crate::recovery::orders(written - 400, 400))
        };
        write()?;
        await_tasks(&app, &[thread(1, 4)])?;

        assert_eq!(app.add_stream_thread()?, Some(thread(2, 0).0));
        await_tasks(&app, &[thread(1, 2), thread(2, 2)])?;
        write()?;
        scene.await_committed(&[&scene.input])?;

        let asked_at = Instant::now();
        assert_eq!(app.remove_stream_thread(), Some(thread(2, 0).0));
        await_tasks(&app, &[thread(1, 4)])?;
        let taken_over = asked_at.elapsed();
        assert!(taken_over < SESSION_OF_GROUP, "{taken_over:?}: it did not leave the group");
        write()?;
        scene.await_committed(&[&scene.input])?;

        assert_eq!(app.remove_stream_thread(), Some(thread(1, 0).0), "the last one");
        assert_eq!((app.state(), app.remove_stream_thread()), (ClientState::Running, None));
        write()?;
        assert_eq!(app.add_stream_thread()?, Some(thread(1, 0).0), "its place is free");
        await_tasks(&app, &[thread(1, 4)])?;
        scene.await_committed(&[&scene.input])?;
        let expected = scene.recount()?;
        await_until(DEADLINE, "every record to be counted once", || {
            counts_of(&app).is_ok_and(|counts| counts == expected).then_some(())
        })?;
        app.close()?;
    }
    Ok(())
}

/// The group expects a static member back. One of a classic group says that it does not come; of another, the session ends.
#[test]
fn the_tasks_of_a_static_member_that_was_removed_are_taken_over() -> Result<()> {
    for protocol in PROTOCOLS {
        let scene = Scene::new("elastic-static-threads", 4)?;
        let settings = Settings {
            group_protocol: protocol.parse()?,
            group_instance_id: Some("shop".into()),
            session_timeout: SESSION_OF_GROUP,
            ..exactly_once(&scene)
        };
        let app = running(scene.app(scene.count_by_key()?, settings))?;
        let thread =
            |number: usize, tasks: usize| (format!("{}-StreamThread-{number}", scene.application_id), tasks);
        app.add_stream_thread()?;
        await_tasks(&app, &[thread(1, 2), thread(2, 2)])?;

        let asked_at = Instant::now();
        assert_eq!(app.remove_stream_thread(), Some(thread(2, 0).0));
        await_tasks(&app, &[thread(1, 4)])?;
        let taken_over = asked_at.elapsed();
        println!("{protocol}: taken over after {taken_over:?}");
        assert!(
            protocol == "consumer" || taken_over < SESSION_OF_GROUP,
            "{taken_over:?}: it bid no farewell"
        );
        app.close()?;
    }
    Ok(())
}

#[test]
fn a_second_instance_with_the_same_id_ends_one_of_them_with_an_error_that_says_so() -> Result<()> {
    let scene = Scene::new("elastic-fenced", 2)?;
    let settings = |state_dir: &TempDir| Settings {
        group_instance_id: Some("shop-0".into()),
        state_dir: state_dir.path().into(),
        ..scene.settings()
    };
    let (first_dir, second_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let first = running(scene.app(scene.count_by_key()?, settings(&first_dir)))?;
    let second = scene.app(scene.count_by_key()?, settings(&second_dir)).start()?;
    await_until(DEADLINE, "one of them to end", || {
        let ended = |app: &Streams| app.state() == ClientState::Error;
        (ended(&first) || ended(&second)).then_some(())
    })?;
    let (ended, other) = if first.state() == ClientState::Error { (first, second) } else { (second, first) };
    let message = ended.close().expect_err("it was fenced").to_string();
    assert!(message.contains("group_instance_id"), "{message}");
    other.await_state(ClientState::Running, DEADLINE)?;
    Ok(other.close()?)
}
