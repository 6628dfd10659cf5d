//! The rows of all stores of a topology, whatever their types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use millstream::testing::TopologyTestDriver;
use millstream::{
    HasSerde, Materialized, SessionStoreName, StoreName, StoreOptions, StoreTypes, TimedKind, Timestamp,
    Topology, ValueAndTimestamp, VersionedRecord, WindowStoreName, Windowed,
};

use super::super::case::{Case, Store};
use super::super::functions::Readable;
use super::super::observation::Row;

/// Names and types of a topology's stores.
pub(super) fn stores_of(topology: &Topology) -> Vec<(String, StoreTypes)> {
    topology.stores().map(|store| (store.name().to_owned(), store.types())).collect()
}

/// The rows of each store that has rows to show. What joins and buffers keep for themselves is left out: its changelog tells enough.
pub(super) fn rows(
    driver: &TopologyTestDriver,
    stores: &[(String, StoreTypes)],
    case: &Case,
) -> Result<BTreeMap<String, Vec<Row>>> {
    let mut all = BTreeMap::new();
    for (name, types) in stores.iter().filter(|(name, _)| !is_of_a_join(name)) {
        let name = interned(name);
        let rows = match (types.kind, last_word(types.key), last_word(types.value)) {
            ("versioned", "String", "String") => versions::<String>(driver, name, case)?,
            ("versioned", "String", "u64") => versions::<u64>(driver, name, case)?,
            ("key-value", "String", "String") => key_value_rows::<String, String>(driver, name)?,
            ("key-value", "String", "u64") => key_value_rows::<String, u64>(driver, name)?,
            ("key-value", "String>", "String") => key_value_rows::<Windowed<String>, String>(driver, name)?,
            ("key-value", "String>", "u64") => key_value_rows::<Windowed<String>, u64>(driver, name)?,
            ("window", _, "String") => window_rows::<String>(driver, name)?,
            ("window", _, "u64") => window_rows::<u64>(driver, name)?,
            ("session", _, "String") => session_rows::<String>(driver, name)?,
            ("session", _, "u64") => session_rows::<u64>(driver, name)?,
            _ => continue,
        };
        all.insert(name.to_owned(), rows);
    }
    Ok(all)
}

fn is_of_a_join(store: &str) -> bool {
    store.starts_with("KSTREAM-JOIN") || store.starts_with("KSTREAM-OUTER") || store.ends_with("-join-store")
}

/// Of the name of a type.
fn last_word(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

fn key_value_rows<K, V>(driver: &TopologyTestDriver, name: &'static str) -> Result<Vec<Row>>
where
    K: Readable + Clone + 'static,
    V: Readable + Clone + 'static,
{
    let rows = driver.key_value_store(StoreName::<K, V>::new(name))?.all()?;
    rows.map(|row| row.map(|(key, row)| timed(&key, &row)).map_err(Into::into)).collect()
}

fn window_rows<V>(driver: &TopologyTestDriver, name: &'static str) -> Result<Vec<Row>>
where
    V: Readable + Clone + 'static,
{
    let rows = driver.window_store(WindowStoreName::<String, V>::new(name))?.all()?;
    rows.map(|row| row.map(|(key, row)| timed(&key, &row)).map_err(Into::into)).collect()
}

/// A session has no time of its own but its end.
fn session_rows<V>(driver: &TopologyTestDriver, name: &'static str) -> Result<Vec<Row>>
where
    V: Readable + Clone + 'static,
{
    let rows = driver.session_store(SessionStoreName::<String, V>::new(name))?.all()?;
    let untimed = |(key, row)| Row { at: None, ..timed(&key, &row) };
    rows.map(|row| row.map(untimed).map_err(Into::into)).collect()
}

/// What a store that remembers says of the keys of the inputs, as of their times and as of now.
fn versions<V>(driver: &TopologyTestDriver, name: &'static str, case: &Case) -> Result<Vec<Row>>
where
    V: Readable + Clone + 'static,
{
    let store = driver.versioned_store(StoreName::<String, V>::new(name))?;
    let keys: BTreeSet<&String> = case.inputs().filter_map(|input| input.key.as_ref()).collect();
    let times: BTreeSet<i64> = case.inputs().map(|input| input.at).collect();
    let mut rows = Vec::new();
    for key in keys {
        for time in &times {
            let version = store.get_as_of(key, Timestamp::from_millis(*time))?;
            rows.extend(version.map(|version| version_row(format!("{key} as of {time}"), &version)));
        }
        rows.extend(store.get(key)?.map(|version| version_row(key.clone(), &version)));
    }
    Ok(rows)
}

fn version_row<V: Readable>(key: String, version: &VersionedRecord<V>) -> Row {
    Row { key, value: version.value.text(), at: Some(version.valid_from.as_millis()) }
}

fn timed<K: Readable, V: Readable>(key: &K, row: &ValueAndTimestamp<V>) -> Row {
    Row { key: key.text(), value: row.value.text(), at: Some(row.timestamp.as_millis()) }
}

/// How a table is to be kept.
pub(super) fn materialized<K: HasSerde, V: HasSerde>(store: Option<&Store>) -> Materialized<K, V> {
    let kept: Materialized<K, V> = kept(store);
    match store.and_then(|store| store.versioned) {
        Some(retention) => kept.versioned(Duration::from_millis(retention)),
        None => kept,
    }
}

/// How a table of windows or sessions is to be kept.
pub(super) fn materialized_in<K: HasSerde, V: HasSerde, S: TimedKind>(
    store: Option<&Store>,
) -> Materialized<K, V, S> {
    let kept: Materialized<K, V, S> = kept(store);
    match store.and_then(|store| store.retention) {
        Some(retention) => kept.with_retention(Duration::from_millis(retention)),
        None => kept,
    }
}

/// What can be asked of a store of any kind.
fn kept<K: HasSerde, V: HasSerde, S>(store: Option<&Store>) -> Materialized<K, V, S> {
    let Some(Store { name, cached, logged, in_memory, .. }) = store else { return ().into() };
    let mut kept: Materialized<K, V, S> = match name {
        Some(name) => StoreName::new(interned(name)).into(),
        None => ().into(),
    };
    if !cached {
        kept = kept.without_caching();
    }
    if !logged {
        kept = kept.without_logging();
    }
    if *in_memory {
        kept = kept.in_memory();
    }
    kept
}

/// Store names are constants of programs; a case's are made to be some.
pub(super) fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = names.get(name) {
        return name;
    }
    let name: &'static str = name.to_owned().leak();
    names.insert(name);
    name
}
