//! Window and session stores against a map that forgets what is too old: on every combination of kind, engine, cache, undo, index
//! and budget.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::steps::{Subject, budget, check_steps, open_dormant_in};
use super::*;
use crate::key_range::Direction;
use crate::store::{SessionStoreBuilder, WindowStoreBuilder};
use crate::window::{Window, Windowed};

const RETENTION: i64 = 12;
const SIZE: i64 = 5;
/// Some begin like others, and one looks like a key with a time.
const KEYS: [&str; 4] = ["a", "ab", "a\0\0\0\0\0\0\0\u{7}\0\0\0\0", "b"];

#[derive(Debug, Clone)]
enum Step {
    Record { writes: Vec<(usize, Window, Option<i64>)>, fails: bool },
    Commit,
    Checkpoint,
    Rollback,
    Reopen,
    Restore,
}

#[derive(Debug, Clone, Copy)]
struct Variant {
    is_session: bool,
    is_on_disk: bool,
    is_cached: bool,
    undo: bool,
    is_indexed: bool,
    budget: usize,
}

impl Variant {
    fn time(self, window: Window) -> i64 {
        if self.is_session { window.end.as_millis() } else { window.start.as_millis() }
    }

    fn builder(self) -> Arc<dyn StoreBuilder> {
        let (name, retention) = ("windows", std::time::Duration::from_millis(RETENTION as u64));
        let (keys, values) = (String::serde(), i64::serde());
        if self.is_session {
            let builder =
                SessionStoreBuilder::new(name, retention, keys, values).with_caching(self.is_cached);
            Arc::new(if self.is_indexed { builder.found_by_time() } else { builder })
        } else {
            let size = std::time::Duration::from_millis(SIZE as u64);
            let builder =
                WindowStoreBuilder::new(name, retention, size, keys, values).with_caching(self.is_cached);
            Arc::new(if self.is_indexed { builder.found_by_time() } else { builder })
        }
    }
}

enum Store {
    Windows(WindowStore<String, i64>),
    Sessions(SessionStore<String, i64>),
}

impl Store {
    fn put(&self, key: &String, window: Window, row: Option<ValueAndTimestamp<i64>>) {
        match self {
            Store::Windows(store) => store.put(key, window.start, row).unwrap(),
            Store::Sessions(store) => store.put(key, window, row).unwrap(),
        }
    }

    fn get(&self, key: &String, window: Window) -> Option<ValueAndTimestamp<i64>> {
        match self {
            Store::Windows(store) => store.fetch(key, window.start).unwrap(),
            Store::Sessions(store) => store.fetch_session(key, window).unwrap(),
        }
    }

    /// The rows of a key between two times.
    fn of_key(&self, key: &String, from: i64, to: i64, direction: Direction) -> Vec<(Window, i64)> {
        match self {
            Store::Windows(store) => {
                let rows = store.fetch_range(key, at(from)..=at(to), direction).unwrap();
                let window = |start: Timestamp| Window::new(start, at(start.as_millis() + SIZE));
                rows.into_iter().map(|(start, row)| (window(start), row.value)).collect()
            }
            Store::Sessions(store) => {
                let rows = store.find_sessions(key, at(from), at(i64::MAX), direction).unwrap();
                let rows = rows.into_iter().map(|(session, row)| (session, row.value));
                rows.filter(|(session, _)| session.end <= at(to)).collect()
            }
        }
    }

    fn all(&self) -> Vec<(Windowed<String>, i64)> {
        let mut rows: Vec<_> = match self {
            Store::Windows(store) => store.all().unwrap().map(Result::unwrap).collect(),
            Store::Sessions(store) => store.all().unwrap().map(Result::unwrap).collect(),
        };
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        rows.into_iter().map(|(key, row)| (key, row.value)).collect()
    }

    fn set_emitted_to(&self, time: Timestamp) {
        match self {
            Store::Windows(store) => store.set_emitted_to(time),
            Store::Sessions(store) => store.set_emitted_to(time),
        }
    }

    fn by_time(&self, from: i64, to: i64) -> Vec<Windowed<String>> {
        match self {
            Store::Windows(store) => {
                store.by_time(at(from), at(to)).unwrap().map(|row| row.unwrap().0).collect()
            }
            Store::Sessions(store) => {
                store.by_time(at(from), at(to)).unwrap().map(|row| row.unwrap().0).collect()
            }
        }
    }
}

#[derive(Clone, Default, PartialEq, Debug)]
struct Model {
    /// By key, time and window.
    rows: BTreeMap<(String, i64, Window), i64>,
    observed: Option<i64>,
}

impl Model {
    fn oldest(&self) -> i64 {
        self.observed.map_or(i64::MIN, |observed| observed - RETENTION + 1)
    }

    fn put(&mut self, key: &str, time: i64, window: Window, value: Option<i64>) {
        if time < self.oldest() {
            return;
        }
        let place = (key.to_owned(), time, window);
        let changes = match value {
            Some(value) => {
                self.rows.insert(place, value);
                true
            }
            None => self.rows.remove(&place).is_some(),
        };
        if changes {
            self.observed = self.observed.max(Some(time));
        }
        let oldest = self.oldest();
        self.rows.retain(|(_, time, _), _| *time >= oldest);
    }
}

struct WindowsBesideModel {
    variant: Variant,
    root: tempfile::TempDir,
    stores: Option<TaskStores>,
    store: Store,
    now: i64,
    current: Model,
    committed: Model,
    topic: Vec<(Vec<u8>, Option<Vec<u8>>, i64)>,
}

impl Subject for WindowsBesideModel {
    type Variant = Variant;
    type Step = Step;

    fn new(variant: Variant) -> Self {
        let root = tempfile::tempdir().unwrap();
        let stores = open(variant, root.path()).wake(options(variant));
        let store = store(variant, &stores);
        let (current, committed) = (Model::default(), Model::default());
        Self { variant, root, stores: Some(stores), store, now: 0, current, committed, topic: Vec::new() }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Record { writes, fails } => {
                let before = self.current.clone();
                self.stores().begin_record();
                for (key, window, value) in writes {
                    self.put(KEYS[*key], *window, *value);
                }
                if *fails && self.variant.undo {
                    self.stores().undo_record();
                    self.current = before;
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
                self.current = self.committed.clone();
            }
            Step::Reopen => self.reopen(false),
            Step::Restore => self.reopen(true),
        }
    }

    fn check(&mut self) {
        let windowed = |key: &str, window| Windowed::new(key.to_owned(), window);
        let rows = self.current.rows.iter();
        let mut rows: Vec<_> =
            rows.map(|((key, _, window), value)| (windowed(key, *window), *value)).collect();
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        assert_eq!(self.store.all(), rows);
        for (windowed, value) in &rows {
            let row = self.store.get(&windowed.key, windowed.window);
            assert_eq!(row.map(|row| row.value), Some(*value), "{windowed}");
        }
        for key in KEYS {
            for (from, to) in [(0, i64::MAX), (10, 20), (self.current.oldest().max(0), 25)] {
                let expected = self
                    .current
                    .rows
                    .iter()
                    .filter(|((of, time, _), _)| of == key && (from..=to).contains(time));
                let mut expected: Vec<_> =
                    expected.map(|((_, _, window), value)| (*window, *value)).collect();
                expected.sort_by_key(|(window, _)| (self.variant.time(*window), window.start));
                let found = |direction| self.store.of_key(&key.to_owned(), from, to, direction);
                assert_eq!(found(Direction::Forward), expected, "{key:?} {from} {to}");
                expected.reverse();
                assert_eq!(found(Direction::Reverse), expected, "{key:?} {from} {to}");
            }
        }
        self.check_readers();
        if self.variant.is_indexed {
            let from = self.current.oldest().max(0);
            let mut expected: Vec<Windowed<String>> = rows.into_iter().map(|(key, _)| key).collect();
            expected.sort_by_key(|windowed| {
                let time = self.variant.time(windowed.window);
                (time, windowed.window.start, windowed.key.clone().into_bytes())
            });
            assert_eq!(self.store.by_time(from, i64::MAX), expected);
        }
    }
}

impl WindowsBesideModel {
    fn stores(&mut self) -> &mut TaskStores {
        self.stores.as_mut().unwrap()
    }

    fn put(&mut self, key: &str, window: Window, value: Option<i64>) {
        let window = if self.variant.is_session {
            window
        } else {
            Window::new(window.start, at(window.start.as_millis() + SIZE))
        };
        self.now += 1;
        let row = value.map(|value| ValueAndTimestamp::new(value, at(self.now)));
        self.store.put(&key.to_owned(), window, row);
        self.current.put(key, self.variant.time(window), window, value);
    }

    fn commit(&mut self) {
        if self.variant.is_indexed {
            // Rows that were not emitted would be kept however old they are.
            self.store.set_emitted_to(at(1_000));
        }
        self.stores().prepare_commit().unwrap();
        let mut logged = Vec::new();
        let sent = self.stores().drain_changelog(|entry| {
            let value = entry.value.map(<[u8]>::to_vec);
            logged.push((entry.key.to_vec(), value, entry.timestamp.as_millis()));
            Ok::<_, StoreError>(())
        });
        sent.unwrap();
        self.topic.extend(logged);
        self.stores().commit(Arc::new(Position::new())).unwrap();
        self.committed = self.current.clone();
    }

    /// Opens the stores again, from the disk and the changelog after what it has, or from the changelog alone.
    fn reopen(&mut self, from_nothing: bool) {
        if let Some(stores) = self.stores.take() {
            stores.close().unwrap();
        }
        if from_nothing {
            self.root = tempfile::tempdir().unwrap();
        }
        let mut stores = open(self.variant, self.root.path());
        let first = stores.stored_offset(STOCK.index()).map_or(0, |next| next.get() as usize);
        let records = self.topic[first..].iter().map(|(key, value, timestamp)| RestoreRow {
            key,
            value: value.as_deref(),
            timestamp: at(*timestamp),
        });
        stores.restore(STOCK.index(), records, Offset::new(self.topic.len() as i64)).unwrap();
        if self.topic.len().is_multiple_of(2) {
            stores.flush(STOCK.index()).unwrap();
        }
        let stores = stores.wake(options(self.variant));
        self.store = store(self.variant, &stores);
        self.stores = Some(stores);
        self.current = self.committed.clone();
        // The store's time begins with the first row; until then it may have some that were too old already.
        if let Some(observed) = self.current.observed {
            self.put("newest", Window::new(at(observed), at(observed)), Some(0));
            self.commit();
        }
    }

    fn check_readers(&mut self) {
        let layout = self.variant.builder().timed().unwrap();
        let reader = self.stores().reader("windows").unwrap();
        let scanned = reader.scan(layout.all_rows(), Direction::Forward).unwrap().map(Result::unwrap);
        let mut scanned: Vec<_> = scanned
            .map(|(row, _, value)| {
                let (key, window) = layout.split_row(&row).unwrap();
                let value = i64::from_be_bytes(value.try_into().unwrap());
                ((String::from_utf8(key.to_vec()).unwrap(), self.variant.time(window), window), value)
            })
            .collect();
        scanned.sort();
        let expected: Vec<_> = self.committed.rows.clone().into_iter().collect();
        assert_eq!(scanned, expected);
        for ((key, _, window), value) in &expected {
            let (_, found) = reader.get(&layout.row_key(key.as_bytes(), *window)).unwrap().unwrap();
            assert_eq!(found, value.to_be_bytes());
        }
    }
}

fn open(variant: Variant, root: &std::path::Path) -> DormantStores {
    open_dormant_in(variant.is_on_disk.then_some(root), variant.budget, variant.builder())
}

fn options(variant: Variant) -> TaskStoresOptions {
    TaskStoresOptions { undo: variant.undo, ..TaskStoresOptions::default() }
}

fn store(variant: Variant, stores: &TaskStores) -> Store {
    if variant.is_session {
        Store::Sessions(stores.session("windows").unwrap())
    } else {
        Store::Windows(stores.window("windows").unwrap())
    }
}

fn window() -> impl Strategy<Value = Window> {
    (0..30_i64, 0..4_i64).prop_map(|(start, length)| Window::new(at(start), at(start + length)))
}

fn step() -> impl Strategy<Value = Step> {
    let write = (0..KEYS.len(), window(), prop::option::weighted(0.8, -5..5_i64));
    let record = (prop::collection::vec(write, 1..4), prop::bool::weighted(0.2));
    prop_oneof![
        8 => record.prop_map(|(writes, fails)| Step::Record { writes, fails }),
        3 => Just(Step::Commit),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Rollback),
        1 => Just(Step::Reopen),
        1 => Just(Step::Restore),
    ]
}

fn variant(is_on_disk: bool) -> impl Strategy<Value = Variant> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), budget()).prop_map(
        move |(is_session, is_cached, undo, is_indexed, budget)| Variant {
            is_session,
            is_on_disk,
            is_cached,
            undo,
            is_indexed,
            budget,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn window_and_session_stores_in_memory_agree_with_the_model(
        variant in variant(false),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        check_steps::<WindowsBesideModel>(variant, &steps);
    }
}

proptest! {
    // Each opens a database several times.
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn window_and_session_stores_on_disk_agree_with_the_model(
        variant in variant(true),
        steps in prop::collection::vec(step(), 1..30),
    ) {
        check_steps::<WindowsBesideModel>(variant, &steps);
    }
}
