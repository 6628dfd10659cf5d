//! What must hold: on a disk whenever something was written to it, everywhere once the program has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use millstream_state_stores::{Direction, KeyRange, Offset, ScannedRow, SurvivingStore, TaskId};

use super::cluster::{Cluster, LogRecord, TopicPartition};
use super::machine::{Instance, Machine, Surroundings};
use super::program::{APPLICATION, Kind, Recount, text};
use super::rule::{Broken, Rule};
use super::world::World;
use crate::query::StoreView;
use crate::runtime::{Placement, RestoreProgress};

/// Rows by key.
type Rows = BTreeMap<Vec<u8>, (i64, Vec<u8>)>;

/// Whatever is found on a disk after a crash, the changelog from the offset beside it brings to what all of the changelog says:
/// no row is there that was not committed, and none is passed over.
pub(super) fn check_disk(machine: &Machine, around: &Surroundings) -> Result<(), Broken> {
    let written = std::mem::take(&mut *machine.written.lock());
    written.into_iter().try_for_each(|task| check_task_on_disk(machine, task, around))
}

fn check_task_on_disk(machine: &Machine, task: TaskId, around: &Surroundings) -> Result<(), Broken> {
    if !around.scenario.has_faithful_stores() {
        return Ok(());
    }
    let cluster = &*around.cluster.borrow();
    let changelog = changelog_of(around, task);
    for SurvivingStore { rows, next } in machine.disk.survivors(task) {
        let mut restored = rows_of(rows);
        let tail = cluster.decided(&changelog).filter(|placed| next.is_none_or(|next| placed.offset >= next));
        tail.for_each(|placed| apply(&mut restored, &placed.record));
        let place = format!("task {task} on {}, restored from {:?}", machine.name, next.map(Offset::get));
        if next.is_some_and(|next| next > cluster.log(&changelog).end()) {
            return Err(Rule::DiskFitsChangelog.broken(format!("{place}: the changelog ends before")));
        }
        let is_input = around.scenario.program.kind == Kind::JoinWithCopy;
        if is_input && next.is_some_and(|next| next.get() > cluster.sealed_offset(&changelog)) {
            return Err(
                Rule::DiskFitsChangelog.broken(format!("{place}: the rows are ahead of what is committed"))
            );
        }
        compare(Rule::DiskFitsChangelog, &replay(cluster, &changelog), &restored, &place)?;
    }
    Ok(())
}

fn changelog_of(around: &Surroundings, task: TaskId) -> TopicPartition {
    (around.scenario.program.changelog(), task.partition)
}

/// What all of a changelog says.
fn replay(cluster: &Cluster, changelog: &TopicPartition) -> Rows {
    let mut rows = Rows::new();
    cluster.decided(changelog).for_each(|placed| apply(&mut rows, &placed.record));
    rows
}

fn apply(rows: &mut Rows, record: &LogRecord) {
    let key = record.key.clone().unwrap_or_default();
    match &record.value {
        Some(value) => drop(rows.insert(key, (record.timestamp.as_millis(), value.clone()))),
        None => drop(rows.remove(&key)),
    }
}

fn rows_of(rows: impl IntoIterator<Item = ScannedRow>) -> Rows {
    rows.into_iter().map(|(key, timestamp, value)| (key, (timestamp.as_millis(), value))).collect()
}

fn compare(rule: Rule, replayed: &Rows, found: &Rows, place: &str) -> Result<(), Broken> {
    if replayed == found {
        return Ok(());
    }
    let what = format!("{place}: the changelog says {}, the store {}", readable(replayed), readable(found));
    Err(rule.broken(what))
}

fn readable(rows: &Rows) -> String {
    let row = |(key, (_, value)): (&Vec<u8>, &(i64, Vec<u8>))| {
        format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value))
    };
    rows.iter().map(row).collect::<Vec<_>>().join("; ")
}

/// Queries find no store of a thread that has ended: it is not kept up, and its reader would hold the directory.
pub(super) fn check_readers(machine: &Machine, around: &Surroundings) -> Result<(), Broken> {
    for instance in machine.instance.iter().filter(|instance| instance.has_no_thread()) {
        let coverage = instance.shared.stores.coverage(around.scenario.program.store());
        if coverage.is_ok_and(|(open, _)| open > 0) {
            return Err(Rule::NoStoreOutlivesItsThread
                .broken(format!("{} has open stores, and no thread", machine.name)));
        }
    }
    Ok(())
}

/// A task that stayed with its thread has the store it had.
pub(super) fn check_staying(machine: &Machine, around: &Surroundings) -> Result<(), Broken> {
    let opened_again = machine.instance.iter().flat_map(|instance| instance.opened_again(around)).next();
    opened_again.map_or(Ok(()), |number| {
        Err(Rule::StaysOpen
            .broken(format!("{} opened task {number} again, which had stayed with its thread", machine.name)))
    })
}

/// The open stores of all instances.
fn views(world: &World) -> impl Iterator<Item = StoreView> {
    let instances = world.machines.iter().filter_map(|machine| machine.instance.as_ref());
    let store = world.around.scenario.program.store();
    instances.map(move |instance| StoreView::new(instance.shared.stores.clone(), store))
}

pub(super) fn all_stores_readable(world: &World) -> bool {
    let open: usize = views(world).map(|view| view.coverage().map_or(0, |(open, _)| open)).sum();
    i32::try_from(open).is_ok_and(|open| open == world.around.scenario.program.partitions)
}

/// Each instance follows the standbys that are its own to the ends of their changelogs, and nobody waits for stores.
pub(super) fn standbys_in_place(world: &World) -> bool {
    let around = &world.around;
    let group = around.cluster.borrow().group.describe();
    let is_stateful = |task| stateful_tasks(around).any(|stateful| stateful == task);
    group.is_settled
        && world.machines.iter().all(|machine| {
            let Some(instance) = &machine.instance else { return false };
            let protocol = instance.shared.settings.group_protocol;
            let program = instance.shared.program();
            let placement = Placement::of(APPLICATION, protocol, &program.inputs, &group.members);
            let expected = placement.standbys(&machine.name, around.scenario.standby_replicas, is_stateful);
            let snapshot = instance.shared.state_updater.snapshot();
            let mut followed = snapshot.standbys.values().flatten();
            snapshot.restoring.is_empty()
                && snapshot.standbys.keys().copied().eq(expected)
                && followed.all(RestoreProgress::is_complete)
        })
}

/// At rest: every task with state has the standbys that were asked for, as far as there are instances, and none where it runs.
fn check_standbys(world: &World) -> Result<(), Broken> {
    let around = &world.around;
    let instances = || world.machines.iter().filter_map(|machine| machine.instance.as_ref());
    for task in stateful_tasks(around) {
        let standbys: Vec<_> = instances()
            .filter(|instance| instance.shared.state_updater.snapshot().standbys.contains_key(&task))
            .collect();
        let expected = around.scenario.standby_replicas.min(world.machines.len() - 1);
        if standbys.len() != expected {
            return Err(Rule::StandbysInPlace
                .broken(format!("task {task} has {} standbys, not {expected}", standbys.len())));
        }
        let runs_here = |instance: &&Instance| {
            let threads = instance.shared.threads.snapshots();
            threads.iter().flat_map(|thread| &thread.tasks).any(|running| running.id == task)
        };
        if standbys.iter().any(runs_here) {
            return Err(Rule::StandbysInPlace.broken(format!("task {task} runs beside its standby")));
        }
    }
    Ok(())
}

/// At rest: the results are those of a recount, and so are the stores, which are also what the changelogs say.
pub(super) fn check_end(world: &World) -> Result<(), Broken> {
    let around = &world.around;
    let cluster = &*around.cluster.borrow();
    let recount = around.scenario.program.recount(cluster);
    if around.scenario.is_exactly_once() {
        check_results(around, cluster, &recount)?;
    } else {
        check_nothing_lost(cluster, &recount)?;
    }
    check_standbys(world)?;
    if around.scenario.has_faithful_stores() { check_stores(world) } else { Ok(()) }
}

/// At rest: the stores are those of a recount, which is also what the changelogs say.
pub(super) fn check_stores(world: &World) -> Result<(), Broken> {
    let around = &world.around;
    let cluster = &*around.cluster.borrow();
    let mut stored = Rows::new();
    for view in views(world) {
        let Ok(entries) = view.scan(&KeyRange::all(), Direction::Forward) else { continue };
        for entry in entries {
            let entry = entry.map_err(|error| Rule::StoresAreChangelogs.broken(error.to_string()))?;
            let key = String::from_utf8_lossy(&entry.key).into_owned();
            if stored.insert(entry.key, (entry.timestamp.as_millis(), entry.value)).is_some() {
                return Err(Rule::StoresAreChangelogs.broken(format!("{key} is in two stores")));
            }
        }
    }
    let mut replayed = Rows::new();
    for partition in 0..around.scenario.program.partitions {
        replayed.extend(replay(cluster, &(around.scenario.program.changelog(), partition)));
    }
    compare(Rule::StoresAreChangelogs, &replayed, &stored, "at the end")?;
    check_store(around, &around.scenario.program.recount(cluster), &stored)
}

fn check_store(around: &Surroundings, recount: &Recount, stored: &Rows) -> Result<(), Broken> {
    let keys: BTreeSet<&str> = stored.keys().filter_map(|key| std::str::from_utf8(key).ok()).collect();
    if keys != recount.store.keys().map(String::as_str).collect() {
        return Err(Rule::StoresAreThoseOfRecount
            .broken(format!("the store has keys {keys:?}, not {:?}", recount.store.keys())));
    }
    for (key, expected) in &recount.store {
        let row = String::from_utf8_lossy(&stored[key.as_bytes()].1);
        let mut words: Vec<&str> = row.split(' ').collect();
        words.sort_unstable();
        if !around.scenario.is_exactly_once() {
            words.dedup();
        }
        let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        expected.sort_unstable();
        if words != expected {
            return Err(Rule::StoresAreThoseOfRecount
                .broken(format!("the store says {key}={row}, the input {expected:?}")));
        }
    }
    Ok(())
}

/// Results as a reader of committed records sees them, by key and in order.
fn results(cluster: &Cluster) -> BTreeMap<String, Vec<String>> {
    let mut results: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for placed in cluster.topics["results"].iter().flat_map(|log| log.committed_from(Offset::new(0))) {
        let (key, value) = (text(&placed.record.key), text(&placed.record.value));
        results.entry(key.to_string()).or_default().push(value.to_string());
    }
    results
}

/// Exactly-once: each result once, in order, and nothing else.
fn check_results(around: &Surroundings, cluster: &Cluster, recount: &Recount) -> Result<(), Broken> {
    let results = results(cluster);
    if around.scenario.program.kind != Kind::Tally {
        return if results == recount.results {
            Ok(())
        } else {
            Err(Rule::ResultsAreThoseOfRecount
                .broken(format!("the results are {results:?}, not {:?}", recount.results)))
        };
    }
    for (key, orders) in &recount.store {
        let tallies = results.get(key).map_or(&[][..], Vec::as_slice);
        let mut before: Vec<&str> = Vec::new();
        for tally in tallies {
            let words: Vec<&str> = tally.split(' ').collect();
            let more = words.strip_prefix(before.as_slice()).map_or(0, <[&str]>::len);
            if more == 0 || more > 1 && !around.scenario.program.is_cached {
                return Err(Rule::ResultsAreThoseOfRecount
                    .broken(format!("after {before:?} of {key} came {words:?}")));
            }
            before = words;
        }
        before.sort_unstable();
        let mut expected: Vec<&str> = orders.iter().map(String::as_str).collect();
        expected.sort_unstable();
        if before != expected {
            return Err(Rule::ResultsAreThoseOfRecount
                .broken(format!("the last result of {key} is {before:?}, not {expected:?}")));
        }
    }
    Ok(())
}

/// At-least-once: every input has a result.
fn check_nothing_lost(cluster: &Cluster, recount: &Recount) -> Result<(), Broken> {
    let results = results(cluster);
    let said: BTreeSet<&str> = results.values().flatten().flat_map(|result| result.split(' ')).collect();
    let of_join = recount.results.values().flatten().filter_map(|result| result.split(' ').next());
    let of_tally =
        recount.store.values().filter(|_| recount.results.is_empty()).flatten().map(String::as_str);
    match of_join.chain(of_tally).find(|order| !said.contains(order)) {
        Some(lost) => Err(Rule::ResultsAreThoseOfRecount.broken(format!("{lost} has no result"))),
        None => Ok(()),
    }
}

/// After all instances ended as asked, nothing is left to restore: for each partition some disk has all of the changelog.
pub(super) fn check_closed(world: &World) -> Result<(), Broken> {
    let around = &world.around;
    if !around.scenario.has_faithful_stores() {
        return Ok(());
    }
    for task in stateful_tasks(around) {
        world.machines.iter().try_for_each(|machine| check_task_on_disk(machine, task, around))?;
        let cluster = &*around.cluster.borrow();
        let last = cluster.decided(&changelog_of(around, task)).last();
        let has_all = |store: SurvivingStore| {
            last.as_ref().is_none_or(|last| store.next.is_some_and(|next| next > last.offset))
        };
        let is_complete = |machine: &Machine| machine.disk.survivors(task).into_iter().any(has_all);
        if last.is_some() && !world.machines.iter().any(is_complete) {
            return Err(Rule::NothingLeftToRestore
                .broken(format!("no disk has all of task {task} after all instances ended as asked")));
        }
    }
    Ok(())
}

fn stateful_tasks(around: &Surroundings) -> impl Iterator<Item = TaskId> {
    let stateful = around.topology.subtopologies().into_iter().filter(|part| !part.stores.is_empty());
    let partitions = around.scenario.program.partitions;
    stateful.flat_map(move |part| {
        (0..partitions).map(move |partition| TaskId { subtopology: part.id, partition })
    })
}
