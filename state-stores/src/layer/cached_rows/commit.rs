//! What becomes of the changes of a store: encoded and logged, published, or taken back.

use std::sync::Arc;

use super::CachedRows;
use crate::error::StoreError;
use crate::format::row;
use crate::layer::ChangelogEntry;
use crate::layer::table::Base;
use crate::layer::values::ValueEncoder;
use crate::overlay::{RowPlace, Run};
use crate::position::Position;
use crate::types::Timestamp;

/// How many rows the clock looks at between two looks at the budget, when a commit has made rows evictable.
const EVICTION_STRIDE: usize = 256;

impl<V: Clone> CachedRows<V> {
    /// The mark that is committed; to be read before one is set.
    pub(in crate::layer) fn read_mark(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.beside.as_mut().map_or(Ok(None), |beside| beside.read_mark(&self.committed))
    }

    /// Sets the mark, which is committed with the rows.
    pub(in crate::layer) fn set_mark(&mut self, mark: Timestamp) {
        if let Some(beside) = &mut self.beside {
            beside.set_mark(mark);
        }
    }

    pub(in crate::layer) fn prepare_commit(&mut self) -> Result<(), StoreError> {
        self.check_usable()?;
        let logs_now = self.identity.is_cached && self.identity.is_logged;
        let (store, unlogged) = (self.identity.store, self.identity.unlogged_key_bytes);
        if let Some(beside) = &mut self.beside
            && self.identity.is_logged
        {
            beside.log(store, &self.context);
        }
        let mut changelog = self.context.changelog.borrow_mut();
        let mut encoder = ValueEncoder::new(&self.identity, &self.value_serde, &mut self.typical_value_bytes);
        for (change, key, row) in self.table.changes_and_rows() {
            if change.encoded.is_some() {
                continue;
            }
            if row.is_none() && matches!(change.base, Base::Unread) {
                // A key that came and went: whether that is news depends on what was there before.
                change.base = Base::Known(self.committed.row(key, &self.value_serde, &mut self.buffer)?);
            }
            let encoded = RowPlace::append(&mut self.prepared, key, |bytes| {
                let Some(row) = row else { return Ok(false) };
                row::begin(row.timestamp, bytes);
                encoder.append(&row.value, bytes)?;
                Ok::<_, StoreError>(true)
            })?;
            if logs_now && change.is_news(encoded) {
                let value = encoded.row(&self.prepared).and_then(row::split).map(|(_, value)| value);
                let key = &key[unlogged..];
                changelog.append(ChangelogEntry { store, key, value, timestamp: change.at });
            }
            change.encoded = Some(encoded);
        }
        Ok(())
    }

    pub(in crate::layer) fn commit(&mut self, position: &Arc<Position>) {
        let beside = match &mut self.beside {
            Some(beside) => {
                let rows = beside.prepare(&mut self.table, &mut self.prepared);
                beside.commit();
                rows
            }
            None => Vec::new(),
        };
        let rows = self.table.take_changes().filter_map(|(hash, change)| {
            let encoded = change.encoded.filter(|encoded| change.is_news(*encoded))?;
            Some((hash, encoded))
        });
        let run = Run::of_rows(std::mem::take(&mut self.prepared), rows.chain(beside));
        self.committed.publish(run, position);
        self.undo.clear();
        self.shrink();
    }

    pub(in crate::layer) fn roll_back(&mut self) {
        self.reverts += 1;
        self.table.roll_back();
        self.prepared.clear();
        self.undo.clear();
        self.is_poisoned = false;
        if let Some(beside) = &mut self.beside {
            beside.roll_back();
        }
    }

    pub(in crate::layer) fn is_prepared(&self) -> bool {
        self.table.changes().iter().all(|change| change.encoded.is_some())
    }

    /// Evicts until the table is within its budget again. The first turn of the clock forgets what was read, the second need
    /// not spare it.
    fn shrink(&mut self) {
        let mut steps = 2 * self.table.slots();
        while steps > 0 && self.must_shrink() {
            let some = steps.min(EVICTION_STRIDE);
            self.table.evict(some);
            steps -= some;
        }
        self.table.give_room_back();
    }
}
