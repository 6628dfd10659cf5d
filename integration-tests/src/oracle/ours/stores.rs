//! The rows of all stores of a topology, whatever their types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use millstream::testing::TopologyTestDriver;
use millstream::{HasSerde, Materialized, StoreName, StoreOptions, StoreTypes, Topology};

use super::super::case::Store;
use super::super::functions::Datum;
use super::super::observation::Row;

/// Names and types of a topology's stores.
pub(super) fn stores_of(topology: &Topology) -> Vec<(String, StoreTypes)> {
    topology.stores().map(|store| (store.name().to_owned(), store.types())).collect()
}

/// The rows of each store that has rows to show.
pub(super) fn rows(
    driver: &TopologyTestDriver,
    stores: &[(String, StoreTypes)],
) -> Result<BTreeMap<String, Vec<Row>>> {
    let mut all = BTreeMap::new();
    for (name, types) in stores {
        let rows = match (types.kind, types.value.rsplit("::").next()) {
            ("key-value", Some("String")) => key_value_rows::<String>(driver, name)?,
            ("key-value", Some("u64")) => key_value_rows::<u64>(driver, name)?,
            _ => continue,
        };
        all.insert(name.clone(), rows);
    }
    Ok(all)
}

fn key_value_rows<V: Datum + Clone + 'static>(driver: &TopologyTestDriver, name: &str) -> Result<Vec<Row>> {
    let rows = driver.key_value_store(StoreName::<String, V>::new(interned(name)))?.all()?;
    let rows = rows.map(|row| {
        let (key, row) = row?;
        Ok(Row { key, value: row.value.text(), at: Some(row.timestamp.as_millis()) })
    });
    rows.collect()
}

/// How a table is to be kept.
pub(super) fn materialized<K: HasSerde, V: HasSerde>(store: Option<&Store>) -> Materialized<K, V> {
    let Some(Store { name, cached, logged, in_memory, versioned: _ }) = store else { return ().into() };
    let mut kept: Materialized<K, V> = match name {
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
