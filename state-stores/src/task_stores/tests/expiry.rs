//! Stores with a time to live: what is seen, what is deleted, and what the changelog and readers hear of it.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::steps::{Subject, check_steps, open_dormant_in};
use super::*;
use crate::{Direction, KeyRange};

const TTL: i64 = 10;

fn builder() -> KeyValueStoreBuilder<String, i64> {
    stock_builder().with_ttl(Duration::from_millis(TTL as u64))
}

/// Begins a commit, and ends it. Returns what went to the changelog on the way.
fn expire_and_commit(stores: &mut TaskStores) -> Vec<(String, Option<i64>, i64)> {
    stores.drop_expired().unwrap();
    commit(stores)
}

#[test]
fn a_row_expires_by_event_time_and_is_deleted_as_of_then() {
    for is_cached in [false, true] {
        let (mut stores, stock) = open_in_memory(builder().with_caching(is_cached), false);
        let reader = stores.reader("stock").unwrap();
        add(&stock, "apples", 3, 100);
        add(&stock, "pears", 5, 105);
        expire_and_commit(&mut stores);
        add(&stock, "plums", 1, 109);
        assert_eq!(stock.get(&text("apples")).unwrap(), row(3, 100), "one millisecond is left");
        add(&stock, "plums", 1, 110);
        assert_eq!(stock.get(&text("apples")).unwrap(), None);
        assert_eq!(contents(&stock), [(text("pears"), 5), (text("plums"), 2)]);
        assert_eq!(
            reader.get(b"apples").unwrap().map(|(time, _)| time),
            Some(at(100)),
            "as of the last commit"
        );

        stores.drop_expired().unwrap();
        let gone = Emission { key: text("apples"), change: change(Some(3), None), timestamp: at(110) };
        let emitted = if is_cached { stock.emissions() } else { stock.take_expired() }.unwrap();
        assert!(emitted.contains(&gone), "{emitted:?}");
        let logged = commit(&mut stores);
        assert!(logged.contains(&(text("apples"), None, 110)), "{logged:?}");
        assert_eq!(reader.get(b"apples").unwrap(), None);
        assert_eq!(expire_and_commit(&mut stores), [], "once");
    }
}

#[test]
fn an_update_makes_a_row_live_longer_and_begins_anew_where_it_has_expired() {
    let (mut stores, stock) = open_in_memory(builder().with_caching(false), false);
    add(&stock, "apples", 3, 100);
    add(&stock, "apples", 1, 108);
    add(&stock, "pears", 1, 112);
    expire_and_commit(&mut stores);
    assert_eq!(stock.get(&text("apples")).unwrap(), row(4, 108));
    add(&stock, "pears", 1, 119);
    let begun_anew = add(&stock, "apples", 7, 119);
    assert_eq!(
        begun_anew,
        Some((change(Some(4), Some(7)), at(119))),
        "nobody was told that the old one has gone"
    );
    let logged = expire_and_commit(&mut stores);
    assert_eq!(logged, [(text("pears"), Some(2), 119), (text("apples"), Some(7), 119)]);
}

#[test]
fn a_row_that_comes_too_late_deletes_what_was_there() {
    let (mut stores, stock) = open_in_memory(builder().with_caching(false), false);
    add(&stock, "apples", 3, 100);
    expire_and_commit(&mut stores);
    stock.put(&text("apples"), row(9, 80)).unwrap();
    assert_eq!(stock.get(&text("apples")).unwrap(), None);
    let logged = expire_and_commit(&mut stores);
    assert_eq!(logged, [(text("apples"), Some(9), 80), (text("apples"), None, 90)]);
}

#[test]
fn the_work_of_one_commit_is_bounded_and_keeps_up_with_what_is_added() {
    let (mut stores, stock) = open_in_memory(builder(), false);
    let put = |numbers: std::ops::Range<i64>, time| {
        for number in numbers {
            stock.put(&format!("sku-{number}"), row(1, time)).unwrap();
        }
    };
    put(0..5_000, 100);
    expire_and_commit(&mut stores);
    stock.put(&text("apples"), row(1, 200)).unwrap();
    assert_eq!(contents(&stock), [(text("apples"), 1)], "nobody sees the others");
    let mut deleted = Vec::new();
    while deleted.iter().sum::<usize>() < 5_000 {
        let logged = expire_and_commit(&mut stores);
        deleted.push(logged.iter().filter(|(_, value, _)| value.is_none()).count());
    }
    assert_eq!(deleted, [1_002, 1_000, 1_000, 1_000, 998]);
}

#[derive(Debug, Clone)]
enum Step {
    Record { writes: Vec<(u8, Option<i64>, i64)>, fails: bool },
    Commit,
    Checkpoint,
    Rollback,
    Reopen { back: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let write = (0..4_u8, prop::option::weighted(0.8, 0..100_i64), -TTL - 3..6_i64);
    let record = (prop::collection::vec(write, 1..4), prop::bool::weighted(0.2));
    prop_oneof![
        8 => record.prop_map(|(writes, fails)| Step::Record { writes, fails }),
        3 => Just(Step::Commit),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Rollback),
        1 => (0..3_usize).prop_map(|back| Step::Reopen { back }),
    ]
}

#[derive(Debug, Clone, Default)]
struct Model {
    rows: BTreeMap<String, ValueAndTimestamp<i64>>,
    stream_time: i64,
}

impl Model {
    fn write(&mut self, key: &str, value: Option<i64>, time: i64) {
        let before = match value {
            Some(value) => self.rows.insert(key.to_owned(), ValueAndTimestamp::new(value, at(time))),
            None => self.rows.remove(key),
        };
        if before.is_some() || value.is_some() {
            self.stream_time = self.stream_time.max(time);
        }
    }

    fn visible(&self) -> BTreeMap<String, ValueAndTimestamp<i64>> {
        let mut rows = self.rows.clone();
        rows.retain(|_, row| row.timestamp.as_millis() + TTL > self.stream_time);
        rows
    }

    fn drop_expired(&mut self) {
        self.rows = self.visible();
    }
}

struct ExpiringBesideModel {
    is_cached: bool,
    root: Option<tempfile::TempDir>,
    stores: Option<TaskStores>,
    stock: Stock,
    model: Model,
    committed: Model,
    /// The stream time that the disk has.
    stored_time: i64,
    topic: Vec<(String, Option<i64>, i64)>,
}

impl Subject for ExpiringBesideModel {
    /// Whether it is cached, and whether it is on the disk.
    type Variant = (bool, bool);
    type Step = Step;

    fn new((is_cached, is_on_disk): (bool, bool)) -> Self {
        let root = is_on_disk.then(|| tempfile::tempdir().unwrap());
        let stores = Self::open(is_cached, root.as_ref()).wake(Self::options());
        let stock = stores.key_value("stock").unwrap();
        let (model, committed) = <(Model, Model)>::default();
        let (stores, topic) = (Some(stores), Vec::new());
        Self { is_cached, root, stores, stock, model, committed, stored_time: 0, topic }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Record { writes, fails } => {
                let before = self.model.clone();
                self.stores().begin_record();
                for (key, value, distance) in writes {
                    let (key, time) = (format!("sku-{key}"), (self.model.stream_time + distance).max(0));
                    let visible = self.model.visible().get(&key).copied();
                    let next = value.map(|value| ValueAndTimestamp::new(value, at(time)));
                    let updated = self.stock.update(&key, at(time), false, |found| {
                        assert_eq!(found, visible);
                        Ok::<_, StoreError>(next)
                    });
                    updated.unwrap();
                    self.model.write(&key, *value, time);
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
                self.stored_time = self.committed.stream_time;
            }
            Step::Rollback => {
                self.stores().rollback();
                self.model = self.committed.clone();
            }
            Step::Reopen { back } => self.reopen(*back),
        }
    }

    fn check(&mut self) {
        let visible = self.model.visible();
        let found: BTreeMap<_, _> = self.stock.all().unwrap().map(Result::unwrap).collect();
        assert_eq!(found, visible);
        for key in (0..4).map(|key| format!("sku-{key}")) {
            assert_eq!(self.stock.get(&key).unwrap(), visible.get(&key).copied());
        }
        let committed = self.committed.visible();
        let reader = self.stores().reader("stock").unwrap();
        let rows = reader.scan(KeyRange::all(), Direction::Forward).unwrap();
        let found: Vec<_> = rows.map(|row| row.map(|(key, time, _)| (key, time)).unwrap()).collect();
        let expected: Vec<_> =
            committed.iter().map(|(key, row)| (key.clone().into_bytes(), row.timestamp)).collect();
        assert_eq!(found, expected);
        for key in (0..4).map(|key| format!("sku-{key}")) {
            let found = reader.get(key.as_bytes()).unwrap().map(|(time, _)| time);
            assert_eq!(found, committed.get(&key).map(|row| row.timestamp));
        }
    }
}

impl ExpiringBesideModel {
    fn options() -> TaskStoresOptions {
        TaskStoresOptions { undo: true, ..TaskStoresOptions::default() }
    }

    fn open(is_cached: bool, root: Option<&tempfile::TempDir>) -> DormantStores {
        let builder = Arc::new(builder().with_caching(is_cached));
        open_dormant_in(root.map(tempfile::TempDir::path), 0, builder)
    }

    fn stores(&mut self) -> &mut TaskStores {
        self.stores.as_mut().unwrap()
    }

    fn commit(&mut self) {
        self.model.drop_expired();
        let logged = expire_and_commit(self.stores());
        self.topic.extend(logged);
        self.committed = self.model.clone();
        let mut compacted = BTreeMap::new();
        for (key, value, time) in &self.topic {
            match value {
                Some(value) => compacted.insert(key.clone(), ValueAndTimestamp::new(*value, at(*time))),
                None => compacted.remove(key),
            };
        }
        assert_eq!(compacted, self.committed.rows, "the changelog holds what is left");
    }

    fn reopen(&mut self, back: usize) {
        self.stores.take().unwrap().close().unwrap();
        let mut stores = Self::open(self.is_cached, self.root.as_ref());
        let stored = stores.restored_to(STOCK.index()).map_or(0, |next| next.get() as usize);
        let first = stored.saturating_sub(back);
        let values: Vec<_> =
            self.topic.iter().map(|(_, value, _)| value.map(|value| value.to_be_bytes())).collect();
        let rows = self.topic.iter().zip(&values).skip(first).map(|((key, _, time), value)| RestoreRow {
            key: key.as_bytes(),
            value: value.as_ref().map(|value| value.as_slice()),
            timestamp: at(*time),
        });
        stores.restore(STOCK.index(), rows, Offset::new(self.topic.len() as i64)).unwrap();
        let is_flushed = back.is_multiple_of(2);
        if is_flushed {
            stores.flush(STOCK.index()).unwrap();
        }
        let stores = stores.wake(Self::options());
        self.stock = stores.key_value("stock").unwrap();
        self.stores = Some(stores);
        // What was never logged, and is not on the disk, does not count for the stream time any more.
        let stored_time = if self.root.is_some() { self.stored_time } else { 0 };
        let logged = self.topic.iter().skip(first).map(|(_, _, time)| *time);
        self.committed.stream_time = logged.fold(stored_time, i64::max);
        if is_flushed {
            self.stored_time = self.committed.stream_time;
        }
        self.model = self.committed.clone();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn rows_that_expire_in_memory_agree_with_the_model(
        is_cached: bool,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        check_steps::<ExpiringBesideModel>((is_cached, false), &steps);
    }
}

proptest! {
    // Each opens a database several times.
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn rows_that_expire_on_disk_agree_with_the_model(
        is_cached: bool,
        steps in prop::collection::vec(step(), 1..30),
    ) {
        check_steps::<ExpiringBesideModel>((is_cached, true), &steps);
    }
}
