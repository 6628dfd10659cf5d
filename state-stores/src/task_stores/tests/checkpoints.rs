//! Checkpoints behind the task: what readers see meanwhile, what a crash or a failure leaves, and who holds the directory.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::model::copy_directory;
use super::*;
use crate::checkpoint::CheckpointStep;
use crate::key_range::{Direction, KeyRange};

/// A background thread that can be made to wait, so that a test knows how far it is.
pub(super) struct HeldBackground {
    // Declared, and so dropped, before the thread, which ends when it has done what it was given.
    held: Option<Sender<()>>,
    pub(super) thread: Arc<BackgroundThread>,
}

impl HeldBackground {
    pub(super) fn start() -> Self {
        let thread = BackgroundThread::start("held", || Duration::ZERO).unwrap();
        Self { held: None, thread }
    }

    /// Nothing that it is given from now on is begun.
    pub(super) fn hold(&mut self) {
        let (release, is_released) = channel::<()>();
        self.thread.run(move || assert!(is_released.recv().is_err(), "released by dropping the sender"));
        self.held = Some(release);
    }

    /// Lets it do everything it was given, and waits until it has.
    pub(super) fn release(&mut self) {
        self.held = None;
        let (done, is_done) = channel();
        self.thread.run(move || done.send(()).unwrap());
        is_done.recv().unwrap();
    }
}

fn open_behind(directory: &StateDirectory, background: &HeldBackground) -> (TaskStores, Stock) {
    let locked = directory.lock_task(TASK).unwrap();
    let options = TaskStoresOptions {
        background: Some(Arc::clone(&background.thread)),
        ..TaskStoresOptions::default()
    };
    let memory = StateMemory::new(16 << 20);
    let stores =
        TaskStores::open(TASK, "shop", Some(locked), memory, options, &[Arc::new(stock_builder())]).unwrap();
    let stock = stores.key_value("stock").unwrap();
    (stores, stock)
}

fn begin_checkpoint(stores: &mut TaskStores, next: i64) {
    stores.begin_checkpoint(&[(STOCK.index().into(), Offset::new(next).into())]).unwrap();
}

#[test]
fn the_task_goes_on_while_a_checkpoint_is_written() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let mut background = HeldBackground::start();
    let (mut stores, stock) = open_behind(&directory, &background);
    let reader = stores.reader("stock").unwrap();
    let seen = || -> Vec<_> {
        let rows = reader.scan(KeyRange::all(), Direction::Forward).unwrap();
        rows.map(|row| String::from_utf8(row.unwrap().0).unwrap()).collect()
    };
    add(&stock, "apples", 3, 10);
    add(&stock, "pears", 3, 10);
    commit(&mut stores);
    background.hold();
    begin_checkpoint(&mut stores, 2);
    assert!(stores.checkpoint_stats().is_in_flight);
    assert_eq!(stores.uncheckpointed_bytes(), 0, "it waits for no further checkpoint");

    add(&stock, "apples", -3, 11);
    add(&stock, "plums", 1, 11);
    commit(&mut stores);
    assert_eq!(seen(), ["pears", "plums"], "newer commits hide what is being written");
    assert_eq!(reader.get(b"apples").unwrap(), None);
    assert_eq!(reader.get(b"pears").unwrap(), Some((at(10), 3_i64.to_be_bytes().to_vec())));

    background.release();
    assert_eq!(seen(), ["pears", "plums"]);
    assert_eq!(stores.stored_offset(STOCK.index()), None, "nobody looked yet");
    stores.poll_checkpoint().unwrap();
    assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(2)));
    let stats = stores.checkpoint_stats();
    assert_eq!((stats.written, stats.is_in_flight), (1, false));
    assert_eq!(stores.stats()[0].overlay_entries, 2, "apples and plums");
}

#[test]
fn a_close_waits_for_the_checkpoint_that_is_being_written() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let background = HeldBackground::start();
    let (mut stores, stock) = open_behind(&directory, &background);
    add(&stock, "apples", 3, 10);
    commit(&mut stores);
    begin_checkpoint(&mut stores, 1);
    stores.close().unwrap();
    let (stores, stock) = open_behind(&directory, &background);
    assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(1)));
    assert_eq!(contents(&stock), [(text("apples"), 3)]);
}

#[test]
fn a_dropped_task_keeps_its_directory_until_its_checkpoint_is_written() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let mut background = HeldBackground::start();
    let (mut stores, stock) = open_behind(&directory, &background);
    add(&stock, "apples", 3, 10);
    commit(&mut stores);
    background.hold();
    begin_checkpoint(&mut stores, 1);
    drop(stores);
    assert!(matches!(directory.lock_task(TASK), Err(StoreError::Locked { .. })));
    background.release();
    let (stores, stock) = open_behind(&directory, &background);
    assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(1)));
    assert_eq!(contents(&stock), [(text("apples"), 3)]);
}

/// What a crash leaves when the rows are on the disk and their offset is not (ADR 0008).
#[test]
fn rows_beyond_their_offset_are_those_of_the_changelog_and_a_restore_ends_at_them() {
    let root = tempfile::tempdir().unwrap();
    let after_crash = tempfile::tempdir().unwrap();
    let (from, to) = (root.path().to_owned(), after_crash.path().to_owned());
    let crashes_next = Arc::new(AtomicBool::new(false));
    let is_due = Arc::clone(&crashes_next);
    let on_checkpoint = CheckpointListener::new(move |step| {
        if step == CheckpointStep::RowsWritten && is_due.swap(false, Ordering::Relaxed) {
            copy_directory(&from, &to);
        }
    });
    let open = |root: &Path, on_checkpoint| {
        let locked = StateDirectory::new(root, "shop").lock_task(TASK).unwrap();
        let options = TaskStoresOptions { on_checkpoint, ..TaskStoresOptions::default() };
        let builder: Arc<dyn StoreBuilder> = Arc::new(stock_builder());
        TaskStores::open(TASK, "shop", Some(locked), StateMemory::new(16 << 20), options, &[builder]).unwrap()
    };
    let mut stores = open(root.path(), on_checkpoint);
    let stock: Stock = stores.key_value("stock").unwrap();
    add(&stock, "apples", 3, 10);
    commit(&mut stores);
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(1).into())]).unwrap();
    add(&stock, "apples", -3, 11);
    add(&stock, "pears", 2, 11);
    commit(&mut stores);
    crashes_next.store(true, Ordering::Relaxed);
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(3).into())]).unwrap();
    assert!(!crashes_next.load(Ordering::Relaxed), "the directory was copied");

    let stores = open(after_crash.path(), CheckpointListener::default());
    let stock: Stock = stores.key_value("stock").unwrap();
    assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(1)), "of the checkpoint before");
    assert_eq!(contents(&stock), [(text("pears"), 2)], "of the one that was being written");
    stores.close().unwrap();
    let crashed = StateDirectory::new(after_crash.path(), "shop");
    let mut stores = open_dormant(&crashed, &[Arc::new(stock_builder())]).unwrap();
    let tail = [("apples", None), ("pears", Some(2_i64.to_be_bytes()))];
    let tail = tail.iter().map(|(sku, value)| RestoreRow {
        key: sku.as_bytes(),
        value: value.as_ref().map(|value| value.as_slice()),
        timestamp: at(11),
    });
    stores.restore(STOCK.index(), tail, Offset::new(3)).unwrap();
    stores.flush(STOCK.index()).unwrap();
    let stores = stores.wake(TaskStoresOptions::default());
    assert_eq!(contents(&stores.key_value("stock").unwrap()), [(text("pears"), 2)]);
    assert_eq!(stores.stored_offset(STOCK.index()), Some(Offset::new(3)));
}

#[test]
fn a_checkpoint_that_cannot_be_written_says_where_and_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let mut background = HeldBackground::start();
    let (mut stores, stock) = open_behind(&directory, &background);
    let reader = stores.reader("stock").unwrap();
    add(&stock, "apples", 3, 10);
    commit(&mut stores);
    let waiting = stores.uncheckpointed_bytes();
    let database = directory.of(TASK).join("rocksdb");
    fs::remove_dir_all(&database).unwrap();
    begin_checkpoint(&mut stores, 1);
    background.release();
    let error = stores.poll_checkpoint().unwrap_err();
    let StoreError::Engine { path, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*path, database);

    assert_eq!(stores.stored_offset(STOCK.index()), None);
    assert_eq!(stores.checkpoint_stats(), CheckpointStats::default());
    assert_eq!(stores.uncheckpointed_bytes(), waiting, "the rows wait for the next one");
    assert_eq!(reader.get(b"apples").unwrap(), Some((at(10), 3_i64.to_be_bytes().to_vec())));
}

#[test]
fn a_panic_in_the_background_is_an_error_of_the_task() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let background = HeldBackground::start();
    let (mut stores, stock) = open_behind(&directory, &background);
    background.thread.run(|| panic!("the disk is on fire"));
    add(&stock, "apples", 3, 10);
    commit(&mut stores);
    begin_checkpoint(&mut stores, 1);
    let error = stores.await_checkpoint().unwrap_err();
    assert!(matches!(error, StoreError::BackgroundThreadEnded { task: TASK }), "{error}");
    assert_eq!(contents(&stock), [(text("apples"), 3)]);
}
