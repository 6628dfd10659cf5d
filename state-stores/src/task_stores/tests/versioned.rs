//! Versioned stores: any sequence of versions, commits, failures and restores against a model that forgets nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::steps::{Subject, budget, check_steps, open_dormant_in};
use super::*;
use crate::engine::{DiskAnswer, SimulatedDisk};
use crate::store::{VersionedPut, VersionedRecord, VersionedStore};

const RETENTION: i64 = 40;

type Prices = VersionedStore<String, i64>;

fn builder(retention: i64) -> KeyValueStoreBuilder<String, i64> {
    stock_builder().versioned(Duration::from_millis(retention as u64))
}

fn record(value: i64, from: i64, to: Option<i64>) -> Option<VersionedRecord<i64>> {
    Some(VersionedRecord { value, valid_from: at(from), valid_to: to.map(at) })
}

fn open_prices(retention: i64) -> (TaskStores, Prices) {
    let memory = StateMemory::new(16 << 20);
    let options = TaskStoresOptions { undo: true, ..TaskStoresOptions::default() };
    let stores = TaskStores::open(TASK, "shop", None, memory, options, &[Arc::new(builder(retention))]);
    let stores = stores.unwrap();
    let prices = stores.versioned("stock").unwrap();
    (stores, prices)
}

#[test]
fn versions_find_their_place_in_any_order_and_a_deletion_is_one() {
    let (mut stores, prices) = open_prices(1_000);
    let apples = text("apples");
    assert_eq!(prices.put(&apples, Some(40), at(400)).unwrap(), VersionedPut::Latest);
    assert_eq!(prices.put(&apples, Some(20), at(200)).unwrap(), VersionedPut::ValidUntil(at(400)));
    assert_eq!(prices.put(&apples, None, at(300)).unwrap(), VersionedPut::ValidUntil(at(400)));
    assert_eq!(prices.put(&apples, Some(25), at(250)).unwrap(), VersionedPut::ValidUntil(at(300)));
    assert_eq!(prices.put(&apples, Some(21), at(200)).unwrap(), VersionedPut::ValidUntil(at(250)), "again");
    assert_eq!(prices.get(&apples).unwrap(), record(40, 400, None));
    let as_of = |time| prices.get_as_of(&apples, at(time)).unwrap();
    assert_eq!(as_of(199), None);
    assert_eq!(as_of(200), record(21, 200, Some(250)));
    assert_eq!(as_of(299), record(25, 250, Some(300)));
    assert_eq!(as_of(300), None, "deleted");
    assert_eq!(as_of(399), None);
    assert_eq!(as_of(400), record(40, 400, None));
    assert_eq!(as_of(9_000), record(40, 400, None));
    let logged = [(Some(40), 400), (Some(20), 200), (None, 300), (Some(25), 250), (Some(21), 200)];
    assert_eq!(commit(&mut stores), logged.map(|(value, time)| (apples.clone(), value, time)));
}

#[test]
fn a_deletion_is_the_newest_version_until_a_newer_one_comes() {
    let (_stores, prices) = open_prices(1_000);
    let apples = text("apples");
    assert_eq!(prices.delete(&apples, at(500)).unwrap(), None);
    assert_eq!(prices.put(&apples, Some(40), at(400)).unwrap(), VersionedPut::ValidUntil(at(500)));
    assert_eq!(prices.get(&apples).unwrap(), None);
    assert_eq!(prices.get_as_of(&apples, at(499)).unwrap(), record(40, 400, Some(500)));
    assert_eq!(prices.delete(&apples, at(450)).unwrap(), record(40, 400, Some(500)));
    assert_eq!(prices.get_as_of(&apples, at(449)).unwrap(), record(40, 400, Some(450)));
    assert_eq!(prices.put(&apples, Some(60), at(600)).unwrap(), VersionedPut::Latest);
    assert_eq!(prices.get_as_of(&apples, at(599)).unwrap(), None);
    assert_eq!(prices.get(&apples).unwrap(), record(60, 600, None));
}

#[test]
fn what_is_older_than_the_retention_is_neither_put_nor_found_but_the_newest_version_stays() {
    let (mut stores, prices) = open_prices(RETENTION);
    let (apples, pears) = (text("apples"), text("pears"));
    prices.put(&apples, Some(1), at(10)).unwrap();
    prices.put(&apples, Some(2), at(20)).unwrap();
    prices.put(&pears, Some(9), at(100)).unwrap();
    assert_eq!(prices.put(&apples, Some(3), at(59)).unwrap(), VersionedPut::NotPut);
    assert_eq!(prices.delete(&apples, at(59)).unwrap(), None);
    assert_eq!(prices.put(&apples, Some(3), at(60)).unwrap(), VersionedPut::Latest);
    assert_eq!(prices.get_as_of(&apples, at(59)).unwrap(), None, "forgotten");
    assert_eq!(prices.get_as_of(&apples, at(60)).unwrap(), record(3, 60, None));
    assert_eq!(prices.get_as_of(&pears, at(7)).unwrap(), None);
    assert_eq!(commit(&mut stores).len(), 4, "what was not put is not logged");
}

#[test]
fn history_that_nobody_can_see_is_dropped() {
    let (mut stores, prices) = open_prices(RETENTION);
    for key in 0..20 {
        prices.put(&format!("sku-{key}"), Some(1), at(0)).unwrap();
        prices.put(&format!("sku-{key}"), Some(2), at(1)).unwrap();
        prices.put(&format!("gone-{key}"), None, at(2)).unwrap();
    }
    commit(&mut stores);
    let rows_of_history = |stores: &TaskStores| {
        let rows = stores.tables[1].reader.scan(crate::KeyRange::all(), crate::Direction::Forward).unwrap();
        rows.count()
    };
    assert_eq!(rows_of_history(&stores), 1 + 20 + 2 * 20, "the time, replaced versions, deletions twice");
    prices.put(&text("apples"), Some(1), at(100)).unwrap();
    stores.drop_expired().unwrap();
    assert!(stores.stats()[1].store.starts_with("stock/history-"), "{:?}", stores.stats());
    assert_eq!(commit(&mut stores), [(text("apples"), Some(1), 100)], "nobody is told");
    assert_eq!(rows_of_history(&stores), 1);
    assert_eq!(prices.get(&text("sku-7")).unwrap(), record(2, 1, None));
}

#[test]
fn a_store_that_is_kept_in_another_way_is_rebuilt_from_its_changelog() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let open = |builder| open_dormant(&directory, &[Arc::new(builder)]).unwrap();
    let value = 3_i64.to_be_bytes();
    let row = RestoreRow { key: b"apples", value: Some(&value), timestamp: at(5) };
    for (builder, is_rebuilt) in [
        (stock_builder(), true),
        (builder(RETENTION), true),
        (builder(RETENTION), false),
        (builder(1_000), true),
        (stock_builder().with_ttl(Duration::from_millis(10)), true),
        (stock_builder().with_ttl(Duration::from_millis(20)), false),
        (stock_builder(), true),
    ] {
        let mut stores = open(builder);
        assert_eq!(stores.restored_to(STOCK.index()), (!is_rebuilt).then_some(Offset::new(1)));
        stores.restore(STOCK.index(), [row].into_iter(), Offset::new(1)).unwrap();
        stores.close().unwrap();
    }
}

/// What a replay makes of a store's history depends on its newest versions, and must not find one of the two without the other.
#[test]
fn a_version_that_was_replaced_survives_a_disk_that_fails_at_any_request() {
    let topic = [("apples", 10_i64, 1), ("apples", 50, 5)];
    let restore = |stores: &mut DormantStores, place: usize| {
        let (key, value, time) = topic[place];
        let value = value.to_be_bytes();
        let row = RestoreRow { key: key.as_bytes(), value: Some(&value), timestamp: at(time) };
        stores.restore(STOCK.index(), [row].into_iter(), Offset::new(place as i64 + 1)).unwrap();
    };
    let open = |directory: &StateDirectory| open_dormant(directory, &[Arc::new(builder(1_000))]).unwrap();
    for is_standby in [false, true] {
        for failing in 0.. {
            let (disk, requests) = (SimulatedDisk::default(), Arc::new(AtomicUsize::new(0)));
            let counted = Arc::clone(&requests);
            let dying = disk.directory("shop", move |_task, _request| {
                match counted.fetch_add(1, Ordering::Relaxed) < failing {
                    true => DiskAnswer::Done,
                    false => DiskAnswer::Failed,
                }
            });
            let mut stores = open(&dying);
            restore(&mut stores, 0);
            if stores.flush(STOCK.index()).is_ok() && is_standby {
                restore(&mut stores, 1);
                drop(stores.flush(STOCK.index()));
                drop(stores);
            } else if requests.load(Ordering::Relaxed) <= failing {
                let mut stores = stores.wake(TaskStoresOptions::default());
                let prices: Prices = stores.versioned("stock").unwrap();
                let (key, value, time) = topic[1];
                prices.put(&text(key), Some(value), at(time)).unwrap();
                commit(&mut stores);
                drop(stores.checkpoint(&[(STOCK.index().into(), Offset::new(2).into())]));
            } else {
                drop(stores);
            }

            let mut stores = open(&disk.directory("shop", |_task, _request| DiskAnswer::Done));
            let stored = stores.stored_offset(STOCK.index()).map_or(0, |next| next.get() as usize);
            (stored..topic.len()).for_each(|place| restore(&mut stores, place));
            let stores = stores.wake(TaskStoresOptions::default());
            let prices: Prices = stores.versioned("stock").unwrap();
            let then = prices.get_as_of(&text("apples"), at(3)).unwrap();
            assert_eq!(then, record(10, 1, Some(5)), "request {failing} failed, a standby: {is_standby}");
            if requests.load(Ordering::Relaxed) <= failing {
                break;
            }
        }
    }
}

#[test]
fn versioned_stores_say_what_they_are() {
    let (stores, _) = open_prices(RETENTION);
    let wrong = stores.key_value::<String, i64>("stock").unwrap_err();
    assert!(wrong.to_string().contains("holds a versioned store from"), "{wrong}");
    let (stores, _) = open_in_memory(stock_builder(), false);
    stores.versioned::<String, i64>("stock").expect_err("it is a key-value store");
    let error = stores.reader("stock").unwrap().get_as_of(b"apples", at(1)).unwrap_err();
    assert!(matches!(error, StoreError::NotVersioned { .. }), "{error}");
}

#[derive(Debug, Clone)]
enum Step {
    /// A record that puts versions so far from the stream time, and perhaps fails at its end.
    Record {
        puts: Vec<(u8, Option<i64>, i64)>,
        fails: bool,
    },
    Commit,
    Checkpoint,
    Rollback,
    /// Close, open, restore from so many records before what the disk reflects.
    Reopen {
        back: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0..3_u8, prop::option::weighted(0.8, 0..100_i64), -RETENTION - 5..8_i64);
    let record = (prop::collection::vec(put, 1..5), prop::bool::weighted(0.2));
    prop_oneof![
        8 => record.prop_map(|(puts, fails)| Step::Record { puts, fails }),
        3 => Just(Step::Commit),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Rollback),
        1 => (0..4_usize).prop_map(|back| Step::Reopen { back }),
    ]
}

/// All versions that were ever put, and the stream time.
#[derive(Debug, Clone, Default)]
struct Model {
    keys: BTreeMap<String, BTreeMap<i64, Option<i64>>>,
    stream_time: i64,
}

impl Model {
    fn put(&mut self, key: &str, value: Option<i64>, time: i64) -> VersionedPut {
        if time < self.stream_time - RETENTION {
            return VersionedPut::NotPut;
        }
        self.stream_time = self.stream_time.max(time);
        let versions = self.keys.entry(key.to_owned()).or_default();
        versions.insert(time, value);
        let next = versions.range(time + 1..).next();
        next.map_or(VersionedPut::Latest, |(next, _)| VersionedPut::ValidUntil(at(*next)))
    }

    fn as_of(&self, key: &str, time: i64) -> Option<VersionedRecord<i64>> {
        let versions = self.keys.get(key)?;
        let (from, value) = versions.range(..=time).next_back()?;
        let next = versions.range(from + 1..).next().map(|(next, _)| *next);
        let is_forgotten = next.is_some() && time < self.stream_time - RETENTION;
        record((*value).filter(|_| !is_forgotten)?, *from, next)
    }
}

struct VersionsBesideModel {
    root: Option<tempfile::TempDir>,
    memory_bytes: usize,
    stores: Option<TaskStores>,
    prices: Prices,
    model: Model,
    committed: Model,
    topic: Vec<(String, Option<i64>, i64)>,
}

impl Subject for VersionsBesideModel {
    /// Whether it is on the disk, and how many bytes of rows may be in memory.
    type Variant = (bool, usize);
    type Step = Step;

    fn new((is_on_disk, memory_bytes): (bool, usize)) -> Self {
        let root = is_on_disk.then(|| tempfile::tempdir().unwrap());
        let stores = Self::open(root.as_ref(), memory_bytes).wake(Self::options());
        let prices = stores.versioned("stock").unwrap();
        let (model, committed) = <(Model, Model)>::default();
        Self { root, memory_bytes, stores: Some(stores), prices, model, committed, topic: Vec::new() }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Record { puts, fails } => {
                let before = self.model.clone();
                self.stores().begin_record();
                for (key, value, distance) in puts {
                    let (key, time) = (format!("sku-{key}"), (self.model.stream_time + distance).max(0));
                    let put = self.prices.put(&key, *value, at(time)).unwrap();
                    assert_eq!(put, self.model.put(&key, *value, time));
                }
                if *fails {
                    self.stores().undo_record();
                    self.model = before;
                }
            }
            Step::Commit => self.commit(),
            Step::Checkpoint => {
                self.commit();
                let next = Offset::new(self.topic.len() as i64);
                self.stores().checkpoint(&[(STOCK.index().into(), next.into())]).unwrap();
            }
            Step::Rollback => {
                self.stores().rollback();
                self.model = self.committed.clone();
            }
            Step::Reopen { back } => self.reopen(*back),
        }
    }

    fn check(&mut self) {
        let reader = self.stores().reader("stock").unwrap();
        for key in (0..3).map(|key| format!("sku-{key}")) {
            let newest = self.model.as_of(&key, i64::MAX - 1);
            assert_eq!(self.prices.get(&key).unwrap(), newest);
            let now = self.model.stream_time;
            for time in (now - RETENTION - 5).max(0)..now + 3 {
                let found = self.prices.get_as_of(&key, at(time)).unwrap();
                assert_eq!(found, self.model.as_of(&key, time), "{key} as of {time}");
                let committed = reader.get_as_of(key.as_bytes(), at(time)).unwrap();
                let committed = committed.map(|found| VersionedRecord {
                    value: i64::from_be_bytes(found.value.as_slice().try_into().unwrap()),
                    valid_from: found.valid_from,
                    valid_to: found.valid_to,
                });
                assert_eq!(committed, self.committed.as_of(&key, time), "{key} as of {time}, committed");
            }
        }
    }
}

impl VersionsBesideModel {
    fn options() -> TaskStoresOptions {
        TaskStoresOptions { undo: true, ..TaskStoresOptions::default() }
    }

    fn open(root: Option<&tempfile::TempDir>, memory_bytes: usize) -> DormantStores {
        open_dormant_in(root.map(tempfile::TempDir::path), memory_bytes, Arc::new(builder(RETENTION)))
    }

    fn stores(&mut self) -> &mut TaskStores {
        self.stores.as_mut().unwrap()
    }

    fn commit(&mut self) {
        self.stores().drop_expired().unwrap();
        let logged = commit(self.stores());
        self.topic.extend(logged);
        self.committed = self.model.clone();
    }

    fn reopen(&mut self, back: usize) {
        self.stores.take().unwrap().close().unwrap();
        let mut stores = Self::open(self.root.as_ref(), self.memory_bytes);
        let stored = stores.restored_to(STOCK.index()).map_or(0, |next| next.get() as usize);
        // As after a crash between the rows of a checkpoint and their offset: the rows are newer than what is restored first.
        let first = stored.saturating_sub(back);
        for (place, (key, value, time)) in self.topic.iter().enumerate().skip(first) {
            let value = value.map(i64::to_be_bytes);
            let value = value.as_ref().map(|value| value.as_slice());
            let row = RestoreRow { key: key.as_bytes(), value, timestamp: at(*time) };
            stores.restore(STOCK.index(), [row].into_iter(), Offset::new(place as i64 + 1)).unwrap();
        }
        if back.is_multiple_of(2) {
            stores.flush(STOCK.index()).unwrap();
        }
        let stores = stores.wake(Self::options());
        self.prices = stores.versioned("stock").unwrap();
        self.stores = Some(stores);
        self.model = self.committed.clone();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn versions_in_memory_agree_with_the_model(
        memory in budget(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        check_steps::<VersionsBesideModel>((false, memory), &steps);
    }
}

proptest! {
    // Each opens a database several times.
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn versions_on_disk_agree_with_the_model(
        memory in budget(),
        steps in prop::collection::vec(step(), 1..30),
    ) {
        check_steps::<VersionsBesideModel>((true, memory), &steps);
    }
}
