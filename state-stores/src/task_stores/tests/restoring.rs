//! Restores, and what a running task finds after one.

use super::model::copy_directory;
use super::*;

#[test]
fn what_was_flushed_is_there_when_the_stores_wake_and_what_was_wiped_is_not() {
    let memory = StateMemory::new(16 << 20);
    let open = || {
        DormantStores::open(TASK, "shop", None, Arc::clone(&memory), &[Arc::new(stock_builder())]).unwrap()
    };
    let value = 3_i64.to_be_bytes();
    let rows = [
        RestoreRow { key: b"pears", value: Some(&value), timestamp: at(5) },
        RestoreRow { key: b"apples", value: Some(&value), timestamp: at(6) },
        RestoreRow { key: b"pears", value: None, timestamp: at(7) },
    ];
    let restored = || {
        let mut stores = open();
        assert_eq!((stores.stored_offset(STOCK.index()), stores.restored_to(STOCK.index())), (None, None));
        assert_eq!(stores.restore(STOCK.index(), rows.into_iter(), Offset::new(9)).unwrap(), 3);
        assert_eq!(stores.stored_offset(STOCK.index()), None);
        assert_eq!(stores.restored_to(STOCK.index()), Some(Offset::new(9)));
        stores.flush(STOCK.index()).unwrap();
        assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(9)));
        stores
    };
    let awake = restored().wake(TaskStoresOptions::default());
    let stock: Stock = awake.key_value("stock").unwrap();
    assert_eq!(awake.stored_offset(STOCK.index()), Some(Offset::new(9)));
    assert_eq!(stock.get(&text("apples")).unwrap(), row(3, 6));
    assert_eq!(contents(&stock), [(text("apples"), 3)]);
    assert_eq!(awake.reader("stock").unwrap().get(b"apples").unwrap(), Some((at(6), value.to_vec())));

    let mut wiped = restored();
    wiped.wipe(STOCK.index()).unwrap();
    assert_eq!((wiped.stored_offset(STOCK.index()), wiped.restored_to(STOCK.index())), (None, None));
    let awake = wiped.wake(TaskStoresOptions::default());
    assert_eq!(contents(&awake.key_value("stock").unwrap()), []);
}

#[test]
fn a_restore_that_dies_half_way_resumes_where_its_rows_are_on_disk() {
    const ROWS: i64 = 60_000;
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let open = |directory: &StateDirectory| {
        let locked = directory.lock_task(TASK).unwrap();
        let builder: Arc<dyn StoreBuilder> = Arc::new(stock_builder());
        // Without a budget, restored rows are written as soon as they are worth a file.
        let memory = StateMemory::new(0);
        DormantStores::open(TASK, "shop", Some(locked), memory, &[builder]).unwrap()
    };
    let restore = |stores: &mut DormantStores, numbers: std::ops::Range<i64>| {
        for first in numbers.step_by(1_000) {
            // Every key comes and is deleted again, but for the last thousand.
            let keys: Vec<String> =
                (first..first + 1_000).map(|number| format!("sku-{:06}", number % (ROWS / 2))).collect();
            let value = first.to_be_bytes();
            let is_deletion = (ROWS / 2..ROWS - 1_000).contains(&first);
            let rows = keys.iter().map(|key| RestoreRow {
                key: key.as_bytes(),
                value: (!is_deletion).then_some(value.as_slice()),
                timestamp: at(first),
            });
            stores.restore(STOCK.index(), rows, Offset::new(first + 1_000)).unwrap();
        }
    };
    let mut stores = open(&directory);
    restore(&mut stores, 0..ROWS / 2 + 5_000);
    let stored = stores.stored_offset(STOCK.index()).unwrap();
    assert!(stored > Offset::new(0) && stored < Offset::new(ROWS / 2 + 5_000), "{stored}");
    let after_crash = tempfile::tempdir().unwrap();
    copy_directory(root.path(), after_crash.path());

    let mut stores = open(&StateDirectory::new(after_crash.path(), "shop"));
    assert_eq!(stores.stored_offset(STOCK.index()), Some(stored));
    restore(&mut stores, stored.get()..ROWS);
    stores.flush(STOCK.index()).unwrap();
    assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(ROWS)));
    let stores = stores.wake(TaskStoresOptions::default());
    let stock: Stock = stores.key_value("stock").unwrap();
    let rows = contents(&stock);
    assert_eq!(rows.len(), 1_000, "what was deleted stays deleted");
    assert!(rows.iter().all(|(_, value)| *value == ROWS - 1_000));
}

#[test]
fn a_restore_that_is_interrupted_by_a_close_keeps_what_it_has() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let mut stores = open_dormant(&directory, &[Arc::new(stock_builder())]).unwrap();
    let value = 3_i64.to_be_bytes();
    let row = RestoreRow { key: b"apples", value: Some(&value), timestamp: at(5) };
    stores.restore(STOCK.index(), [row].into_iter(), Offset::new(7)).unwrap();
    assert_eq!(stores.stored_offset(STOCK.index()), None);
    stores.close().unwrap();
    let stores = open_on_disk(&directory, &[Arc::new(stock_builder())]).unwrap();
    assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(7)));
    assert_eq!(contents(&stores.key_value("stock").unwrap()), [(text("apples"), 3)]);
}

#[test]
fn what_was_not_flushed_wakes_in_memory_and_waits_for_a_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let values = [3_i64, 4, 5].map(i64::to_be_bytes);
    let row_of = |key, value: Option<usize>| RestoreRow {
        key,
        value: value.map(|at| &values[at][..]),
        timestamp: at(5),
    };
    let mut copy = open_dormant(&directory, &[Arc::new(stock_builder())]).unwrap();
    copy.restore(
        STOCK.index(),
        [row_of(b"apples", Some(0)), row_of(b"pears", Some(1))].into_iter(),
        Offset::new(2),
    )
    .unwrap();
    copy.flush(STOCK.index()).unwrap();
    copy.restore(
        STOCK.index(),
        [row_of(b"apples", Some(2)), row_of(b"pears", None)].into_iter(),
        Offset::new(4),
    )
    .unwrap();
    copy.make_ready(STOCK.index()).unwrap();
    assert_eq!(copy.stored_offset(STOCK.index()), Some(Offset::new(2)), "it is handed over in memory");

    let mut stores = copy.wake(TaskStoresOptions::default());
    let stock: Stock = stores.key_value("stock").unwrap();
    assert_eq!((stock.get(&text("apples")).unwrap(), stock.get(&text("pears")).unwrap()), (row(5, 5), None));
    assert_eq!(contents(&stock), [(text("apples"), 5)]);
    let reader = stores.reader("stock").unwrap();
    assert_eq!(
        (reader.get(b"apples").unwrap(), reader.get(b"pears").unwrap()),
        (Some((at(5), values[2].to_vec())), None)
    );
    assert!(stores.uncheckpointed_bytes() > 0 && !stores.has_uncommitted());

    // A crash leaves the disk as it was; the changelog completes it.
    let after_crash = tempfile::tempdir().unwrap();
    copy_directory(root.path(), after_crash.path());
    let crashed = StateDirectory::new(after_crash.path(), "shop");
    let crashed = open_dormant(&crashed, &[Arc::new(stock_builder())]).unwrap();
    assert_eq!(crashed.restored_to(STOCK.index()), Some(Offset::new(2)));

    stores.checkpoint(&[(STOCK.index().into(), Offset::new(4).into())]).unwrap();
    assert_eq!(stores.uncheckpointed_bytes(), 0);
    drop(stock);
    stores.close().unwrap();
    let stores = open_on_disk(&directory, &[Arc::new(stock_builder())]).unwrap();
    assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(4)));
    assert_eq!(contents(&stores.key_value("stock").unwrap()), [(text("apples"), 5)]);
}

#[test]
fn rows_that_are_too_many_to_be_found_by_key_are_flushed_first() {
    const ROWS: i64 = 100_000;
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let value = 3_i64.to_be_bytes();
    let restored = || {
        let mut stores = open_dormant(&directory, &[Arc::new(stock_builder())]).unwrap();
        for first in (0..ROWS).step_by(10_000) {
            let keys: Vec<String> =
                (first..first + 10_000).map(|number| format!("sku-{number:06}")).collect();
            let rows = keys.iter().map(|key| RestoreRow {
                key: key.as_bytes(),
                value: Some(&value),
                timestamp: at(5),
            });
            stores.restore(STOCK.index(), rows, Offset::new(first + 10_000)).unwrap();
        }
        stores
    };
    let wakes_with_all = |stores: DormantStores| {
        let stores = stores.wake(TaskStoresOptions::default());
        assert_eq!(contents(&stores.key_value("stock").unwrap()).len(), ROWS as usize);
        stores.uncheckpointed_bytes()
    };
    assert!(wakes_with_all(restored()) > 0, "nothing is lost if they are not");
    let mut stores = restored();
    stores.make_ready(STOCK.index()).unwrap();
    assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(ROWS)));
    assert_eq!(wakes_with_all(stores), 0);
}

/// Wakes, sleeps and is followed again, as a copy that is promoted and later is one again.
#[test]
fn a_copy_that_was_awake_is_followed_again_from_its_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let value = 3_i64.to_be_bytes();
    let row_of = |key| RestoreRow { key, value: Some(&value), timestamp: at(5) };
    let mut copy = open_dormant(&directory, &[Arc::new(stock_builder())]).unwrap();
    copy.restore(STOCK.index(), [row_of(b"apples")].into_iter(), Offset::new(1)).unwrap();
    copy.flush(STOCK.index()).unwrap();

    let mut stores = copy.wake(TaskStoresOptions::default());
    add(&stores.key_value("stock").unwrap(), "pears", 2, 6);
    commit(&mut stores);
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(2).into())]).unwrap();
    stores.close().unwrap();

    let mut copy = open_dormant(&directory, &[Arc::new(stock_builder())]).unwrap();
    assert_eq!(copy.restored_to(STOCK.index()), Some(Offset::new(2)));
    copy.restore(STOCK.index(), [row_of(b"plums")].into_iter(), Offset::new(3)).unwrap();
    copy.close().unwrap();
    let stores = open_on_disk(&directory, &[Arc::new(stock_builder())]).unwrap();
    let expected = [(text("apples"), 3), (text("pears"), 2), (text("plums"), 3)];
    assert_eq!(contents(&stores.key_value("stock").unwrap()), expected);
}
