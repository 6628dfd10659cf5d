//! Copies of all kinds of stores that become active while the newest of their rows are not on the disk.

use std::time::Duration;

use super::*;
use crate::key_range::Direction;
use crate::store::{SessionStoreBuilder, WindowStoreBuilder};
use crate::window::Window;

type Windows = WindowStore<String, i64>;

/// The changelogs of a task's stores: keys, values and times of their records.
type Changelogs = Vec<Vec<(Vec<u8>, Option<Vec<u8>>, Timestamp)>>;

const RETENTION: Duration = Duration::from_millis(100);

fn windows_builder() -> WindowStoreBuilder<String, i64> {
    WindowStoreBuilder::new("windows", RETENTION, Duration::from_millis(1), String::serde(), i64::serde())
}

/// One store of each kind.
fn builders() -> [Arc<dyn StoreBuilder>; 3] {
    let sessions = SessionStoreBuilder::new("sessions", RETENTION, String::serde(), i64::serde());
    [
        Arc::new(stock_builder()),
        Arc::new(windows_builder().found_by_time()),
        Arc::new(sessions.found_by_time()),
    ]
}

fn open_active(builders: &[Arc<dyn StoreBuilder>]) -> TaskStores {
    // The changelog has the mark of the commit it belongs to.
    let options = TaskStoresOptions { atomic_commits: true, ..TaskStoresOptions::default() };
    TaskStores::open(TASK, "shop", None, StateMemory::new(16 << 20), options, builders).unwrap()
}

/// Commits, and appends what is logged to the changelogs.
fn log(stores: &mut TaskStores, changelogs: &mut Changelogs) {
    stores.prepare_commit().unwrap();
    let sent = stores.drain_changelog(|entry| {
        let record = (entry.key.to_vec(), entry.value.map(<[u8]>::to_vec), entry.timestamp);
        changelogs[entry.store.get()].push(record);
        Ok::<_, StoreError>(())
    });
    sent.unwrap();
    stores.commit(Arc::new(Position::new())).unwrap();
}

/// Restores what a copy does not have yet, as far as it is done before it wakes: into memory.
fn follow(copy: &mut DormantStores, changelogs: &Changelogs) {
    for (place, changelog) in changelogs.iter().enumerate() {
        let (store, next) = (StoreIndex::new(place), Offset::new(changelog.len() as i64));
        let first = copy.restored_to(store).map_or(0, |next| next.get() as usize);
        let rows = changelog[first..].iter().map(|(key, value, timestamp)| RestoreRow {
            key,
            value: value.as_deref(),
            timestamp: *timestamp,
        });
        copy.restore(store, rows, next).unwrap();
        copy.make_ready(store).unwrap();
        assert_ne!(copy.stored_offset(store), Some(next), "it is handed over in memory");
    }
}

/// A copy that has followed the changelogs to their end. On the disk it has what `flushed` has of them, if anything.
fn copy_of(
    directory: &StateDirectory,
    builders: &[Arc<dyn StoreBuilder>],
    flushed: Option<&Changelogs>,
    changelogs: &Changelogs,
) -> DormantStores {
    let mut copy = open_dormant(directory, builders).unwrap();
    if let Some(flushed) = flushed {
        follow(&mut copy, flushed);
        (0..flushed.len()).for_each(|place| copy.flush(StoreIndex::new(place)).unwrap());
    }
    follow(&mut copy, changelogs);
    copy
}

fn put(stores: &TaskStores, sku: &str, time: i64, row: Option<ValueAndTimestamp<i64>>) {
    let session = Window::new(at(time - 1), at(time));
    stores.key_value("stock").unwrap().put(&text(sku), row).unwrap();
    stores.window("windows").unwrap().put(&text(sku), at(time), row).unwrap();
    stores.session("sessions").unwrap().put(&text(sku), session, row).unwrap();
}

fn set_emitted_to(stores: &TaskStores, time: i64) {
    stores.window::<String, i64>("windows").unwrap().set_emitted_to(at(time));
    stores.session::<String, i64>("sessions").unwrap().set_emitted_to(at(time));
}

/// Pears were deleted, plums and apples are left, and windows were emitted up to 12.
fn check_plums_and_apples(stores: &TaskStores) {
    assert_eq!(contents(&stores.key_value("stock").unwrap()), [(text("apples"), 2), (text("plums"), 3)]);
    let windows: Windows = stores.window("windows").unwrap();
    let sessions: SessionStore<String, i64> = stores.session("sessions").unwrap();

    let found = |sku: &str, time| windows.fetch(&text(sku), at(time)).unwrap().map(|row| row.value);
    assert_eq!((found("pears", 5), found("apples", 20), found("plums", 12)), (None, Some(2), Some(3)));
    let found = |sku: &str| sessions.fetch(&text(sku), Direction::Forward).unwrap();
    assert!(found("pears").is_empty());
    assert_eq!(found("plums"), [(Window::new(at(11), at(12)), row(3, 12).unwrap())]);

    let skus = |rows: &mut dyn Iterator<Item = crate::store::WindowedEntry<String, i64>>| -> Vec<String> {
        rows.map(|entry| entry.unwrap().0.key).collect()
    };
    for all in [skus(&mut windows.all().unwrap()), skus(&mut sessions.all().unwrap())] {
        assert_eq!(all, ["apples", "plums"]);
    }
    let by_time = (windows.by_time(at(0), at(50)).unwrap(), sessions.by_time(at(0), at(50)).unwrap());
    let (mut by_start, mut by_end) = by_time;
    assert_eq!(
        (skus(&mut by_start), skus(&mut by_end)),
        (vec![text("plums"), text("apples")], vec![text("plums"), text("apples")])
    );
    assert_eq!(windows.emitted_to().unwrap(), Some(at(12)));
    assert_eq!(sessions.emitted_to().unwrap(), Some(at(12)));
}

#[test]
fn a_copy_of_all_kinds_of_stores_wakes_with_rows_and_marks_that_are_not_on_the_disk() {
    let mut active = open_active(&builders());
    let mut changelogs: Changelogs = vec![Vec::new(); 3];
    put(&active, "pears", 5, row(1, 5));
    put(&active, "apples", 20, row(2, 20));
    set_emitted_to(&active, 7);
    log(&mut active, &mut changelogs);
    let early = changelogs.clone();
    put(&active, "pears", 5, None);
    put(&active, "plums", 12, row(3, 12));
    set_emitted_to(&active, 12);
    log(&mut active, &mut changelogs);

    for flushed in [None, Some(&early)] {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::new(root.path(), "shop");
        let copy = copy_of(&directory, &builders(), flushed, &changelogs);
        let mut stores = copy.wake(TaskStoresOptions::default());
        check_plums_and_apples(&stores);
        assert!(!stores.has_uncommitted());

        let end = |place: usize| Offset::new(changelogs[place].len() as i64).into();
        let offsets: Vec<_> = (0..3).map(|place| (StoreIndex::new(place).into(), end(place))).collect();
        stores.checkpoint(&offsets).unwrap();
        check_plums_and_apples(&stores);
        stores.close().unwrap();
        check_plums_and_apples(&open_on_disk(&directory, &builders()).unwrap());
    }
}

#[test]
fn what_a_copy_that_wakes_in_memory_emitted_already_goes_with_the_retention_and_the_rest_stays() {
    let mut active = open_active(&builders());
    let mut changelogs: Changelogs = vec![Vec::new(); 3];
    put(&active, "pears", 5, row(1, 5));
    put(&active, "apples", 20, row(2, 20));
    set_emitted_to(&active, 12);
    log(&mut active, &mut changelogs);

    let mut copy = DormantStores::open(TASK, "shop", None, StateMemory::new(16 << 20), &builders()).unwrap();
    follow(&mut copy, &changelogs);
    let mut stores = copy.wake(TaskStoresOptions::default());
    put(&stores, "plums", 1_000, row(3, 1_000));
    log(&mut stores, &mut changelogs);
    for (name, builder) in ["windows", "sessions"].into_iter().zip(&builders()[1..]) {
        let layout = builder.timed().unwrap();
        let rows = stores.reader(name).unwrap().scan(layout.all_rows(), Direction::Forward).unwrap();
        let skus: Vec<_> = rows.map(|row| layout.split_row(&row.unwrap().0).unwrap().0.to_vec()).collect();
        assert_eq!(skus, [b"apples".to_vec(), b"plums".to_vec()], "of {name}");
    }
}

#[test]
fn numbers_of_duplicates_go_on_after_rows_that_a_copy_has_not_flushed() {
    let builders: [Arc<dyn StoreBuilder>; 1] = [Arc::new(windows_builder().retaining_duplicates())];
    let mut active = open_active(&builders);
    let mut changelogs: Changelogs = vec![Vec::new()];
    let sku = text("sku");
    let put = |stores: &TaskStores, value| {
        stores.window("windows").unwrap().put(&sku, at(5), row(value, 5)).unwrap();
    };
    put(&active, 1);
    log(&mut active, &mut changelogs);
    let early = changelogs.clone();
    [2, 3].into_iter().for_each(|value| put(&active, value));
    log(&mut active, &mut changelogs);

    for flushed in [None, Some(&early)] {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::new(root.path(), "shop");
        let copy = copy_of(&directory, &builders, flushed, &changelogs);
        let stores = copy.wake(TaskStoresOptions::default());
        put(&stores, 4);
        let windows: Windows = stores.window("windows").unwrap();
        let rows = windows.fetch_range(&sku, at(5)..=at(5), Direction::Forward).unwrap();
        let values: Vec<_> = rows.into_iter().map(|(_, row)| row.value).collect();
        assert_eq!(values, [1, 2, 3, 4], "the last one replaced none");
    }
}

#[test]
fn a_copy_wakes_with_the_history_and_the_time_that_are_not_on_the_disk() {
    let carts = KeyValueStoreBuilder::new("carts", String::serde(), i64::serde()).with_ttl(RETENTION);
    let builders: [Arc<dyn StoreBuilder>; 2] =
        [Arc::new(stock_builder().versioned(RETENTION)), Arc::new(carts)];
    let put = |stores: &TaskStores, sku: &str, value, time| {
        stores.versioned("stock").unwrap().put(&text(sku), Some(value), at(time)).unwrap();
        stores.key_value("carts").unwrap().put(&text(sku), row(value, time)).unwrap();
    };
    let check = |stores: &TaskStores| {
        let stock = stores.versioned::<String, i64>("stock").unwrap();
        let as_of = |time| stock.get_as_of(&text("apples"), at(time)).unwrap().map(|found| found.value);
        assert_eq!([12, 13, 20].map(as_of), [None, Some(2), Some(3)], "what was before 13 is forgotten");
        let carts = stores.key_value("carts").unwrap();
        assert_eq!(contents(&carts), [(text("pears"), 9)], "the apples of 12 have expired");
    };
    let mut active = open_active(&builders);
    let mut changelogs: Changelogs = vec![Vec::new(); 2];
    put(&active, "apples", 1, 5);
    put(&active, "apples", 3, 20);
    log(&mut active, &mut changelogs);
    let early = changelogs.clone();
    put(&active, "apples", 2, 12);
    put(&active, "pears", 9, 113);
    log(&mut active, &mut changelogs);
    check(&active);

    for flushed in [None, Some(&early)] {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::new(root.path(), "shop");
        let mut stores =
            copy_of(&directory, &builders, flushed, &changelogs).wake(TaskStoresOptions::default());
        check(&stores);
        let end = |place: usize| Offset::new(changelogs[place].len() as i64).into();
        let offsets: Vec<_> = (0..2).map(|place| (StoreIndex::new(place).into(), end(place))).collect();
        stores.checkpoint(&offsets).unwrap();
        stores.close().unwrap();
        check(&open_on_disk(&directory, &builders).unwrap());
    }
}
