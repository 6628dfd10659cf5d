//! Rows that no store wrote, in changelogs and on the disk, of every kind of store: what cannot be read is an error, for the task as for
//! those who query it.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::config;
use super::edits::bytes_like;
use crate::dormant::{DormantStores, RestoreRow};
use crate::error::StoreError;
use crate::format::{SegmentSerde, TimedKeys, companion, row};
use crate::key_range::{Direction, KeyRange};
use crate::memory::StateMemory;
use crate::overlay::{Overlay, Run};
use crate::position::Position;
use crate::serde::{HasSerde, Serde};
use crate::store::{
    KeyValueStoreBuilder, Segment, SessionStoreBuilder, StoreBuilder, ValueAndTimestamp, Version,
    WindowStoreBuilder,
};
use crate::task_stores::{TaskStores, TaskStoresOptions};
use crate::types::{Offset, StoreIndex, TaskId, Timestamp};
use crate::window::Window;

/// Cases of whole stores take longer than those of a decoder.
const CASES: u32 = 16;

const TASK: TaskId = TaskId { subtopology: 0, partition: 0 };

/// A kind of store with text for keys and numbers for values.
#[derive(Clone, Copy, Debug)]
enum Kind {
    KeyValue,
    WithTtl,
    Versioned,
    Window { is_found_by_time: bool, retains_duplicates: bool },
    Session { is_found_by_time: bool },
}

const NAME: &str = "store";
const SPAN: Duration = Duration::from_millis(100);

impl Kind {
    const ALL: [Self; 8] = [
        Self::KeyValue,
        Self::WithTtl,
        Self::Versioned,
        Self::Window { is_found_by_time: false, retains_duplicates: false },
        Self::Window { is_found_by_time: true, retains_duplicates: false },
        Self::Window { is_found_by_time: false, retains_duplicates: true },
        Self::Session { is_found_by_time: false },
        Self::Session { is_found_by_time: true },
    ];

    fn builder(self) -> Arc<dyn StoreBuilder> {
        let key_value = || KeyValueStoreBuilder::new(NAME, String::serde(), i64::serde());
        match self {
            Self::KeyValue => Arc::new(key_value()),
            Self::WithTtl => Arc::new(key_value().with_ttl(SPAN)),
            Self::Versioned => Arc::new(key_value().versioned(SPAN)),
            Self::Window { is_found_by_time, retains_duplicates } => {
                let builder = WindowStoreBuilder::new(NAME, SPAN, SPAN / 10, String::serde(), i64::serde());
                let builder = if is_found_by_time { builder.found_by_time() } else { builder };
                Arc::new(if retains_duplicates { builder.retaining_duplicates() } else { builder })
            }
            Self::Session { is_found_by_time } => {
                let builder = SessionStoreBuilder::new(NAME, SPAN, String::serde(), i64::serde());
                Arc::new(if is_found_by_time { builder.found_by_time() } else { builder })
            }
        }
    }

    /// How its keys carry time, if they do.
    fn timed_keys(self) -> Option<TimedKeys> {
        match self {
            Self::KeyValue | Self::WithTtl | Self::Versioned => None,
            Self::Window { .. } => Some(TimedKeys::Window),
            Self::Session { .. } => Some(TimedKeys::Session),
        }
    }

    /// Keys on the disk.
    fn stored_keys(self) -> Vec<Vec<u8>> {
        match self.timed_keys() {
            None => vec![b"apples".to_vec(), b"pears".to_vec()],
            Some(keys) => {
                let of = |key: &[u8], millis| {
                    let mut row = Vec::new();
                    keys.row(key, keys.first_of(at(millis)), &mut row);
                    row
                };
                let row = of(b"apples", 90);
                let mut index = Vec::new();
                keys.index(&row, &mut index);
                vec![row, index, of(b"pears", 0), crate::format::MARK_KEY.to_vec()]
            }
        }
    }

    /// Keys in the changelog.
    fn logged_keys(self) -> Vec<Vec<u8>> {
        let Some(keys) = self.timed_keys() else { return self.stored_keys() };
        let of_rows = self.stored_keys().into_iter().filter(|key| keys.split_row(key).is_some());
        let mut mark = Vec::new();
        keys.logged_mark(&mut mark);
        of_rows.map(|mut row| row.split_off(1)).chain([mark]).collect()
    }

    /// Keys of what it keeps besides its rows.
    fn companion_keys() -> Vec<Vec<u8>> {
        let (mut timed, mut untimed) = (Vec::new(), Vec::new());
        companion::timed(at(96), b"apples", &mut timed);
        companion::untimed(b"apples", &mut untimed);
        vec![timed, untimed, companion::STREAM_TIME.to_vec()]
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn time() -> impl Strategy<Value = Timestamp> {
    const ENDS: &[i64] = &[i64::MIN, -1, 0, i64::MAX - 1, i64::MAX];
    prop_oneof![4 => 0..200_i64, 2 => prop::sample::select(ENDS), 1 => any::<i64>()].prop_map(at)
}

/// A number, mostly.
fn value() -> impl Strategy<Value = Vec<u8>> {
    bytes_like(vec![7_i64.to_be_bytes().to_vec()])
}

#[derive(Clone, Debug)]
struct LoggedRow {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: Timestamp,
}

fn logged_row(kind: Kind) -> impl Strategy<Value = LoggedRow> {
    // Others than those of the store are an error of the whole batch: few of them, or nothing else is ever tried.
    let keys = kind.logged_keys();
    let key = prop_oneof![9 => prop::sample::select(keys.clone()), 1 => bytes_like(keys)];
    let number = Just(7_i64.to_be_bytes().to_vec());
    let value = prop::option::weighted(0.8, prop_oneof![number, value()]);
    (key, value, time()).prop_map(|(key, value, timestamp)| LoggedRow { key, value, timestamp })
}

/// A row of the disk: its timestamp, its value.
fn stored_row(values: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let whole = |(timestamp, value): (Timestamp, Vec<u8>)| {
        let mut bytes = Vec::new();
        row::begin(timestamp, &mut bytes);
        bytes.extend_from_slice(&value);
        bytes
    };
    prop_oneof![
        9 => (time(), prop_oneof![prop::sample::select(values.clone()), bytes_like(values)]).prop_map(whole),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ]
}

fn segments() -> Vec<Vec<u8>> {
    let mut segment = Segment::default();
    for (from, value) in [(90, Some(1_i64)), (93, None), (95, Some(2))] {
        segment.push(Version { from: at(from), value });
    }
    let mut bytes = Vec::new();
    SegmentSerde::new(i64::serde()).encode(&segment, &mut bytes).unwrap();
    vec![bytes, Vec::new()]
}

type StoredRows = Vec<(Vec<u8>, Vec<u8>)>;

fn stored_rows(keys: Vec<Vec<u8>>, values: Vec<Vec<u8>>) -> impl Strategy<Value = StoredRows> {
    let key = prop_oneof![3 => prop::sample::select(keys.clone()), 1 => bytes_like(keys)];
    prop::collection::vec((key, stored_row(values)), 0..6)
}

fn open(kind: Kind) -> DormantStores {
    DormantStores::open(TASK, "shop", None, StateMemory::new(1 << 20), &[kind.builder()]).unwrap()
}

/// The only one.
fn store() -> StoreIndex {
    StoreIndex::new(0)
}

#[test]
fn changelogs() {
    for kind in Kind::ALL {
        let rows = (prop::collection::vec(logged_row(kind), 0..12), any::<bool>());
        let outcome = TestRunner::new(config(CASES)).run(&rows, |(rows, is_flushed)| {
            let mut stores = open(kind);
            let records = rows.iter().map(|row| RestoreRow {
                key: &row.key,
                value: row.value.as_deref(),
                timestamp: row.timestamp,
            });
            let restored = stores.restore(store(), records, Offset::new(i64::MAX));
            if let Err(error) = restored {
                prop_assert!(is_of_the_rows(&error), "{error}");
                return Ok(());
            }
            if is_flushed {
                stores.flush(store()).unwrap();
            }
            stores.make_ready(store()).unwrap();
            use_everything(kind, stores)
        });
        outcome.unwrap_or_else(|failure| panic!("{kind:?}: {failure}"));
    }
}

#[test]
fn rows_of_an_engine() {
    for kind in Kind::ALL {
        let number = vec![7_i64.to_be_bytes().to_vec()];
        let beside = match kind {
            Kind::Versioned => segments(),
            _ => vec![Vec::new()],
        };
        let rows = (stored_rows(kind.stored_keys(), number), stored_rows(Kind::companion_keys(), beside));
        let outcome = TestRunner::new(config(CASES)).run(&rows, |(rows, beside)| {
            let stores = open(kind);
            let table = stores.stores[store().get()].companion.as_ref().map(|companion| companion.table);
            for (table, rows) in [(Some(store()), rows), (table, beside)] {
                let Some(table) = table else { continue };
                let mut run = Run::default();
                rows.iter().for_each(|(key, row)| run.put(key, Some(row)));
                let mut overlay = Overlay::default();
                overlay.extend([Arc::new(run)]);
                stores.engines[0].write(&[(table, &overlay)]).unwrap();
            }
            use_everything(kind, stores)
        });
        outcome.unwrap_or_else(|failure| panic!("{kind:?}: {failure}"));
    }
}

/// Whether an error says that rows cannot be read, and nothing else.
fn is_of_the_rows(error: &StoreError) -> bool {
    use StoreError::{MalformedKey, MalformedRow, Poisoned, Serde};
    matches!(error, MalformedKey { .. } | MalformedRow { .. } | Poisoned { .. } | Serde { .. })
}

/// Reads and writes whatever can be read and written, by the task and by those who query it.
fn use_everything(kind: Kind, stores: DormantStores) -> Result<(), TestCaseError> {
    let mut stores = stores.wake(TaskStoresOptions::default());
    let mut errors = Vec::new();
    for round in 0..2 {
        query(kind, &stores, &mut errors);
        match kind {
            Kind::KeyValue | Kind::WithTtl => use_key_value(&stores, &mut errors),
            Kind::Versioned => use_versions(&stores, &mut errors),
            Kind::Window { is_found_by_time, .. } => use_windows(&stores, is_found_by_time, &mut errors),
            Kind::Session { is_found_by_time } => use_sessions(&stores, is_found_by_time, &mut errors),
        }
        note(stores.drop_expired(), &mut errors);
        if let Err(error) = stores.prepare_commit() {
            // The task rolls back then.
            errors.push(error);
            stores.rollback();
            continue;
        }
        stores.drain_changelog(|_| Ok::<_, StoreError>(())).unwrap();
        stores.commit(Arc::new(Position::new())).unwrap();
        stores.checkpoint(&[(store().into(), Offset::new(round).into())]).unwrap();
    }
    for error in errors {
        prop_assert!(is_of_the_rows(&error), "{error}");
    }
    Ok(())
}

/// Takes note of an error. What there is else was read to see that it can be.
fn note<T>(read: Result<T, StoreError>, errors: &mut Vec<StoreError>) -> Option<T> {
    read.map_err(|error| errors.push(error)).ok()
}

fn note_all<T>(
    rows: Result<impl Iterator<Item = Result<T, StoreError>>, StoreError>,
    errors: &mut Vec<StoreError>,
) {
    for row in note(rows, errors).into_iter().flatten() {
        note(row, errors);
    }
}

fn query(kind: Kind, stores: &TaskStores, errors: &mut Vec<StoreError>) {
    let (reader, builder) = (stores.reader(NAME).unwrap(), kind.builder());
    for direction in [Direction::Forward, Direction::Reverse] {
        for row in note(reader.scan(KeyRange::all(), direction), errors).into_iter().flatten() {
            let Some((key, _, value)) = note(row, errors) else { continue };
            drop((builder.key_to_json(&key), builder.value_to_json(&value)));
            let split = builder.timed().and_then(|layout| layout.split_row(&key));
            assert!(split.is_none_or(|(part, _window)| part.len() < key.len()));
            note(reader.get(&key), errors);
        }
    }
    for key in kind.stored_keys() {
        note(reader.get(&key), errors);
        if let Kind::Versioned = kind {
            for as_of in [i64::MIN, -1, 0, 91, 94, i64::MAX] {
                note(reader.get_as_of(&key, at(as_of)), errors);
            }
        }
    }
}

/// Times of records: none is negative, as records with such times are left out before.
const TIMES: [i64; 5] = [0, 50, 95, 150, i64::MAX];

fn apples() -> String {
    "apples".to_owned()
}

fn number(millis: i64) -> Option<ValueAndTimestamp<i64>> {
    Some(ValueAndTimestamp::new(1, at(millis)))
}

fn use_key_value(stores: &TaskStores, errors: &mut Vec<StoreError>) {
    let kept = stores.key_value::<String, i64>(NAME).unwrap();
    note_all(kept.all(), errors);
    note_all(kept.range((Bound::Included(apples()), Bound::Unbounded)), errors);
    note_all(kept.prefix_scan(b"a"), errors);
    for millis in TIMES {
        note(kept.get(&apples()), errors);
        let added = kept.update(&apples(), at(millis), true, |row| {
            let before = row.map_or(0, |row| row.value);
            Ok::<_, StoreError>(Some(ValueAndTimestamp::new(before.wrapping_add(1), at(millis))))
        });
        note(added, errors);
    }
    note(kept.put(&"pears".to_owned(), None), errors);
}

fn use_versions(stores: &TaskStores, errors: &mut Vec<StoreError>) {
    let kept = stores.versioned::<String, i64>(NAME).unwrap();
    for key in [apples(), "pears".to_owned()] {
        for millis in TIMES {
            note(kept.get(&key), errors);
            note(kept.get_as_of(&key, at(millis)), errors);
            note(kept.put(&key, Some(1), at(millis)), errors);
            note(kept.delete(&key, at(millis.saturating_sub(2))), errors);
        }
    }
}

fn use_windows(stores: &TaskStores, is_found_by_time: bool, errors: &mut Vec<StoreError>) {
    let kept = stores.window::<String, i64>(NAME).unwrap();
    let all = ..;
    note_all(kept.all(), errors);
    note_all(kept.fetch_all(at(10)..at(95), Direction::Reverse), errors);
    for millis in TIMES {
        note(kept.fetch(&apples(), at(millis)), errors);
        note(kept.fetch_range(&apples(), all, Direction::Forward), errors);
        note(kept.fetch_range(&apples(), ..=at(millis), Direction::Reverse), errors);
        note(kept.put(&apples(), at(millis), number(millis)), errors);
    }
    note(kept.emissions(), errors);
    if is_found_by_time {
        note_all(kept.by_time(at(0), at(i64::MAX)), errors);
        note(kept.emitted_to(), errors);
        kept.set_emitted_to(at(90));
    }
}

fn use_sessions(stores: &TaskStores, is_found_by_time: bool, errors: &mut Vec<StoreError>) {
    let kept = stores.session::<String, i64>(NAME).unwrap();
    note_all(kept.all(), errors);
    for millis in TIMES {
        note(kept.fetch(&apples(), Direction::Reverse), errors);
        note(kept.find_sessions(&apples(), at(millis), at(95), Direction::Forward), errors);
        let session = Window::new(at(millis / 2), at(millis));
        note(kept.fetch_session(&apples(), session), errors);
        note(kept.put(&apples(), session, number(millis)), errors);
    }
    note(kept.emissions(), errors);
    if is_found_by_time {
        note_all(kept.by_time(at(0), at(i64::MAX)), errors);
        note(kept.emitted_to(), errors);
        kept.set_emitted_to(at(90));
    }
}
