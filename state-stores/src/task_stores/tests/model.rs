//! Any sequence of operations, on every combination of engine, cache, undo and budget, against a model of a few maps.
//!
//! The model knows what the task sees, what is committed, what a checkpoint is about to write, and what would survive a crash.
//! After every step the task's view, the readers' view and the changelog must agree with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use proptest::prelude::*;

use super::checkpoints::HeldBackground;
use super::steps::{Subject, budget, check_steps, open_dormant_in};
use super::*;
use crate::key_range::{Direction, KeyRange};

/// One step; keys are few, so that they meet again.
#[derive(Debug, Clone)]
enum Step {
    /// A record that writes, and perhaps fails at its end.
    Record { writes: Vec<Write>, fails: bool },
    /// An update whose closure fails.
    FailedUpdate { key: u8 },
    /// Everything up to here is final.
    Commit,
    /// A commit, and its rows go into the engine before the task goes on.
    Checkpoint,
    /// A commit, and its rows are handed to the background thread, which does not begin yet.
    BeginCheckpoint,
    /// The background thread does what it was given.
    Write,
    /// The task looks whether it has.
    Poll,
    /// Back to the last commit.
    Rollback,
    /// Close, open, restore the rest from the changelog.
    Reopen,
    /// Lose what only memory had, open what the disk has, restore the rest from the changelog.
    Crash,
}

#[derive(Debug, Clone)]
enum Write {
    Put {
        key: u8,
        value: Option<i64>,
    },
    /// Deletes the value where the sum is divisible by three.
    Add {
        key: u8,
        quantity: i64,
    },
}

fn write() -> impl Strategy<Value = Write> {
    let key = 0..6_u8;
    prop_oneof![
        (key.clone(), prop::option::of(-5..5_i64)).prop_map(|(key, value)| Write::Put { key, value }),
        (key, -2..3_i64).prop_map(|(key, quantity)| Write::Add { key, quantity }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let record = (prop::collection::vec(write(), 1..4), prop::bool::weighted(0.2));
    prop_oneof![
        8 => record.prop_map(|(writes, fails)| Step::Record { writes, fails }),
        1 => (0..6_u8).prop_map(|key| Step::FailedUpdate { key }),
        3 => Just(Step::Commit),
        1 => Just(Step::Checkpoint),
        2 => Just(Step::BeginCheckpoint),
        1 => Just(Step::Write),
        1 => Just(Step::Poll),
        1 => Just(Step::Rollback),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Variant {
    is_on_disk: bool,
    is_cached: bool,
    undo: bool,
    /// Checkpoints are written by a background thread.
    is_behind: bool,
    budget: usize,
}

type Rows = BTreeMap<String, ValueAndTimestamp<i64>>;

/// The rows and the changelog offset that one level of storage holds.
#[derive(Debug, Clone, Default, PartialEq)]
struct Stored {
    rows: Rows,
    next: Option<Offset>,
}

/// A store beside its model.
struct StockBesideModel {
    variant: Variant,
    root: tempfile::TempDir,
    /// `None` only while it is closed and opened again.
    stores: Option<TaskStores>,
    stock: Stock,
    now: i64,
    current: Rows,
    committed: Rows,
    durable: Stored,
    /// What the background thread was given to write.
    in_flight: Option<Stored>,
    background: Option<HeldBackground>,
    /// Keys changed since the commit, in the order of their first change.
    changed: Vec<String>,
    topic: Vec<(String, Option<i64>, i64)>,
}

impl Subject for StockBesideModel {
    type Variant = Variant;
    type Step = Step;

    fn new(variant: Variant) -> Self {
        let root = tempfile::tempdir().unwrap();
        let background = variant.is_behind.then(HeldBackground::start);
        let stores = open(variant, background.as_ref(), root.path());
        let stock = stores.key_value("stock").unwrap();
        Self {
            variant,
            root,
            stores: Some(stores),
            stock,
            now: 0,
            current: Rows::new(),
            committed: Rows::new(),
            durable: Stored::default(),
            in_flight: None,
            background,
            changed: Vec::new(),
            topic: Vec::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Record { writes, fails } => self.record(writes, *fails),
            Step::FailedUpdate { key } => self.failed_update(&sku(*key)),
            Step::Commit => self.commit(),
            Step::Checkpoint => {
                self.commit();
                self.checkpoint();
            }
            Step::BeginCheckpoint => {
                self.commit();
                self.begin_checkpoint();
            }
            Step::Write => self.write(),
            Step::Poll => self.poll(),
            Step::Rollback => self.rollback(),
            Step::Reopen => self.reopen(),
            Step::Crash => self.crash(),
        }
    }

    fn check(&mut self) {
        assert_eq!(rows_of(&self.stock), self.current);
        for key in 0..6 {
            assert_eq!(self.stock.get(&sku(key)).unwrap(), self.current.get(&sku(key)).copied());
        }
        let between = self.stock.range(sku(1)..sku(4)).unwrap().map(Result::unwrap);
        let expected = self.current.range(sku(1)..sku(4)).map(|(sku, row)| (sku.clone(), *row));
        assert_eq!(between.collect::<Vec<_>>(), expected.collect::<Vec<_>>());

        let reader = self.stores().reader("stock").unwrap();
        let encoded = |row: &ValueAndTimestamp<i64>| (row.timestamp, row.value.to_be_bytes().to_vec());
        for key in 0..6 {
            let found = reader.get(sku(key).as_bytes()).unwrap();
            assert_eq!(found, self.committed.get(&sku(key)).map(encoded));
        }
        let scan = |direction| -> Vec<_> {
            let rows = reader.scan(KeyRange::all(), direction).unwrap();
            rows.map(Result::unwrap).map(|(key, timestamp, value)| (key, (timestamp, value))).collect()
        };
        let mut expected: Vec<_> =
            self.committed.iter().map(|(sku, row)| (sku.clone().into_bytes(), encoded(row))).collect();
        assert_eq!(scan(Direction::Forward), expected);
        expected.reverse();
        assert_eq!(scan(Direction::Reverse), expected);

        let is_changed = !self.changed.is_empty();
        assert_eq!(self.stores().has_uncommitted(), is_changed);
        assert_eq!(self.stores().uncommitted_bytes() > 0, is_changed);
    }
}

impl StockBesideModel {
    fn stores(&mut self) -> &mut TaskStores {
        self.stores.as_mut().unwrap()
    }

    fn record(&mut self, writes: &[Write], fails: bool) {
        let before = (self.current.clone(), self.changed.clone());
        self.now += 1;
        self.stores().begin_record();
        for write in writes {
            match *write {
                Write::Put { key, value } => {
                    let next = value.map(|value| ValueAndTimestamp::new(value, at(self.now)));
                    self.stock.put(&sku(key), next).unwrap();
                    self.write_model(sku(key), next);
                }
                Write::Add { key, quantity } => self.add(sku(key), quantity),
            }
        }
        if fails && self.variant.undo {
            self.stores().undo_record();
            (self.current, self.changed) = before;
        }
    }

    fn add(&mut self, sku: String, quantity: i64) {
        let now = at(self.now);
        let old = self.current.get(&sku).copied();
        let sum = old.map_or(0, |row| row.value) + quantity;
        let next = (sum % 3 != 0).then(|| ValueAndTimestamp::new(sum, now));
        let emitted = self.stock.update(&sku, now, true, |found| {
            assert_eq!(found, old);
            Ok::<_, StoreError>(next)
        });
        let change = Change { old: old.map(|row| row.value), new: next.map(|row| row.value) };
        assert_eq!(emitted.unwrap(), (!self.variant.is_cached).then_some((change, now)));
        self.write_model(sku, next);
    }

    fn write_model(&mut self, sku: String, next: Option<ValueAndTimestamp<i64>>) {
        let old = match next {
            Some(next) => self.current.insert(sku.clone(), next),
            None => self.current.remove(&sku),
        };
        if (old.is_some() || next.is_some()) && !self.changed.contains(&sku) {
            self.changed.push(sku);
        }
    }

    fn failed_update(&mut self, sku: &String) {
        self.stores().begin_record();
        let failed = self.stock.update(sku, at(self.now), true, |_| {
            Err(StoreError::Closed { store: "the failure of the test".into() })
        });
        assert!(matches!(failed, Err(StoreError::Closed { .. })));
        if self.changed.contains(sku) && !self.variant.undo {
            assert!(matches!(self.stock.get(sku), Err(StoreError::Poisoned { .. })));
            self.rollback();
        }
    }

    fn commit(&mut self) {
        let emitted = self.stock.emissions().unwrap().into_iter();
        let emitted: Vec<_> =
            emitted.map(|emission| (emission.key, emission.change.old, emission.change.new)).collect();
        let value = |rows: &Rows, sku: &String| rows.get(sku).map(|row| row.value);
        let of_key = |sku: &String| (sku.clone(), value(&self.committed, sku), value(&self.current, sku));
        let mut expected: Vec<_> = self.changed.iter().map(of_key).collect();
        expected.retain(|(_, old, new)| old.is_some() || new.is_some());
        assert_eq!(emitted, expected);

        let logged = commit(self.stores());
        if self.variant.is_cached {
            let skus: Vec<_> = logged.iter().map(|(sku, ..)| sku).collect();
            assert_eq!(skus, expected.iter().map(|(sku, ..)| sku).collect::<Vec<_>>());
        }
        self.topic.extend(logged);
        self.committed = self.current.clone();
        self.changed.clear();

        let mut compacted = Rows::new();
        for (sku, value, timestamp) in &self.topic {
            match value {
                Some(value) => compacted.insert(sku.clone(), ValueAndTimestamp::new(*value, at(*timestamp))),
                None => compacted.remove(sku),
            };
        }
        assert_eq!(compacted, self.committed, "the changelog holds what was committed");
    }

    fn checkpoint(&mut self) {
        self.write();
        let committed = self.stored();
        let next = committed.next.unwrap();
        self.stores().checkpoint(&[(STOCK.index().into(), next.into())]).unwrap();
        self.durable = committed;
    }

    fn begin_checkpoint(&mut self) {
        let committed = self.stored();
        let positions = [(STOCK.index().into(), committed.next.unwrap().into())];
        if self.stores().checkpoint_stats().is_in_flight {
            let refused = self.stores().begin_checkpoint(&positions);
            assert!(matches!(refused, Err(StoreError::OutOfOrder { .. })));
            return;
        }
        match &mut self.background {
            Some(background) => {
                background.hold();
                self.in_flight = Some(committed);
            }
            None => self.durable = committed,
        }
        self.stores().begin_checkpoint(&positions).unwrap();
    }

    /// What a checkpoint that begins now will write.
    fn stored(&self) -> Stored {
        Stored { rows: self.committed.clone(), next: Some(Offset::new(self.topic.len() as i64)) }
    }

    fn write(&mut self) {
        if let Some(background) = &mut self.background {
            background.release();
        }
        if let Some(written) = self.in_flight.take() {
            self.durable = written;
        }
    }

    fn poll(&mut self) {
        self.stores().poll_checkpoint().unwrap();
        if self.in_flight.is_none() {
            let durable = self.durable.next;
            assert_eq!(self.stores().stored_offset(STOCK.index()), durable);
        }
    }

    fn rollback(&mut self) {
        self.stores().rollback();
        self.current = self.committed.clone();
        self.changed.clear();
    }

    fn reopen(&mut self) {
        self.write();
        if let Some(stores) = self.stores.take() {
            stores.close().unwrap();
        }
        let expected = if self.variant.is_on_disk { self.durable.clone() } else { Stored::default() };
        self.open_again(expected);
    }

    fn crash(&mut self) {
        let expected = if self.variant.is_on_disk { self.durable.clone() } else { Stored::default() };
        let after_crash = tempfile::tempdir().unwrap();
        copy_directory(self.root.path(), after_crash.path());
        self.stores = None;
        self.write();
        self.root = after_crash;
        self.open_again(expected);
    }

    /// Opens what the directory has, which is `expected`, and restores the rest.
    fn open_again(&mut self, expected: Stored) {
        let stores = open(self.variant, self.background.as_ref(), self.root.path());
        let found = Stored {
            rows: rows_of(&stores.key_value("stock").unwrap()),
            next: stores.stored_offset(STOCK.index()),
        };
        assert_eq!(found, expected);
        stores.close().unwrap();
        let mut stores = open_dormant(self.variant, self.root.path());

        let first = expected.next.map_or(0, |next| next.get() as usize);
        let encode = |value: &Option<i64>| value.map(i64::to_be_bytes);
        let values: Vec<_> = self.topic.iter().map(|(_, value, _)| encode(value)).collect();
        let records = self.topic.iter().zip(&values).skip(first);
        let rows = records.map(|((sku, _, timestamp), value)| RestoreRow {
            key: sku.as_bytes(),
            value: value.as_ref().map(|value| value.as_slice()),
            timestamp: at(*timestamp),
        });
        let next = Offset::new(self.topic.len() as i64);
        let restored = stores.restore(STOCK.index(), rows, next).unwrap();
        assert_eq!(restored as usize, self.topic.len() - first);
        let is_flushed = self.topic.len().is_multiple_of(2);
        if is_flushed {
            stores.flush(STOCK.index()).unwrap();
        }

        let stores = stores.wake(options(self.variant, self.background.as_ref()));
        self.stock = stores.key_value("stock").unwrap();
        self.stores = Some(stores);
        self.current = self.committed.clone();
        self.changed.clear();
        self.durable = if is_flushed { self.stored() } else { expected };
    }
}

fn sku(key: u8) -> String {
    format!("sku-{key}")
}

fn rows_of(stock: &Stock) -> Rows {
    stock.all().unwrap().map(Result::unwrap).collect()
}

fn open(variant: Variant, background: Option<&HeldBackground>, root: &Path) -> TaskStores {
    open_dormant(variant, root).wake(options(variant, background))
}

fn open_dormant(variant: Variant, root: &Path) -> DormantStores {
    let builder = stock_builder().with_caching(variant.is_cached);
    open_dormant_in(variant.is_on_disk.then_some(root), variant.budget, Arc::new(builder))
}

fn options(variant: Variant, background: Option<&HeldBackground>) -> TaskStoresOptions {
    let background = background.map(|background| Arc::clone(&background.thread));
    TaskStoresOptions { undo: variant.undo, background, ..TaskStoresOptions::default() }
}

/// Copies a directory as it is at one moment, as a crash would leave it. RocksDB may be tidying it: if a file comes, grows or goes
/// meanwhile, the copy begins again.
pub(super) fn copy_directory(from: &Path, to: &Path) {
    let try_copy = || -> io::Result<bool> {
        let files = files_of(from)?;
        for file in files.keys() {
            let target = to.join(file.strip_prefix(from).expect("it is below"));
            fs::create_dir_all(target.parent().expect("it is in a directory"))?;
            fs::copy(file, target)?;
        }
        Ok(files_of(from)? == files)
    };
    loop {
        match try_copy() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}"),
        }
        fs::create_dir_all(to).and_then(|()| fs::remove_dir_all(to)).unwrap();
    }
}

/// The files below a directory, and how long they are.
fn files_of(directory: &Path) -> io::Result<BTreeMap<PathBuf, u64>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_of(&entry.path())?);
        } else {
            files.insert(entry.path(), entry.metadata()?.len());
        }
    }
    Ok(files)
}

fn variant(is_on_disk: bool) -> impl Strategy<Value = Variant> {
    (any::<bool>(), any::<bool>(), any::<bool>(), budget()).prop_map(
        move |(is_cached, undo, is_behind, budget)| Variant {
            is_on_disk,
            is_cached,
            undo,
            is_behind,
            budget,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn stores_in_memory_agree_with_the_model(
        variant in variant(false),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        check_steps::<StockBesideModel>(variant, &steps);
    }
}

proptest! {
    // Each opens a database several times.
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn stores_on_disk_agree_with_the_model(variant in variant(true), steps in prop::collection::vec(step(), 1..30)) {
        check_steps::<StockBesideModel>(variant, &steps);
    }
}
