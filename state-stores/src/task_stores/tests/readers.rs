//! What other threads see: committed rows, whole commits, and a clear word when the task is gone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::key_range::{Direction, KeyRange};
use crate::reader::StoreScan;
use crate::types::PartitionId;

#[test]
fn readers_see_committed_rows_and_their_position() {
    let (mut stores, stock) = open_in_memory(stock_builder(), false);
    let reader = stores.reader("stock").unwrap();
    add(&stock, "apples", 3, 10);
    assert_eq!(reader.get(b"apples").unwrap(), None);
    assert!(reader.position().is_empty());

    stores.prepare_commit().unwrap();
    drained(&mut stores);
    let mut position = Position::new();
    position.set("stock-movements", PartitionId::new(3), Offset::new(1));
    stores.commit(Arc::new(position.clone())).unwrap();
    let apples = Some((at(10), 3_i64.to_be_bytes().to_vec()));
    assert_eq!(reader.get(b"apples").unwrap(), apples);
    assert_eq!(*reader.position(), position);

    stores.checkpoint(&[(STOCK.index().into(), Offset::new(1).into())]).unwrap();
    assert_eq!(reader.get(b"apples").unwrap(), apples);
    assert_eq!(*reader.position(), position);
    assert_eq!(reader.approximate_num_entries().unwrap(), 1);
}

#[test]
fn a_scan_stays_as_it_began() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let mut stores = open_on_disk(&directory, &[Arc::new(stock_builder())]).unwrap();
    let stock: Stock = stores.key_value("stock").unwrap();
    let reader = stores.reader("stock").unwrap();
    for sku in ["apples", "pears", "plums"] {
        add(&stock, sku, 3, 10);
    }
    commit(&mut stores);
    stores.checkpoint(&[]).unwrap();
    add(&stock, "pears", -3, 11);
    commit(&mut stores);

    let skus = |scan: StoreScan| -> Vec<String> {
        scan.map(|row| String::from_utf8(row.unwrap().0).unwrap()).collect()
    };
    let scan = reader.scan(KeyRange::all(), Direction::Forward).unwrap();
    let reversed = reader.scan(KeyRange::prefix(b"p"), Direction::Reverse).unwrap();
    let own = stock.all().unwrap();
    add(&stock, "apples", -3, 12);
    add(&stock, "cherries", 3, 12);
    commit(&mut stores);
    stores.checkpoint(&[]).unwrap();
    assert_eq!(skus(scan), ["apples", "plums"]);
    assert_eq!(skus(reversed), ["plums"]);
    assert_eq!(own.map(|entry| entry.unwrap().0).collect::<Vec<_>>(), ["apples", "plums"]);
    assert_eq!(skus(reader.scan(KeyRange::all(), Direction::Forward).unwrap()), ["cherries", "plums"]);
}

#[test]
fn readers_are_turned_away_once_the_task_is_closed() {
    let (stores, _stock) = open_in_memory(stock_builder(), false);
    let reader = stores.reader("stock").unwrap();
    stores.close().unwrap();
    let errors = [
        reader.get(b"apples").err().unwrap(),
        reader.scan(KeyRange::all(), Direction::Forward).err().unwrap(),
        reader.approximate_num_entries().err().unwrap(),
    ];
    for error in errors {
        assert!(matches!(error, StoreError::Closed { .. }), "{error}");
        assert!(error.to_string().contains("Ask again"), "{error}");
    }
}

#[test]
fn the_directory_stays_locked_while_a_scan_reads_it() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let mut stores = open_on_disk(&directory, &[Arc::new(stock_builder())]).unwrap();
    add(&stores.key_value("stock").unwrap(), "apples", 3, 10);
    commit(&mut stores);
    stores.checkpoint(&[]).unwrap();
    let reader = stores.reader("stock").unwrap();
    let mut scan = reader.scan(KeyRange::all(), Direction::Forward).unwrap();
    stores.close().unwrap();
    assert!(matches!(directory.lock_task(TASK), Err(StoreError::Locked { .. })));
    assert_eq!(scan.next().unwrap().unwrap().0, b"apples");
    drop(scan);
    directory.lock_task(TASK).unwrap();
}

/// Stock moves between shelves, so that the total stays the same in every commit: a reader that saw half a commit, or a
/// row on its way from the overlay into the engine twice or not at all, would see another total.
#[test]
fn a_scan_never_sees_half_a_commit() {
    const SHELVES: i64 = 50;
    const PER_SHELF: i64 = 1_000;
    const COMMITS: i64 = 600;
    const SCANS: u64 = 20;
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let background = BackgroundThread::start("checkpoints", || Duration::ZERO).unwrap();
    let options = TaskStoresOptions { background: Some(background), ..TaskStoresOptions::default() };
    let builder: Arc<dyn StoreBuilder> = Arc::new(stock_builder().with_logging(false));
    let (locked, memory) = (directory.lock_task(TASK).unwrap(), StateMemory::new(16 << 20));
    let mut stores = TaskStores::open(TASK, "shop", Some(locked), memory, options, &[builder]).unwrap();
    let stock: Stock = stores.key_value("stock").unwrap();
    let shelf = |number: i64| format!("shelf-{:02}", number.rem_euclid(SHELVES));
    for number in 0..SHELVES {
        add(&stock, &shelf(number), PER_SHELF, 0);
    }
    commit(&mut stores);

    let (reader, is_done, scans) =
        (stores.reader("stock").unwrap(), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let check = || {
            while !is_done.load(Ordering::Relaxed) {
                let rows = reader.scan(KeyRange::all(), Direction::Forward).unwrap();
                let on_hand = rows.map(|row| i64::from_be_bytes(row.unwrap().2.try_into().unwrap()));
                assert_eq!(on_hand.sum::<i64>(), SHELVES * PER_SHELF);
                assert!(reader.get(b"shelf-00").unwrap().is_some(), "a shelf is never gone");
                scans.fetch_add(1, Ordering::Relaxed);
            }
        };
        let checkers = [scope.spawn(check), scope.spawn(check)];
        // As many commits as it takes until enough was looked at, however the threads are scheduled.
        let mut rounds = 0..;
        while let Some(round) = rounds.next()
            && (round < COMMITS || scans.load(Ordering::Relaxed) < SCANS)
            && checkers.iter().any(|checker| !checker.is_finished())
        {
            for number in 0..5 {
                add(&stock, &shelf(round * 7 + number), -1, round);
                add(&stock, &shelf(round * 11 + number * 3), 1, round);
            }
            commit(&mut stores);
            stores.poll_checkpoint().unwrap();
            if !stores.checkpoint_stats().is_in_flight {
                stores.begin_checkpoint(&[]).unwrap();
            }
        }
        is_done.store(true, Ordering::Relaxed);
        for checker in checkers {
            checker.join().unwrap();
        }
    });
}

#[test]
fn readers_and_scans_can_go_to_other_threads() {
    fn is_shared<T: Send + Sync>() {}
    fn is_sent<T: Send>() {}
    is_shared::<StoreReader>();
    is_shared::<StateMemory>();
    is_sent::<StoreScan>();
}
