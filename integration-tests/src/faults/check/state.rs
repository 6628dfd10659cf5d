//! What a state directory holds is the changelog up to the offset it claims, byte for byte, after whatever happened to its process;
//! or up to a later one, if a process died when the rows of a checkpoint were on the disk and their offset was not (ADR 0008).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use millstream::{
    Direction, KeyRange, StateDirectory, StateMemory, StateOwner, StoreBuilder, TaskStores,
    TaskStoresOptions, Topology,
};

use super::{Findings, ViolationKind};
use crate::kafka::ReadRecord;

/// Rows of an engine: a timestamp and a value for each key.
type Rows = BTreeMap<Vec<u8>, (i64, Vec<u8>)>;

/// One store of one task in one state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::faults) struct StateOnDisk {
    pub(in crate::faults) store: String,
    pub(in crate::faults) partition: i32,
    /// Which directory, for a person to look.
    pub(in crate::faults) place: String,
    /// The changelog offset the directory claims to contain; none if it never had a checkpoint.
    pub(in crate::faults) next: Option<i64>,
    /// Whether a process of the directory ever died, which may have been between the rows of a checkpoint and their offset.
    pub(in crate::faults) may_be_ahead: bool,
    pub(in crate::faults) rows: Rows,
}

/// Opens every task's directory below `state_dir`, whose owner must have ended, and reads all of it.
///
/// # Errors
/// If a directory cannot be opened: it is corrupt, or somebody still holds it.
pub(in crate::faults) fn read_state(
    state_dir: &Path,
    application_id: &str,
    topology: &Topology,
    may_be_ahead: bool,
) -> Result<Vec<StateOnDisk>> {
    let directory = StateDirectory::new(state_dir, application_id);
    let subtopologies = topology.subtopologies();
    let mut found = Vec::new();
    for owner in directory.list()? {
        // The programs of the suite have no global tables.
        let StateOwner::Task(task) = owner else { continue };
        let subtopology = usize::try_from(task.subtopology).ok().and_then(|id| subtopologies.get(id));
        let names = &subtopology.with_context(|| format!("no sub-topology for {task}"))?.stores;
        let builders: Vec<Arc<dyn StoreBuilder>> =
            names.iter().filter_map(|name| topology.store(name)).cloned().collect();
        let place = directory.of(task).display().to_string();
        let locked = directory.lock_task(task)?;
        let (memory, options) = (StateMemory::new(16 << 20), TaskStoresOptions::default());
        let stores = TaskStores::open(task, application_id, Some(locked), memory, options, &builders)
            .with_context(|| format!("cannot open {place}"))?;
        for name in names {
            let index = stores.index_of(name).context("a store of its own sub-topology")?;
            let reader = stores.reader(name).context("a store of its own sub-topology")?;
            let mut rows = Rows::new();
            for row in reader.scan(KeyRange::all(), Direction::Forward)? {
                let (key, timestamp, value) = row?;
                rows.insert(key, (timestamp.as_millis(), value));
            }
            found.push(StateOnDisk {
                store: name.clone(),
                partition: task.partition,
                place: place.clone(),
                next: stores.stored_offset(index).map(|next| next.get()),
                may_be_ahead,
                rows,
            });
        }
    }
    Ok(found)
}

/// Compares each directory with its changelog (all records of it, as a committed reader sees them), and sees that of each
/// partition somebody has all of it, as is so after a clean end.
pub(in crate::faults) fn compare_state(
    directories: &[StateOnDisk],
    changelogs: &BTreeMap<String, Vec<ReadRecord>>,
) -> Findings {
    let mut findings = Findings::default();
    for state in directories {
        let records = changelogs.get(&state.store).map_or(&[][..], Vec::as_slice);
        let (contained, later): (Vec<&ReadRecord>, Vec<&ReadRecord>) = records
            .iter()
            .filter(|record| record.partition == state.partition)
            .partition(|record| state.next.is_some_and(|next| record.offset < next));
        let replayed = replay(contained.into_iter());
        let is_ahead = || is_of_later_offset(replayed.clone(), &later, &state.rows);
        if replayed == state.rows || state.may_be_ahead && is_ahead() {
            continue;
        }
        let StateOnDisk { store, place, .. } = state;
        for key in replayed.keys().chain(state.rows.keys().filter(|key| !replayed.contains_key(*key))) {
            let (found, expected) = (state.rows.get(key), replayed.get(key));
            if found != expected {
                let key = String::from_utf8_lossy(key);
                let what =
                    format!("{store} in {place}: {key} is {found:?}, and {expected:?} by its changelog");
                findings.add(ViolationKind::Diverged, what);
            }
        }
    }
    for (store, records) in changelogs {
        let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
        for record in records {
            ends.insert(record.partition, record.offset + 1);
        }
        for (partition, end) in ends {
            let of_partition =
                directories.iter().filter(|state| state.store == *store && state.partition == partition);
            let newest = of_partition.filter_map(|state| state.next).max();
            if newest.is_none_or(|newest| newest < end) {
                let what =
                    format!("{store}-{partition}: the newest state is of {newest:?}, its changelog of {end}");
                findings.add(ViolationKind::Diverged, what);
            }
        }
    }
    findings
}

fn replay<'a>(records: impl Iterator<Item = &'a ReadRecord>) -> Rows {
    let mut rows = Rows::new();
    records.for_each(|record| apply(record, &mut rows));
    rows
}

/// Whether some of the records, from the first on, make `replayed` what was found.
fn is_of_later_offset(mut replayed: Rows, records: &[&ReadRecord], found: &Rows) -> bool {
    records.iter().any(|record| {
        apply(record, &mut replayed);
        replayed == *found
    })
}

fn apply(record: &ReadRecord, rows: &mut Rows) {
    let key = record.key.clone().unwrap_or_default();
    match &record.value {
        Some(value) => rows.insert(key, (record.timestamp.unwrap_or_default(), value.clone())),
        None => rows.remove(&key),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64, key: &str, value: Option<&str>) -> ReadRecord {
        ReadRecord {
            partition: 0,
            offset,
            timestamp: Some(offset),
            key: Some(key.into()),
            value: value.map(|value| value.into()),
            headers: Vec::new(),
        }
    }

    fn changelog() -> BTreeMap<String, Vec<ReadRecord>> {
        let records = [(0, "a", Some("1")), (1, "b", Some("1")), (2, "a", Some("2")), (3, "b", None)];
        let records = records.map(|(offset, key, value)| record(offset, key, value));
        BTreeMap::from([("counts".to_owned(), records.to_vec())])
    }

    fn state(next: i64, rows: &[(&str, i64, &str)]) -> StateOnDisk {
        StateOnDisk {
            store: "counts".into(),
            partition: 0,
            place: "machine-0/0_0".into(),
            next: Some(next),
            may_be_ahead: false,
            rows: rows.iter().map(|(key, at, value)| ((*key).into(), (*at, (*value).into()))).collect(),
        }
    }

    #[test]
    fn a_directory_is_its_changelog_up_to_its_offset() {
        let whole = state(4, &[("a", 2, "2")]);
        let stale = state(2, &[("a", 0, "1"), ("b", 1, "1")]);
        assert_eq!(compare_state(&[whole.clone(), stale.clone()], &changelog()), Findings::default());

        let behind = compare_state(&[stale], &changelog());
        assert_eq!(behind.count(ViolationKind::Diverged), 1, "nobody has all of it: {behind:?}");
        for tampered in [&[][..], &[("a", 2, "3")], &[("a", 1, "2")], &[("a", 2, "2"), ("b", 1, "1")]] {
            let findings = compare_state(&[state(4, tampered)], &changelog());
            assert_eq!(findings.count(ViolationKind::Diverged), 1, "{tampered:?}: {findings:?}");
        }
        let ahead = state(2, &[("a", 2, "2"), ("b", 1, "1")]);
        let findings = compare_state(&[whole, ahead], &changelog());
        assert_eq!(findings.count(ViolationKind::Diverged), 1, "rows from beyond its offset: {findings:?}");
    }

    #[test]
    fn rows_are_beyond_their_offset_only_after_a_death_and_only_all_of_them() {
        let whole = state(4, &[("a", 2, "2")]);
        let after_a_death = |rows| StateOnDisk { may_be_ahead: true, ..state(1, rows) };
        let ahead = after_a_death(&[("a", 2, "2"), ("b", 1, "1")]);
        assert_eq!(compare_state(&[whole.clone(), ahead], &changelog()), Findings::default());
        for mixed in [&[("a", 2, "2")][..1], &[("b", 1, "1")], &[("a", 0, "1"), ("b", 1, "2")]] {
            let findings = compare_state(&[whole.clone(), after_a_death(mixed)], &changelog());
            let is_whole = mixed == [("a", 2, "2")];
            assert_eq!(findings == Findings::default(), is_whole, "{mixed:?}: {findings:?}");
        }
    }
}
