//! Opening a directory: what survives, whose it is, and what is said when it cannot be used.

use std::fs;

use super::*;

fn directory() -> (tempfile::TempDir, StateDirectory) {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    (root, directory)
}

fn builders(names: &[&str]) -> Vec<Arc<dyn StoreBuilder>> {
    let builder = |name: &&str| -> Arc<dyn StoreBuilder> {
        Arc::new(KeyValueStoreBuilder::new(*name, String::serde(), i64::serde()))
    };
    names.iter().map(builder).collect()
}

/// Opens, stores three apples at offset 1 and closes.
fn fill(directory: &StateDirectory) {
    let mut stores = open_on_disk(directory, &builders(&["stock"])).unwrap();
    add(&stores.key_value("stock").unwrap(), "apples", 3, 10);
    commit(&mut stores);
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(1).into())]).unwrap();
    stores.close().unwrap();
}

#[test]
fn what_was_checkpointed_is_there_after_a_close() {
    let (_root, directory) = directory();
    fill(&directory);
    let stores = open_on_disk(&directory, &builders(&["stock"])).unwrap();
    assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(1)));
    assert_eq!(contents(&stores.key_value("stock").unwrap()), [(text("apples"), 3)]);
    assert!(stores.engine_sizes().unwrap().sst_bytes > 0);
}

/// Quantities on hand, none of which is negative.
struct OnHand;

impl Serde<i64> for OnHand {
    fn encode(&self, quantity: &i64, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        i64::serde().encode(quantity, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<i64, SerdeError> {
        i64::serde().decode(bytes)
    }

    fn never_begins_with_ff(&self) -> bool {
        true
    }
}

#[test]
fn rows_of_yesterdays_type_are_read_and_written_anew_by_todays() {
    let (_root, directory) = directory();
    fill(&directory);
    let open = || {
        let generations = Upcasters::oldest(Arc::new(OnHand))
            .then(String::serde(), |quantity| format!("{quantity} on hand"))
            .numbered();
        let today = KeyValueStoreBuilder::new("stock", String::serde(), generations);
        let stores = open_on_disk(&directory, &[Arc::new(today)]).unwrap();
        let stock: KeyValueStore<String, String> = stores.key_value("stock").unwrap();
        (stores, stock)
    };
    let value =
        |stock: &KeyValueStore<String, String>, sku| stock.get(&text(sku)).unwrap().map(|row| row.value);
    let (mut stores, stock) = open();
    assert_eq!(value(&stock, "apples"), Some(text("3 on hand")));
    stock.put(&text("pears"), Some(ValueAndTimestamp::new(text("plenty"), at(20)))).unwrap();
    stores.prepare_commit().unwrap();
    let mut logged = Vec::new();
    let drained: Result<(), StoreError> = stores.drain_changelog(|entry| {
        logged.push(entry.value.map(<[u8]>::to_vec));
        Ok(())
    });
    drained.unwrap();
    assert_eq!(logged, [Some(b"\xff\x02plenty".to_vec())]);
    stores.commit(Arc::new(Position::new())).unwrap();
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(2).into())]).unwrap();
    stores.close().unwrap();
    let (_stores, stock) = open();
    assert_eq!(value(&stock, "apples"), Some(text("3 on hand")), "what nobody has changed is as it was");
    assert_eq!(value(&stock, "pears"), Some(text("plenty")));
}

#[test]
fn a_directory_is_used_by_one_task_at_a_time() {
    let (_root, directory) = directory();
    let stores = open_on_disk(&directory, &builders(&["stock"])).unwrap();
    let error = open_on_disk(&directory, &builders(&["stock"])).err().unwrap();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(stores);
    open_on_disk(&directory, &builders(&["stock"])).unwrap();
}

#[test]
fn a_new_store_is_welcome_and_starts_from_nothing() {
    let (_root, directory) = directory();
    fill(&directory);
    let stores = open_on_disk(&directory, &builders(&["orders", "stock"])).unwrap();
    let index = |name| stores.index_of(name).unwrap();
    assert_eq!(stores.stored_offset(index("orders")), None);
    assert_eq!(stores.stored_offset(index("stock")), Some(Offset::new(1)));
    assert_eq!(contents(&stores.key_value("stock").unwrap()), [(text("apples"), 3)]);
    assert_eq!(contents(&stores.key_value("orders").unwrap()), []);
}

#[test]
fn a_store_that_the_topology_lost_is_an_error_that_touches_nothing() {
    let (_root, directory) = directory();
    fill(&directory);
    let error = open_on_disk(&directory, &builders(&["inventory"])).err().unwrap();
    let StoreError::IncompatibleTopology { task: TASK, path, unknown } = &error else { panic!("{error:?}") };
    assert_eq!(*path, directory.of(TASK).join("rocksdb"));
    assert_eq!(*unknown, ["stock"]);
    assert!(error.to_string().contains("run the application's reset"), "{error}");
    open_on_disk(&directory, &builders(&["stock"])).unwrap();
}

#[test]
fn a_store_that_moved_to_memory_leaves_nothing_on_disk() {
    let (_root, directory) = directory();
    let orders = builders(&["orders"]).remove(0);
    let with_stock = |stock: KeyValueStoreBuilder<String, i64>| -> [Arc<dyn StoreBuilder>; 2] {
        [Arc::clone(&orders), Arc::new(stock)]
    };
    let stock = StoreIndex::new(1);
    let mut stores = open_on_disk(&directory, &with_stock(stock_builder())).unwrap();
    add(&stores.key_value("stock").unwrap(), "apples", 3, 10);
    commit(&mut stores);
    stores.checkpoint(&[(stock.into(), Offset::new(1).into())]).unwrap();
    stores.close().unwrap();

    for builder in [stock_builder().in_memory(), stock_builder()] {
        let stores = open_on_disk(&directory, &with_stock(builder)).unwrap();
        assert_eq!(stores.stored_offset(stock), None);
        assert_eq!(contents(&stores.key_value("stock").unwrap()), []);
        stores.close().unwrap();
    }
}

#[test]
fn stores_that_are_all_in_memory_need_no_database_but_hold_the_lock() {
    let (_root, directory) = directory();
    let mut stores = open_on_disk(&directory, &[Arc::new(stock_builder().in_memory())]).unwrap();
    add(&stores.key_value("stock").unwrap(), "apples", 3, 10);
    commit(&mut stores);
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(1).into())]).unwrap();
    assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(1)));
    assert!(!directory.of(TASK).join("rocksdb").exists());
    assert!(matches!(directory.lock_task(TASK), Err(StoreError::Locked { .. })));
}

#[test]
fn a_directory_of_another_application_is_refused() {
    let (root, directory) = directory();
    fill(&directory);
    fs::rename(directory.path(), root.path().join("warehouse")).unwrap();
    let moved = StateDirectory::new(root.path(), "warehouse").lock_task(TASK).unwrap();
    let (memory, options) = (StateMemory::new(1 << 20), TaskStoresOptions::default());
    let opened = TaskStores::open(TASK, "warehouse", Some(moved), memory, options, &builders(&["stock"]));
    let error = opened.err().unwrap();
    let StoreError::OtherApplication { found, expected, .. } = &error else { panic!("{error:?}") };
    assert_eq!(found, "task 0_3 of application `shop`");
    assert_eq!(expected, "task 0_3 of application `warehouse`");
}

#[test]
fn a_corrupt_database_is_named_with_the_remedy() {
    let (_root, directory) = directory();
    fill(&directory);
    let path = directory.of(TASK).join("rocksdb");
    fs::write(path.join("CURRENT"), "no manifest").unwrap();
    let error = open_on_disk(&directory, &builders(&["stock"])).err().unwrap();
    let StoreError::Corrupt { path: found, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*found, path);
    assert!(error.to_string().contains("Remove that directory: the stores are rebuilt"), "{error}");

    let locked = directory.lock_task(TASK).unwrap();
    locked.remove_stores().unwrap();
    drop(locked);
    let stores = open_on_disk(&directory, &builders(&["stock"])).unwrap();
    assert_eq!(stores.stored_offset(STOCK.index()), None);
}

#[test]
fn a_damaged_file_is_noticed() {
    let (_root, directory) = directory();
    fill(&directory);
    let path = directory.of(TASK).join("rocksdb");
    for file in fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "sst") {
            let mut bytes = fs::read(&file).unwrap();
            bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
            fs::write(&file, bytes).unwrap();
        }
    }
    let error = open_on_disk(&directory, &builders(&["stock"])).err().unwrap();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[test]
fn two_stores_of_one_name_are_refused() {
    let (memory, options) = (StateMemory::new(1 << 20), TaskStoresOptions::default());
    let opened = TaskStores::open(TASK, "shop", None, memory, options, &builders(&["stock", "stock"]));
    let error = opened.err().unwrap();
    assert_eq!(
        error.to_string(),
        "task 0_3 has two stores called `stock`; give each store a name of its own"
    );
}

#[test]
fn a_wiped_store_is_empty_on_disk_too_and_its_neighbour_is_untouched() {
    let (_root, directory) = directory();
    let mut stores = open_on_disk(&directory, &builders(&["stock", "orders"])).unwrap();
    let (stock, orders) = (StoreIndex::new(0), StoreIndex::new(1));
    for name in ["stock", "orders"] {
        for sku in ["", "apples", "\u{10ffff}"] {
            add(&stores.key_value(name).unwrap(), sku, 3, 10);
        }
    }
    commit(&mut stores);
    stores
        .checkpoint(&[(stock.into(), Offset::new(3).into()), (orders.into(), Offset::new(3).into())])
        .unwrap();
    stores.close().unwrap();
    let mut stores = open_dormant(&directory, &builders(&["stock", "orders"])).unwrap();
    stores.wipe(stock).unwrap();
    stores.close().unwrap();

    let stores = open_on_disk(&directory, &builders(&["stock", "orders"])).unwrap();
    assert_eq!(stores.stored_offset(stock), None);
    assert_eq!(contents(&stores.key_value("stock").unwrap()), []);
    assert_eq!(stores.stored_offset(orders), Some(Offset::new(3)));
    assert_eq!(contents(&stores.key_value("orders").unwrap()).len(), 3);
}

#[test]
fn the_rows_of_another_changelog_are_removed() {
    let (_root, directory) = directory();
    let (former, present) = (TopicId::from_bytes([1; 16]), TopicId::from_bytes([2; 16]));
    let reopened = || open_dormant(&directory, &builders(&["stock"])).unwrap();
    let awake = |stores: DormantStores| {
        let stores = stores.wake(TaskStoresOptions::default());
        contents(&stores.key_value("stock").unwrap())
    };
    fill(&directory);
    let mut stores = reopened();
    assert!(stores.set_changelog(STOCK.index(), former).unwrap(), "nobody said whose rows they were");
    assert_eq!(stores.stored_offset(STOCK.index()), None);
    drop(stores);
    fill(&directory);

    let mut stores = reopened();
    assert!(!stores.set_changelog(STOCK.index(), former).unwrap(), "as it was");
    assert_eq!(awake(stores), [(text("apples"), 3)]);
    let mut stores = reopened();
    assert!(stores.set_changelog(STOCK.index(), present).unwrap());
    drop(stores);

    let mut stores = reopened();
    assert_eq!(stores.stored_offset(STOCK.index()), None);
    assert!(!stores.set_changelog(STOCK.index(), present).unwrap());
    assert_eq!(awake(stores), []);
}

#[test]
fn a_store_that_was_emptied_knows_its_changelog_still() {
    let (_root, directory) = directory();
    let (former, present) = (TopicId::from_bytes([1; 16]), TopicId::from_bytes([2; 16]));
    let reopened = || open_dormant(&directory, &builders(&["stock"])).unwrap();
    let mut stores = reopened();
    assert!(!stores.set_changelog(STOCK.index(), former).unwrap(), "there is nothing yet");
    stores.wipe(STOCK.index()).unwrap();
    let row = RestoreRow { key: b"apples", value: Some(&[0; 8]), timestamp: at(1) };
    stores.restore(STOCK.index(), [row].into_iter(), Offset::new(1)).unwrap();
    stores.close().unwrap();

    let mut stores = reopened();
    assert!(!stores.set_changelog(STOCK.index(), former).unwrap(), "as it was");
    assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(1)));
    assert!(stores.set_changelog(STOCK.index(), present).unwrap(), "it has grown past what is stored");
    assert_eq!(stores.stored_offset(STOCK.index()), None);
}

/// What is found of the task if the process that has it open dies now.
fn after_a_crash(directory: &StateDirectory) -> (tempfile::TempDir, StateDirectory) {
    let (root, found) = self::directory();
    let (from, to) = (directory.of(TASK).join("rocksdb"), found.of(TASK).join("rocksdb"));
    fs::create_dir_all(&to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    (root, found)
}

#[test]
fn the_changelog_of_rows_is_known_after_a_crash_once_they_have_a_position() {
    let (_root, directory) = directory();
    let (former, present) = (TopicId::from_bytes([1; 16]), TopicId::from_bytes([2; 16]));
    let reopened = |directory: &StateDirectory| open_dormant(directory, &builders(&["stock"])).unwrap();
    let mut stores = reopened(&directory);
    assert!(!stores.set_changelog(STOCK.index(), former).unwrap(), "there is nothing yet");
    let (_found_root, found) = after_a_crash(&directory);
    let mut before_any_row = reopened(&found);
    assert_eq!(before_any_row.stored_offset(STOCK.index()), None);
    assert!(!before_any_row.set_changelog(STOCK.index(), present).unwrap(), "there is nothing to remove");

    let row = RestoreRow { key: b"apples", value: Some(&[0; 8]), timestamp: at(1) };
    stores.restore(STOCK.index(), [row].into_iter(), Offset::new(1)).unwrap();
    stores.flush(STOCK.index()).unwrap();
    let (_found_root, found) = after_a_crash(&directory);
    let mut with_a_row = reopened(&found);
    assert!(!with_a_row.set_changelog(STOCK.index(), former).unwrap(), "as it was");
    assert_eq!(with_a_row.stored_offset(STOCK.index()), Some(Offset::new(1)));
    assert!(with_a_row.set_changelog(STOCK.index(), present).unwrap(), "its rows are of another topic");

    let (_found_root, found) = after_a_crash(&found);
    let mut emptied = reopened(&found);
    assert_eq!(emptied.stored_offset(STOCK.index()), None);
    emptied.set_changelog(STOCK.index(), present).unwrap();
    let emptied = emptied.wake(TaskStoresOptions::default());
    assert_eq!(contents(&emptied.key_value("stock").unwrap()), []);
}

#[test]
fn what_was_removed_does_not_come_back_after_a_crash() {
    let (_root, directory) = directory();
    fill(&directory);
    let mut stores = open_dormant(&directory, &builders(&["stock"])).unwrap();
    stores.wipe(STOCK.index()).unwrap();
    let (_found_root, found) = after_a_crash(&directory);
    let stores = open_on_disk(&found, &builders(&["stock"])).unwrap();
    assert_eq!(stores.stored_offset(STOCK.index()), None);
    assert_eq!(contents(&stores.key_value("stock").unwrap()), []);
}

#[test]
fn a_database_that_has_lost_its_root_is_not_taken_for_none() {
    let (_root, directory) = directory();
    fill(&directory);
    let path = directory.of(TASK).join("rocksdb");
    fs::remove_file(path.join("CURRENT")).unwrap();
    let error = open_on_disk(&directory, &builders(&["stock"])).err().unwrap();
    assert!(matches!(&error, StoreError::Corrupt { path: found, .. } if *found == path), "{error:?}");
    assert!(error.to_string().contains("CURRENT is missing"), "{error}");

    // As after a crash while it was made: there are no rows yet.
    fs::remove_dir_all(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("MANIFEST-000001"), "the beginning").unwrap();
    let stores = open_on_disk(&directory, &builders(&["stock"])).unwrap();
    assert_eq!(stores.stored_offset(STOCK.index()), None);
}

#[test]
fn how_recent_rows_are_is_found_again_with_them() {
    let (_root, directory) = directory();
    let store = STOCK.index();
    let reopened = || open_dormant(&directory, &builders(&["stock"])).unwrap();
    fill(&directory);
    assert_eq!(reopened().as_of(store), None, "nobody said it");

    let hours = |hours: i64| at(1_000_000_000 + hours * 3_600_000);
    let mut stores = reopened();
    let row = RestoreRow { key: b"pears", value: Some(&[0; 8]), timestamp: at(1) };
    stores.set_as_of(store, hours(0));
    stores.restore(store, [row].into_iter(), Offset::new(2)).unwrap();
    stores.close().unwrap();
    let mut stores = reopened();
    assert_eq!((stores.stored_offset(store), stores.as_of(store)), (Some(Offset::new(2)), Some(hours(0))));
    stores.set_as_of(store, at(hours(1).as_millis() - 1));
    stores.close().unwrap();
    let mut stores = reopened();
    assert_eq!(stores.as_of(store), Some(hours(0)), "not worth a write");
    stores.set_as_of(store, hours(1));
    stores.close().unwrap();
    let stores = reopened();
    assert_eq!((stores.stored_offset(store), stores.as_of(store)), (Some(Offset::new(2)), Some(hours(1))));

    let mut stores = stores.wake(TaskStoresOptions::default());
    let position = LogPosition { next: Offset::new(3), as_of: Some(hours(9)) };
    stores.checkpoint(&[(store.into(), position)]).unwrap();
    stores.close().unwrap();
    let mut stores = reopened();
    assert_eq!((stores.stored_offset(store), stores.as_of(store)), (Some(position.next), position.as_of));
    stores.wipe(store).unwrap();
    assert_eq!(stores.as_of(store), None);
}

/// Between the two steps of moving a file, it has two names: one beside the database and one in it.
#[test]
fn a_file_that_a_crash_left_under_two_names_is_not_written_to() {
    let (_root, directory) = directory();
    let mut stores = open_on_disk(&directory, &builders(&["stock"])).unwrap();
    add(&stores.key_value("stock").unwrap(), "apples", 3, 10);
    commit(&mut stores);
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(1).into())]).unwrap();
    let files = fs::read_dir(directory.of(TASK).join("rocksdb")).unwrap();
    let tables =
        files.map(|file| file.unwrap().path()).filter(|path| path.extension() == Some("sst".as_ref()));
    let rows = tables.min().expect("the rows, and then the offset, became a file");
    let second_name = directory.of(TASK).join("ingest.sst");
    fs::hard_link(&rows, &second_name).unwrap();
    let before = fs::read(&rows).unwrap();

    add(&stores.key_value("stock").unwrap(), "pears", 1, 11);
    commit(&mut stores);
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(2).into())]).unwrap();
    assert_eq!(fs::read(&rows).unwrap(), before);
    assert!(!second_name.exists());
}

/// A checkpoint that has ended survives a crash, rows and offset.
#[test]
fn rows_and_offset_reach_the_disk_together() {
    const ROW_BYTES: usize = 64 << 10;
    let (_root, directory) = directory();
    let builder: Arc<dyn StoreBuilder> =
        Arc::new(KeyValueStoreBuilder::new("stock", i64::serde(), Vec::<u8>::serde()));
    let builders = [builder];
    let mut stores = open_on_disk(&directory, &builders).unwrap();
    let stock = stores.key_value::<i64, Vec<u8>>("stock").unwrap();
    let mut next = 0;
    while next < 200 || stores.engine_sizes().unwrap().sst_bytes < 8 << 20 {
        assert!(
            next < 2_000,
            "RocksDB did not write its memory to disk after {next} rows of {ROW_BYTES} bytes"
        );
        stock.put(&next, Some(ValueAndTimestamp::new(vec![7; ROW_BYTES], at(next)))).unwrap();
        stores.prepare_commit().unwrap();
        stores.drain_changelog(|_| Ok::<_, StoreError>(())).unwrap();
        stores.commit(Arc::new(Position::new())).unwrap();
        next += 1;
        stores.checkpoint(&[(STOCK.index().into(), Offset::new(next).into())]).unwrap();
    }

    let after_crash = tempfile::tempdir().unwrap();
    model::copy_directory(directory.path(), &after_crash.path().join("shop"));
    let stores = open_on_disk(&StateDirectory::new(after_crash.path(), "shop"), &builders).unwrap();
    let stored = stores.stored_offset(STOCK.index()).expect("something reached the disk");
    let stock = stores.key_value::<i64, Vec<u8>>("stock").unwrap();
    let keys: Vec<i64> = stock.all().unwrap().map(|entry| entry.unwrap().0).collect();
    assert_eq!(keys, (0..stored.get()).collect::<Vec<_>>());
}

#[test]
fn global_tables_find_the_offset_of_each_partition_of_their_topic_again() {
    let (_root, directory) = directory();
    let stock = STOCK.index();
    let open = || {
        let locked = directory.lock_global().unwrap();
        let builder = stock_builder().with_logging(false);
        let memory = StateMemory::new(16 << 20);
        DormantStores::open(TASK, "shop", Some(locked), memory, &[Arc::new(builder)]).unwrap()
    };
    let source = |partition| LogPartition::Source(stock, PartitionId::new(partition));
    let offsets = |stores: &DormantStores| {
        let of = |partition| stores.source_position(stock, PartitionId::new(partition)).unwrap();
        [0, 1, 2].map(|partition| of(partition).map(|position| position.next))
    };
    let stores = open();
    assert_eq!(offsets(&stores), [None; 3]);
    let mut stores = stores.wake(TaskStoresOptions::default());
    add(&stores.key_value("stock").unwrap(), "apples", 3, 10);
    assert_eq!(commit(&mut stores), [], "it is not logged");
    stores.checkpoint(&[(source(0), Offset::new(7).into()), (source(2), Offset::new(9).into())]).unwrap();
    stores.close().unwrap();

    let mut stores = open();
    assert_eq!(offsets(&stores), [Some(Offset::new(7)), None, Some(Offset::new(9))]);
    assert_eq!(stores.stored_offset(stock), None, "it has no changelog");
    let [first, made_anew] = [[1; 16], [2; 16]].map(TopicId::from_bytes);
    assert!(stores.set_changelog(stock, first).unwrap(), "nobody said of which topic its rows are");
    assert!(stores.set_changelog(stock, made_anew).unwrap(), "its rows are of another topic");
    assert_eq!(offsets(&stores), [None; 3]);
    let stores = stores.wake(TaskStoresOptions::default());
    assert_eq!(contents(&stores.key_value("stock").unwrap()), []);
    stores.close().unwrap();

    let as_a_task = open_dormant(&directory, &builders(&["stock"])).unwrap();
    assert_eq!(as_a_task.source_position(stock, PartitionId::new(0)).unwrap(), None);
    drop(as_a_task);
    let moved = directory.of(TASK);
    fs::remove_dir_all(&moved).unwrap();
    fs::rename(directory.of(StateOwner::Global(0)), moved).unwrap();
    let error = open_on_disk(&directory, &builders(&["stock"])).err().unwrap().to_string();
    assert!(error.contains("belongs to task global of application `shop`"), "{error}");
}
