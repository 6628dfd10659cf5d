//! What window and session stores do that a map does not show: what becomes of rows that are too old, duplicates, the mark of what was
//! emitted, the bytes of the changelog.

use std::time::Duration;

use super::*;
use crate::engine::{DiskAnswer, SimulatedDisk};
use crate::key_range::Direction;
use crate::store::{SessionStoreBuilder, WindowStoreBuilder};
use crate::window::Window;

type Windows = WindowStore<String, i64>;

fn builder(retention: u64) -> WindowStoreBuilder<String, i64> {
    let millis = Duration::from_millis;
    WindowStoreBuilder::new("windows", millis(retention), millis(1), String::serde(), i64::serde())
}

fn open(
    directory: Option<&StateDirectory>,
    builder: WindowStoreBuilder<String, i64>,
    options: TaskStoresOptions,
) -> (TaskStores, Windows) {
    let locked = directory.map(|directory| directory.lock_task(TASK).unwrap());
    let memory = StateMemory::new(16 << 20);
    let stores = TaskStores::open(TASK, "shop", locked, memory, options, &[Arc::new(builder)]).unwrap();
    let windows = stores.window("windows").unwrap();
    (stores, windows)
}

/// Commits, and returns what went to the changelog.
fn logged(stores: &mut TaskStores) -> Vec<(Vec<u8>, Option<Vec<u8>>, i64)> {
    stores.prepare_commit().unwrap();
    let mut entries = Vec::new();
    let sent = stores.drain_changelog(|entry| {
        let value = entry.value.map(<[u8]>::to_vec);
        entries.push((entry.key.to_vec(), value, entry.timestamp.as_millis()));
        Ok::<_, StoreError>(())
    });
    sent.unwrap();
    stores.commit(Arc::new(Position::new())).unwrap();
    entries
}

fn checkpoint(stores: &mut TaskStores) {
    logged(stores);
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(1).into())]).unwrap();
}

/// The keys that a store's engine holds, too old or not.
fn keys_on(disk: &SimulatedDisk) -> usize {
    disk.survivors(TASK)[0].rows.len()
}

#[test]
fn the_changelog_is_that_of_kafka_streams() {
    let (mut stores, windows) = open(None, builder(10), TaskStoresOptions::default());
    windows.put(&text("sku"), at(0x0102), row(7, 300)).unwrap();
    let key = b"sku\0\0\0\0\0\0\x01\x02\0\0\0\0".to_vec();
    assert_eq!(logged(&mut stores), [(key.clone(), Some(7_i64.to_be_bytes().to_vec()), 300)]);
    windows.put(&text("sku"), at(0x0102), None).unwrap();
    assert_eq!(logged(&mut stores), [(key, None, 300)]);

    let sessions =
        SessionStoreBuilder::new("sessions", Duration::from_millis(9), String::serde(), i64::serde());
    let options = TaskStoresOptions::default();
    let mut stores =
        TaskStores::open(TASK, "shop", None, StateMemory::new(0), options, &[Arc::new(sessions)]).unwrap();
    let sessions = stores.session::<String, i64>("sessions").unwrap();
    sessions.put(&text("sku"), Window::new(at(5), at(9)), row(7, 8)).unwrap();
    let key = b"sku\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x05".to_vec();
    assert_eq!(logged(&mut stores), [(key, Some(7_i64.to_be_bytes().to_vec()), 8)]);
}

#[test]
fn bounds_are_inclusive_and_keys_keep_to_themselves() {
    let (_stores, windows) = open(None, builder(100), TaskStoresOptions::default());
    let (short, long) = (text("a"), text("a\0\0\0\0\0\0\0\u{5}\0\0\0\0"));
    for start in [3, 5, 7] {
        windows.put(&short, at(start), row(start, start)).unwrap();
        windows.put(&long, at(start), row(-start, start)).unwrap();
    }
    let values = |starts: std::ops::RangeInclusive<Timestamp>| -> Vec<i64> {
        let rows = windows.fetch_range(&short, starts, Direction::Forward).unwrap();
        rows.into_iter().map(|(_, row)| row.value).collect()
    };
    assert_eq!(values(at(3)..=at(5)), [3, 5]);
    assert_eq!(values(at(4)..=at(6)), [5]);
    assert_eq!(values(at(-9)..=at(i64::MAX)), [3, 5, 7]);
    assert!(values(at(6)..=at(4)).is_empty());
    assert_eq!(windows.fetch_range(&short, at(3)..at(5), Direction::Reverse).unwrap().len(), 1);
}

#[test]
fn a_row_that_is_too_old_is_not_read_and_putting_one_changes_nothing() {
    let (mut stores, windows) = open(None, builder(10), TaskStoresOptions::default());
    let sku = text("sku");
    for start in [1, 5, 14] {
        windows.put(&sku, at(start), row(start, start)).unwrap();
    }
    assert_eq!(windows.fetch(&sku, at(4)).unwrap(), None);
    assert!(windows.is_kept(at(5)) && !windows.is_kept(at(4)));
    let starts: Vec<_> = windows.all().unwrap().map(|row| row.unwrap().0.window.start).collect();
    assert_eq!(starts, [at(5), at(14)], "1 is gone, 5 is just kept");
    windows.put(&sku, at(4), row(9, 4)).unwrap();
    let updated = windows.update(&sku, at(3), at(4), true, |_| -> Result<_, StoreError> { panic!("gone") });
    assert_eq!(updated.unwrap(), None);
    assert_eq!(logged(&mut stores).len(), 3);
    assert_eq!(windows.fetch(&sku, at(1)).unwrap(), None);
}

#[test]
fn what_a_failed_record_made_old_is_there_again() {
    let options = TaskStoresOptions { undo: true, ..TaskStoresOptions::default() };
    let (mut stores, windows) = open(None, builder(10), options);
    let sku = text("sku");
    stores.begin_record();
    windows.put(&sku, at(1), row(1, 1)).unwrap();
    stores.begin_record();
    windows.put(&sku, at(50), row(50, 50)).unwrap();
    assert_eq!(windows.fetch(&sku, at(1)).unwrap(), None);
    stores.undo_record();
    assert_eq!(windows.fetch(&sku, at(1)).unwrap(), row(1, 1));
    assert_eq!(windows.fetch_range(&sku, .., Direction::Forward).unwrap().len(), 1);
}

#[test]
fn engines_get_rid_of_rows_that_are_too_old() {
    const ROWS: i64 = 5_000;
    let disk = SimulatedDisk::default();
    let directory = disk.directory("shop", |_task, _request| DiskAnswer::Done);
    let (mut stores, windows) = open(Some(&directory), builder(10), TaskStoresOptions::default());
    for start in 0..ROWS {
        windows.put(&text("sku"), at(start), row(start, start)).unwrap();
        if start % 500 == 499 {
            checkpoint(&mut stores);
        }
    }
    assert!(keys_on(&disk) < 2_000, "{} rows are kept of {ROWS}, of which 10 are wanted", keys_on(&disk));
    assert_eq!(windows.all().unwrap().count(), 10);
    assert!(stores.stats()[0].cached_entries < 2_000, "{:?}", stores.stats());
}

#[test]
fn rocksdb_drops_rows_that_are_too_old_when_it_compacts() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let (mut stores, windows) = open(Some(&directory), builder(10), TaskStoresOptions::default());
    // So many files that they are compacted, all of the same keys.
    for start in 0..12 {
        for number in 0..1_000 {
            windows.put(&format!("sku-{number}"), at(5 * start), row(start, start)).unwrap();
        }
        checkpoint(&mut stores);
    }
    let kept = || stores.engine_sizes().unwrap().estimated_keys;
    // It compacts behind the task; looking so often takes many seconds.
    let is_compacted = (0..1_000_000).any(|_look| {
        std::thread::yield_now();
        kept() <= 6_000
    });
    assert!(is_compacted, "{} rows of 12000 are left", kept());
    assert_eq!(windows.all().unwrap().count(), 2_000, "those that begin at 50 and 55");
}

#[test]
fn rows_that_are_too_old_before_a_checkpoint_are_written_only_where_older_ones_would_come_forth() {
    let sku = text("sku");
    let plain: fn() -> WindowStoreBuilder<String, i64> = || builder(10);
    let duplicates: fn() -> _ = || builder(10).retaining_duplicates();
    // Of this one, numbers begin again when it is opened: a row may replace an older one.
    let unlogged: fn() -> _ = || builder(10).retaining_duplicates().with_logging(false);
    for (builder, written, values_at_0) in
        [(plain, 100, &[2][..]), (duplicates, 10, &[1]), (unlogged, 100, &[1, 2])]
    {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::new(root.path(), "shop");
        let (mut stores, windows) = open(Some(&directory), builder(), TaskStoresOptions::default());
        windows.put(&sku, at(0), row(1, 0)).unwrap();
        checkpoint(&mut stores);
        let before = stores.engine_sizes().unwrap().estimated_keys;
        for start in 0..100 {
            windows.put(&sku, at(start), row(2, start)).unwrap();
        }
        checkpoint(&mut stores);
        let more = stores.engine_sizes().unwrap().estimated_keys - before;
        // The offset that is written beside them may count as well.
        assert!((written..written + 5).contains(&more), "{more} of 100 rows are written");
        stores.close().unwrap();

        let (_stores, windows) = open(Some(&directory), builder(), TaskStoresOptions::default());
        let first = windows.fetch_range(&sku, at(0)..=at(0), Direction::Forward).unwrap();
        assert_eq!(first.into_iter().map(|(_, row)| row.value).collect::<Vec<_>>(), values_at_0);
    }
}

#[test]
fn a_row_of_its_own_that_is_taken_back_is_gone_with_its_number() {
    let options = TaskStoresOptions { undo: true, ..TaskStoresOptions::default() };
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let duplicates = || builder(100).retaining_duplicates();
    let (mut stores, windows) = open(Some(&directory), duplicates(), options);
    let sku = text("sku");
    let put = |stores: &mut TaskStores, value| {
        stores.begin_record();
        windows.put(&sku, at(5), row(value, 5)).unwrap();
    };
    let values = || -> Vec<i64> {
        let rows = windows.fetch_range(&sku, .., Direction::Forward).unwrap();
        rows.into_iter().map(|(_, row)| row.value).collect()
    };
    put(&mut stores, 1);
    assert_eq!(logged(&mut stores).len(), 1);
    [2, 3].into_iter().for_each(|value| put(&mut stores, value));
    stores.undo_record();
    assert_eq!(values(), [1, 2]);
    stores.rollback();
    assert_eq!(values(), [1]);
    put(&mut stores, 4);
    assert_eq!(logged(&mut stores).len(), 1);
    assert_eq!(values(), [1, 4]);
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(2).into())]).unwrap();
    stores.close().unwrap();

    let (_stores, windows) = open(Some(&directory), duplicates(), TaskStoresOptions::default());
    for value in [5, 6] {
        windows.put(&sku, at(5), row(value, 5)).unwrap();
    }
    let rows = windows.fetch_range(&sku, .., Direction::Forward).unwrap();
    let values: Vec<_> = rows.into_iter().map(|(_, row)| row.value).collect();
    assert_eq!(values, [1, 4, 5, 6], "no number of a row that is there is given again");
}

#[test]
fn a_row_that_is_too_old_takes_no_number() {
    let (mut stores, windows) = open(None, builder(10).retaining_duplicates(), TaskStoresOptions::default());
    for start in [100, 5, 100] {
        windows.put(&text("sku"), at(start), row(start, start)).unwrap();
    }
    let numbers: Vec<_> = logged(&mut stores).iter().map(|(key, ..)| key[key.len() - 1]).collect();
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn a_restore_leaves_out_what_is_too_old() {
    let disk = SimulatedDisk::default();
    let directory = disk.directory("shop", |_task, _request| DiskAnswer::Done);
    let locked = directory.lock_task(TASK).unwrap();
    let memory = StateMemory::new(16 << 20);
    let mut stores =
        DormantStores::open(TASK, "shop", Some(locked), memory, &[Arc::new(builder(10))]).unwrap();
    let keys: Vec<Vec<u8>> = [20_i64, 11, 10, 3]
        .iter()
        .map(|start| [b"sku".as_slice(), &start.to_be_bytes(), &[0; 4]].concat())
        .collect();
    let rows = keys.iter().map(|key| RestoreRow { key, value: Some(&[0; 8]), timestamp: at(1) });
    assert_eq!(stores.restore(STOCK.index(), rows, Offset::new(4)).unwrap(), 4);
    stores.flush(STOCK.index()).unwrap();
    assert_eq!(keys_on(&disk), 2, "20 and 11 are kept");

    let short = [RestoreRow { key: b"sku", value: None, timestamp: at(1) }];
    let refused = stores.restore(STOCK.index(), short.into_iter(), Offset::new(5)).unwrap_err();
    assert!(matches!(refused, StoreError::MalformedKey { found: 3, .. }), "{refused}");
}

#[test]
fn duplicates_stand_side_by_side_also_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let duplicates = || builder(100).retaining_duplicates();
    let (mut stores, windows) = open(Some(&directory), duplicates(), TaskStoresOptions::default());
    let sku = text("sku");
    for value in [1, 2] {
        windows.put(&sku, at(5), row(value, 5)).unwrap();
    }
    windows.put(&sku, at(5), None).unwrap();
    let entries = logged(&mut stores);
    let numbers: Vec<_> = entries.iter().map(|(key, ..)| key[key.len() - 1]).collect();
    assert_eq!(numbers, [1, 2], "as Kafka Streams counts");
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(2).into())]).unwrap();
    stores.close().unwrap();

    let (_stores, windows) = open(Some(&directory), duplicates(), TaskStoresOptions::default());
    windows.put(&sku, at(5), row(3, 5)).unwrap();
    let rows = windows.fetch_range(&sku, at(5)..=at(5), Direction::Forward).unwrap();
    assert_eq!(rows.into_iter().map(|(_, row)| row.value).collect::<Vec<_>>(), [1, 2, 3]);
}

/// Sets the mark in three commits, and says what each logs of it.
fn marks_logged(atomic_commits: bool) -> Vec<Vec<i64>> {
    let options = TaskStoresOptions { atomic_commits, ..TaskStoresOptions::default() };
    let (mut stores, windows) = open(None, builder(100).found_by_time(), options);
    assert_eq!(windows.emitted_to().unwrap(), None);
    let mut marks = |mark: Option<i64>| {
        mark.map(at).into_iter().for_each(|mark| windows.set_emitted_to(mark));
        let entries = logged(&mut stores).into_iter();
        entries.map(|(_, value, _)| i64::from_be_bytes(value.unwrap().try_into().unwrap())).collect()
    };
    vec![marks(Some(7)), marks(Some(9)), marks(None), marks(None)]
}

#[test]
fn the_changelog_has_the_mark_of_a_commit_that_is_complete() {
    assert_eq!(marks_logged(true), [vec![7], vec![9], vec![], vec![]]);
    assert_eq!(marks_logged(false), [vec![], vec![7], vec![9], vec![]], "one commit behind");
}

#[test]
fn the_mark_is_committed_rolled_back_and_restored() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let indexed = || builder(100).found_by_time();
    let (mut stores, windows) = open(Some(&directory), indexed(), TaskStoresOptions::default());
    windows.set_emitted_to(at(7));
    stores.rollback();
    logged(&mut stores);
    assert_eq!(windows.emitted_to().unwrap(), None);
    windows.set_emitted_to(at(8));
    checkpoint(&mut stores);
    stores.close().unwrap();
    let (stores, windows) = open(Some(&directory), indexed(), TaskStoresOptions::default());
    assert_eq!(windows.emitted_to().unwrap(), Some(at(8)));
    assert_eq!(windows.all().unwrap().count(), 0, "the mark is no row");
    stores.close().unwrap();

    let mut dormant = open_dormant(&directory, &[Arc::new(indexed())]).unwrap();
    let (mut mark, value) = ([0; 12], 9_i64.to_be_bytes());
    mark[8..].copy_from_slice(&[0xff; 4]);
    let row = RestoreRow { key: &mark, value: Some(&value), timestamp: at(9) };
    dormant.restore(STOCK.index(), [row].into_iter(), Offset::new(2)).unwrap();
    dormant.flush(STOCK.index()).unwrap();
    let stores = dormant.wake(TaskStoresOptions::default());
    assert_eq!(stores.window::<String, i64>("windows").unwrap().emitted_to().unwrap(), Some(at(9)));
}

#[test]
fn a_store_of_another_kind_is_refused() {
    let (stores, _windows) = open(None, builder(10), TaskStoresOptions::default());
    let error = stores.session::<String, i64>("windows").unwrap_err().to_string();
    assert!(error.contains("a window store") && error.contains("a session store"), "{error}");
    assert!(stores.key_value::<String, i64>("windows").is_err());
}
