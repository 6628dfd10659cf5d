//! Rows in memory, for stores that are rebuilt from their changelog at every start, and for the test driver.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Engine, EngineScan, EngineSizes};
use crate::error::StoreError;
use crate::expiry::Expiry;
use crate::key_range::{Direction, KeyRange};
use crate::overlay::Overlay;
use crate::snapshot_map::{self, SnapshotMap};
use crate::types::{LogPartition, LogPosition, StoreIndex, TopicId};

/// The stores of one task in memory. Lives as long as the task is open.
pub(crate) struct MemoryEngine {
    /// One entry per store of the task. Held for single operations on a map only: never while a scan runs.
    stores: Mutex<Vec<MemoryStore>>,
    /// By store: which rows are too old, if rows can be.
    expiries: Vec<Option<Arc<Expiry>>>,
}

#[derive(Clone, Default)]
pub(super) struct MemoryStore {
    pub(super) rows: SnapshotMap<Arc<[u8]>>,
    pub(super) positions: BTreeMap<LogPartition, LogPosition>,
    changelog: Option<TopicId>,
    /// How many rows there were when those that were too old were last removed.
    kept_rows: usize,
}

/// Below this it is not worth looking for rows that are too old.
const LEAST_ROWS: usize = 1 << 10;

impl MemoryEngine {
    /// An engine with a store for each of these.
    pub(crate) fn new(expiries: Vec<Option<Arc<Expiry>>>) -> Self {
        Self { stores: Mutex::new(vec![MemoryStore::default(); expiries.len()]), expiries }
    }

    /// All stores as they are now.
    pub(super) fn stores(&self) -> Vec<MemoryStore> {
        self.stores.lock().clone()
    }

    /// [`Engine::write`], for one table whose rows this says are too old.
    pub(super) fn put(&self, store: StoreIndex, rows: &Overlay, expiry: Option<&Expiry>) {
        // Readers see none of it or all. Writes come one at a time, so nothing changes in between.
        let mut next = self.snapshot(store);
        let mut rows = rows.scan(&KeyRange::all(), Direction::Forward);
        while let Some((key, row)) = rows.next_row() {
            match row {
                Some(row) => drop(next.insert(Arc::from(key), Arc::from(row))),
                None => drop(next.remove(key)),
            }
        }
        let kept_rows = self.stores.lock()[store.get()].kept_rows;
        let purged = expiry.filter(|_| next.len() > LEAST_ROWS.max(2 * kept_rows)).map(|expiry| {
            let kept = next.iter().filter(|(key, _)| !expiry.has_expired(key));
            next = kept.map(|(key, row)| (Arc::clone(key), Arc::clone(row))).collect();
            next.len()
        });
        let store = &mut self.stores.lock()[store.get()];
        store.rows = next;
        store.kept_rows = purged.unwrap_or(kept_rows);
    }

    fn snapshot(&self, store: StoreIndex) -> SnapshotMap<Arc<[u8]>> {
        self.stores.lock()[store.get()].rows.clone()
    }
}

impl Engine for MemoryEngine {
    fn get(&self, store: StoreIndex, key: &[u8], row: &mut Vec<u8>) -> Result<bool, StoreError> {
        row.clear();
        let found = self.stores.lock()[store.get()].rows.get(key).cloned();
        Ok(found.map(|found| row.extend_from_slice(&found)).is_some())
    }

    fn scan(
        self: Arc<Self>,
        store: StoreIndex,
        range: KeyRange,
        direction: Direction,
    ) -> Result<EngineScan, StoreError> {
        let rows = snapshot_map::scan(self.snapshot(store), range, direction);
        Ok(Box::new(rows.map(|(key, row)| Ok((key.to_vec(), row.to_vec())))))
    }

    fn write(&self, tables: &[(StoreIndex, &Overlay)]) -> Result<(), StoreError> {
        for (table, rows) in tables {
            self.put(*table, rows, self.expiries[table.get()].as_deref());
        }
        Ok(())
    }

    fn set_positions(&self, positions: &[(LogPartition, LogPosition)]) -> Result<(), StoreError> {
        let mut stores = self.stores.lock();
        for (log, position) in positions {
            stores[log.store().get()].positions.insert(*log, *position);
        }
        Ok(())
    }

    fn set_changelog(&self, store: StoreIndex, topic: TopicId) -> Result<(), StoreError> {
        self.stores.lock()[store.get()].changelog = Some(topic);
        Ok(())
    }

    fn changelog(&self, store: StoreIndex) -> Result<Option<TopicId>, StoreError> {
        Ok(self.stores.lock()[store.get()].changelog)
    }

    fn clear(&self, tables: &[StoreIndex]) -> Result<(), StoreError> {
        let mut stores = self.stores.lock();
        for table in tables {
            let cleared = &mut stores[table.get()];
            *cleared = MemoryStore { changelog: cleared.changelog, ..MemoryStore::default() };
        }
        Ok(())
    }

    fn position(&self, log: LogPartition) -> Result<Option<LogPosition>, StoreError> {
        Ok(self.stores.lock()[log.store().get()].positions.get(&log).copied())
    }

    fn has_position(&self, store: StoreIndex) -> Result<bool, StoreError> {
        Ok(!self.stores.lock()[store.get()].positions.is_empty())
    }

    fn approximate_num_entries(&self, store: StoreIndex) -> Result<u64, StoreError> {
        Ok(self.snapshot(store).len() as u64)
    }

    fn sizes(&self) -> Result<EngineSizes, StoreError> {
        let estimated_keys = self.stores.lock().iter().map(|store| store.rows.len() as u64).sum();
        Ok(EngineSizes { estimated_keys, ..EngineSizes::default() })
    }
}
