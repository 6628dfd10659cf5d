//! Tests of the stores of a task: the protocol of a commit, the errors of opening, and what readers see meanwhile.

mod checkpoints;
mod copies;
mod custom;
mod expiry;
mod model;
mod opening;
mod readers;
mod restoring;
mod steps;
mod timed;
mod timed_model;
mod versioned;

use super::*;
use crate::directory::{StateDirectory, StateOwner};
use crate::dormant::RestoreRow;
use crate::serde::{Encoded, HasSerde, Serde, SerdeError, Upcasters};
use crate::store::{Change, Emission, KeyValueStoreBuilder, ValueAndTimestamp};
use crate::types::{PartitionId, Timestamp, TopicId};

const TASK: TaskId = TaskId { subtopology: 0, partition: 3 };
const STOCK: StoreIndexOf = StoreIndexOf(0);

/// The only store of most tests.
struct StoreIndexOf(usize);

impl StoreIndexOf {
    fn index(&self) -> StoreIndex {
        StoreIndex::new(self.0)
    }
}

type Stock = KeyValueStore<String, i64>;

fn stock_builder() -> KeyValueStoreBuilder<String, i64> {
    KeyValueStoreBuilder::new("stock", String::serde(), i64::serde())
}

fn open_in_memory(builder: KeyValueStoreBuilder<String, i64>, undo: bool) -> (TaskStores, Stock) {
    let memory = StateMemory::new(16 << 20);
    let options = TaskStoresOptions { undo, ..TaskStoresOptions::default() };
    let stores = TaskStores::open(TASK, "shop", None, memory, options, &[Arc::new(builder)]).unwrap();
    let stock = stores.key_value("stock").unwrap();
    (stores, stock)
}

fn open_on_disk(
    directory: &StateDirectory,
    builders: &[Arc<dyn StoreBuilder>],
) -> Result<TaskStores, StoreError> {
    let locked = directory.lock_task(TASK)?;
    let memory = StateMemory::new(16 << 20);
    TaskStores::open(TASK, "shop", Some(locked), memory, TaskStoresOptions::default(), builders)
}

fn open_dormant(
    directory: &StateDirectory,
    builders: &[Arc<dyn StoreBuilder>],
) -> Result<DormantStores, StoreError> {
    DormantStores::open(TASK, "shop", Some(directory.lock_task(TASK)?), StateMemory::new(16 << 20), builders)
}

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millis(milliseconds)
}

fn row(value: i64, milliseconds: i64) -> Option<ValueAndTimestamp<i64>> {
    Some(ValueAndTimestamp::new(value, at(milliseconds)))
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn change(old: Option<i64>, new: Option<i64>) -> Change<i64> {
    Change { old, new }
}

/// Adds `quantity` as of `milliseconds`; the value is deleted when it reaches zero.
fn add(stock: &Stock, sku: &str, quantity: i64, milliseconds: i64) -> Option<(Change<i64>, Timestamp)> {
    let updated = stock.update(&text(sku), at(milliseconds), true, |on_hand| {
        let next = on_hand.map_or(0, |row| row.value) + quantity;
        Ok::<_, StoreError>(if next == 0 { None } else { row(next, milliseconds) })
    });
    updated.unwrap()
}

fn drained(stores: &mut TaskStores) -> Vec<(String, Option<i64>, i64)> {
    let mut entries = Vec::new();
    let sent: Result<(), StoreError> = stores.drain_changelog(|entry| {
        let value = entry.value.map(|value| i64::from_be_bytes(value.try_into().unwrap()));
        entries.push((String::from_utf8(entry.key.to_vec()).unwrap(), value, entry.timestamp.as_millis()));
        Ok(())
    });
    sent.unwrap();
    entries
}

/// Commits and returns what went to the changelog on the way.
fn commit(stores: &mut TaskStores) -> Vec<(String, Option<i64>, i64)> {
    stores.prepare_commit().unwrap();
    let entries = drained(stores);
    stores.commit(Arc::new(Position::new())).unwrap();
    entries
}

fn contents(stock: &Stock) -> Vec<(String, i64)> {
    stock.all().unwrap().map(|entry| entry.map(|(sku, row)| (sku, row.value)).unwrap()).collect()
}

#[test]
fn without_caching_each_update_is_logged_and_returned() {
    let (mut stores, stock) = open_in_memory(stock_builder().with_caching(false), false);
    assert_eq!(add(&stock, "apples", 3, 10), Some((change(None, Some(3)), at(10))));
    assert_eq!(add(&stock, "apples", -1, 11), Some((change(Some(3), Some(2)), at(11))));
    assert_eq!(add(&stock, "apples", -2, 12), Some((change(Some(2), None), at(12))));
    let logged = [(text("apples"), Some(3), 10), (text("apples"), Some(2), 11), (text("apples"), None, 12)];
    assert_eq!(drained(&mut stores), logged);
    assert_eq!(commit(&mut stores), [], "a commit logs nothing again");
}

#[test]
fn with_caching_the_newest_change_per_key_is_logged_and_emitted_at_commit() {
    let (mut stores, stock) = open_in_memory(stock_builder(), false);
    add(&stock, "apples", 3, 10);
    commit(&mut stores);

    assert_eq!(add(&stock, "pears", 1, 20), None);
    assert_eq!(add(&stock, "apples", 1, 21), None);
    assert_eq!(add(&stock, "pears", 1, 22), None);
    assert_eq!(add(&stock, "plums", 1, 23), None);
    assert_eq!(add(&stock, "plums", -1, 24), None);
    assert_eq!(add(&stock, "apples", -4, 25), None);
    assert!(!stores.has_changelog());
    let emission = |sku: &str, change, timestamp| Emission { key: text(sku), change, timestamp };
    assert_eq!(
        stock.emissions().unwrap(),
        [emission("pears", change(None, Some(2)), at(22)), emission("apples", change(Some(3), None), at(25))],
        "in the order of their first change; plums came and went"
    );
    assert_eq!(commit(&mut stores), [(text("pears"), Some(2), 22), (text("apples"), None, 25)]);
    assert_eq!(stock.emissions().unwrap(), []);
    assert_eq!(commit(&mut stores), []);
}

#[test]
fn a_store_that_is_not_logged_has_no_changelog() {
    for is_cached in [false, true] {
        let builder = stock_builder().with_caching(is_cached).with_logging(false);
        let (mut stores, stock) = open_in_memory(builder, false);
        add(&stock, "apples", 3, 10);
        assert_eq!(commit(&mut stores), []);
        assert_eq!(contents(&stock), [(text("apples"), 3)]);
    }
}

#[test]
fn deleting_nothing_changes_nothing() {
    for is_cached in [false, true] {
        let (mut stores, stock) = open_in_memory(stock_builder().with_caching(is_cached), false);
        stock.put(&text("apples"), None).unwrap();
        let emitted = stock.update(&text("apples"), at(1), true, |_| Ok::<_, StoreError>(None)).unwrap();
        assert_eq!(emitted, (!is_cached).then(|| (change(None, None), at(1))));
        assert!(!stores.has_uncommitted());
        assert_eq!(stores.uncommitted_bytes(), 0);
        assert_eq!(commit(&mut stores), []);
    }
}

#[test]
fn what_is_deleted_twice_before_a_commit_is_deleted_as_of_the_second_time() {
    let (mut stores, stock) = open_in_memory(stock_builder(), false);
    add(&stock, "apples", 3, 10);
    commit(&mut stores);
    let delete = |time| stock.update(&text("apples"), at(time), true, |_| Ok::<_, StoreError>(None)).unwrap();
    for time in [11, 12] {
        assert_eq!(delete(time), None);
    }
    let deletion = Emission { key: text("apples"), change: change(Some(3), None), timestamp: at(12) };
    assert_eq!(stock.emissions().unwrap(), [deletion]);
    assert_eq!(commit(&mut stores), [(text("apples"), None, 12)]);
}

#[test]
fn a_put_tombstone_has_the_timestamp_of_what_it_deletes() {
    let (mut stores, stock) = open_in_memory(stock_builder().with_caching(false), false);
    stock.put(&text("apples"), row(3, 10)).unwrap();
    stock.put(&text("apples"), None).unwrap();
    assert_eq!(drained(&mut stores), [(text("apples"), Some(3), 10), (text("apples"), None, 10)]);
}

#[test]
fn what_a_put_replaces_is_not_looked_for() {
    let (mut stores, stock) = open_in_memory(stock_builder(), false);
    stock.put(&text("apples"), row(3, 10)).unwrap();
    let misses = |stores: &TaskStores| stores.stats().iter().map(|store| store.cache_misses).sum::<u64>();
    assert_eq!(misses(&stores), 0);
    assert_eq!(stock.emissions().unwrap().len(), 1, "it is for the emission, which tells of it");
    stores.rollback();
    assert_eq!(stock.get(&text("apples")).unwrap(), None);
    assert_eq!(misses(&stores), 1, "what was there is not known");
}

#[test]
fn old_values_are_filled_only_on_demand() {
    let (_stores, stock) = open_in_memory(stock_builder().with_caching(false), false);
    stock.put(&text("apples"), row(3, 10)).unwrap();
    let emitted = stock.update(&text("apples"), at(11), false, |_| Ok::<_, StoreError>(row(4, 11))).unwrap();
    assert_eq!(emitted, Some((change(None, Some(4)), at(11))));
}

#[test]
fn a_failed_update_restores_the_value_where_it_can_and_poisons_the_store_where_not() {
    let fail = |stock: &Stock| {
        stock.update(&text("apples"), at(9), true, |_| {
            Err(StoreError::Closed { store: "the failure of the test".into() })
        })
    };
    let (mut stores, stock) = open_in_memory(stock_builder(), false);
    fail(&stock).unwrap_err();
    assert!(!stores.has_uncommitted());
    add(&stock, "apples", 3, 10);
    commit(&mut stores);
    fail(&stock).unwrap_err();
    assert_eq!(contents(&stock), [(text("apples"), 3)], "the committed value is known");

    add(&stock, "apples", 1, 11);
    fail(&stock).unwrap_err();
    for error in [
        stock.get(&text("pears")).unwrap_err(),
        stock.put(&text("pears"), row(1, 1)).unwrap_err(),
        stock.all().err().unwrap(),
        stores.prepare_commit().unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Poisoned { .. }), "{error}");
    }
    stores.rollback();
    assert_eq!(contents(&stock), [(text("apples"), 3)]);

    let (_stores, stock) = open_in_memory(stock_builder(), true);
    add(&stock, "apples", 3, 10);
    fail(&stock).unwrap_err();
    assert_eq!(contents(&stock), [(text("apples"), 3)], "undo knows every value");
}

#[test]
fn a_panic_in_an_update_leaves_nothing_half_done_behind() {
    let (mut stores, stock) = open_in_memory(stock_builder(), false);
    add(&stock, "apples", 3, 10);
    commit(&mut stores);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        stock.update(&text("apples"), at(11), false, |_| -> Result<_, StoreError> { panic!("out of apples") })
    }));
    assert!(panicked.is_err());
    assert!(matches!(stock.get(&text("apples")), Err(StoreError::Poisoned { .. })));
    stores.rollback();
    assert_eq!(contents(&stock), [(text("apples"), 3)]);
}

#[test]
fn an_undone_record_leaves_no_trace() {
    for is_cached in [false, true] {
        let (mut stores, stock) = open_in_memory(stock_builder().with_caching(is_cached), true);
        add(&stock, "apples", 3, 10);
        commit(&mut stores);
        stores.begin_record();
        add(&stock, "apples", 1, 11);
        let (emissions, bytes) = (stock.emissions().unwrap(), stores.uncommitted_bytes());

        stores.begin_record();
        add(&stock, "apples", -4, 12);
        add(&stock, "pears", 7, 12);
        add(&stock, "pears", 1, 13);
        stores.undo_record();
        assert_eq!(contents(&stock), [(text("apples"), 4)]);
        assert_eq!(stock.emissions().unwrap(), emissions);
        assert_eq!(stores.uncommitted_bytes(), bytes);

        stores.begin_record();
        stores.undo_record();
        assert_eq!(contents(&stock), [(text("apples"), 4)], "an earlier record is not undone");
        assert_eq!(commit(&mut stores), [(text("apples"), Some(4), 11)]);
    }
}

#[test]
#[should_panic(expected = "open the stores with `undo: true`")]
fn undo_must_be_asked_for() {
    open_in_memory(stock_builder(), false).0.undo_record();
}

#[test]
fn steps_out_of_order_are_refused_and_change_nothing() {
    let refused = |result: Result<(), StoreError>, expected_call: &str| {
        let error = result.unwrap_err();
        let StoreError::OutOfOrder { call, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*call, expected_call);
    };
    let (mut stores, stock) = open_in_memory(stock_builder(), false);
    let reader = stores.reader("stock").unwrap();
    add(&stock, "apples", 3, 10);
    refused(stores.commit(Arc::new(Position::new())), "commit");
    stores.prepare_commit().unwrap();
    refused(stores.commit(Arc::new(Position::new())), "commit");
    assert_eq!(drained(&mut stores).len(), 1);
    add(&stock, "apples", 1, 11);
    refused(stores.commit(Arc::new(Position::new())), "commit");
    refused(stores.checkpoint(&[]), "checkpoint");
    assert_eq!(reader.get(b"apples").unwrap(), None);

    assert_eq!(
        commit(&mut stores),
        [(text("apples"), Some(4), 11)],
        "what changed since is logged once more"
    );
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(2).into())]).unwrap();
    assert_eq!(contents(&stock), [(text("apples"), 4)]);
}

#[test]
fn uncommitted_and_uncheckpointed_bytes_grow_and_return_to_zero() {
    let (mut stores, stock) = open_in_memory(stock_builder().with_caching(false), false);
    add(&stock, "apples", 3, 10);
    let one = stores.uncommitted_bytes();
    add(&stock, "pears", 3, 10);
    assert!(stores.uncommitted_bytes() > one && one > 0);
    stores.rollback();
    assert_eq!(stores.uncommitted_bytes(), 0);
    assert!(!stores.has_uncommitted());

    add(&stock, "apples", 3, 10);
    commit(&mut stores);
    assert_eq!(stores.uncommitted_bytes(), 0);
    let one = stores.uncheckpointed_bytes();
    add(&stock, "apples", 1, 11);
    commit(&mut stores);
    assert_eq!(stores.uncheckpointed_bytes(), one, "the newer row replaced the older");
    add(&stock, "pears", 1, 11);
    commit(&mut stores);
    assert!(stores.uncheckpointed_bytes() > one);
    stores.checkpoint(&[]).unwrap();
    assert_eq!(stores.uncheckpointed_bytes(), 0);
}

#[test]
fn a_table_over_its_budget_evicts_what_is_not_in_use_and_loses_nothing() {
    let builder: Arc<dyn StoreBuilder> = Arc::new(stock_builder());
    let memory = StateMemory::new(64 << 10);
    let mut stores =
        TaskStores::open(TASK, "shop", None, memory, TaskStoresOptions::default(), &[builder]).unwrap();
    let stock: Stock = stores.key_value("stock").unwrap();
    let skus: Vec<String> = (0..10_000).map(|number| format!("sku-{number}")).collect();
    for (place, skus) in skus.chunks(100).enumerate() {
        for sku in skus {
            add(&stock, sku, 1 + place as i64, 10);
        }
        commit(&mut stores);
        if place % 2 == 0 {
            stores.checkpoint(&[]).unwrap();
        }
    }
    let stats = &stores.stats()[0];
    assert!(stats.cached_bytes < 64 << 10, "{stats:?}");
    assert!(stats.cached_entries > 50, "{stats:?}");
    for (place, sku) in skus.iter().enumerate() {
        assert_eq!(stock.get(sku).unwrap(), row(1 + place as i64 / 100, 10), "{sku}");
    }
    let hits = stores.stats()[0].cache_hits;
    assert!(stores.stats()[0].cached_bytes < 64 << 10, "reads evict too");
    assert_eq!(stock.get(&skus[9_999]).unwrap(), row(100, 10));
    assert_eq!(stores.stats()[0].cache_hits, hits + 1, "the row read last is still there");
}

#[test]
fn a_value_encoded_as_null_is_refused() {
    let builder: Arc<dyn StoreBuilder> =
        Arc::new(KeyValueStoreBuilder::new("seen", String::serde(), <()>::serde()));
    let memory = StateMemory::new(1 << 20);
    let mut stores =
        TaskStores::open(TASK, "shop", None, memory, TaskStoresOptions::default(), &[builder]).unwrap();
    let seen = stores.key_value::<String, ()>("seen").unwrap();
    seen.put(&text("apples"), Some(ValueAndTimestamp::new((), at(1)))).unwrap();
    let error = stores.prepare_commit().unwrap_err();
    assert!(error.to_string().starts_with("store `seen`: its value was encoded as null"), "{error}");
}

#[test]
fn stores_are_found_by_name_and_type() {
    let (stores, _) = open_in_memory(stock_builder(), false);
    assert_eq!(stores.names().collect::<Vec<_>>(), ["stock"]);
    assert!(stores.reader("orders").is_none());
    let unknown = stores.key_value::<String, i64>("orders").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "task 0_3 has no store `orders`; it has [\"stock\"]. Connect the store to the processor that uses it"
    );
    let wrong = stores.key_value::<String, u64>("stock").unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "store `stock` holds a key-value store from `alloc::string::String` to `i64`, but was asked for as a key-value \
         store from `alloc::string::String` to `u64`; use the constant it was declared with"
    );
}
