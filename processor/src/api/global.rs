//! The global tables of an instance: kept by a thread of their own, read by every task that joins with them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use millstream_state_stores::{CommittedStore, KeyValueStoreBuilder, StoreBuilder, StoreReader, StoreTypes};

use crate::error::{Error, Result};
use crate::topology::Topology;

/// The global tables by the names of their stores, with their rows once these are complete.
#[derive(Default)]
pub(crate) struct GlobalTables {
    tables: BTreeMap<String, GlobalTable>,
}

struct GlobalTable {
    builder: Arc<dyn StoreBuilder>,
    /// Set once, before the first task is built.
    rows: OnceLock<Arc<StoreReader>>,
}

impl GlobalTables {
    /// Those of a topology, none of them complete.
    pub(crate) fn of(topology: &Topology) -> Arc<Self> {
        let names = topology.global_stores.iter();
        let builders = names.filter_map(|name| Some((name.clone(), Arc::clone(topology.store(name)?))));
        let tables = builders.map(|(name, builder)| (name, GlobalTable { builder, rows: OnceLock::new() }));
        Arc::new(GlobalTables { tables: tables.collect() })
    }

    /// Takes note of the rows of a table that is complete, and stays the table's for the life of the application.
    pub(crate) fn complete(&self, store: &str, rows: Arc<StoreReader>) {
        if let Some(table) = self.tables.get(store) {
            table.rows.get_or_init(|| rows);
        }
    }

    /// The rows of a table, for one task.
    pub(crate) fn store<K: 'static, V: 'static>(&self, store: &str) -> Result<CommittedStore<K, V>> {
        let table = self
            .tables
            .get(store)
            .ok_or_else(|| Error::invalid(format!("store {store} is no global store of the topology")))?;
        let typed = table.builder.as_any().downcast_ref::<KeyValueStoreBuilder<K, V>>().ok_or_else(|| {
            let (key, value) = (std::any::type_name::<K>(), std::any::type_name::<V>());
            let asked = StoreTypes { kind: "key-value", key, value };
            Error::invalid(format!("global store {store} is {}, and not {asked}", table.builder.types()))
        })?;
        let rows = table.rows.get().ok_or_else(|| {
            Error::fatal(format!("a task was built before global store {store} was complete"))
        })?;
        Ok(typed.committed(Arc::clone(rows)))
    }
}
