//! Rows of a store one after the other: those of a range, those found by time, and those that changed.

use std::sync::Arc;

use super::CachedRows;
use crate::error::StoreError;
use crate::format::{TimedKeys, row};
use crate::key_range::{Direction, KeyRange};
use crate::layer::table::{Base, TableRow};
use crate::layer::values::decode_value;
use crate::merge::MergedScan;
use crate::overlay::hash_of;
use crate::store::{Change, ReadEntry, ValueAndTimestamp};
use crate::types::Timestamp;

impl<V: Clone> CachedRows<V> {
    /// The current rows of a range with their encoded keys; later changes are not seen.
    pub(crate) fn scan(
        &mut self,
        range: KeyRange,
        direction: Direction,
    ) -> Result<impl Iterator<Item = ReadEntry<Vec<u8>, V>> + use<V>, StoreError>
    where
        V: 'static,
    {
        self.check_usable()?;
        let changed = self.table.changes_in(&range).map(|(key, row)| (key.to_vec(), row.clone()));
        let changed: Vec<(Vec<u8>, TableRow<V>)> = match direction {
            Direction::Forward => changed.collect(),
            Direction::Reverse => changed.rev().collect(),
        };
        let (serde, name) = (Arc::clone(&self.value_serde), self.identity.name.clone());
        let committed = self.committed.scan(range, direction)?.map(move |entry| {
            let (key, timestamp, value) = entry?;
            Ok((key, ValueAndTimestamp { value: decode_value(&serde, &name, &value)?, timestamp }))
        });
        Ok(MergedScan::new(changed.into_iter(), committed, direction))
    }

    /// The changes since the last commit, the newest per key, in the order the keys were first changed: key, change, time.
    ///
    /// # Errors
    /// If what a change replaced was not read before, and cannot be.
    pub(crate) fn emissions(
        &self,
    ) -> impl Iterator<Item = Result<(&[u8], Change<V>, Timestamp), StoreError>> {
        let value_of = |row: &TableRow<V>| row.as_ref().map(|row| row.value.clone());
        let mut buffer = Vec::new();
        self.table.changes().iter().filter_map(move |change| {
            let key = self.table.key(change.slot);
            let old = match &change.base {
                Base::Known(row) => Ok(value_of(row)),
                Base::Unread => {
                    let row = self.committed.row(key, &self.value_serde, &mut buffer);
                    row.map(|row| row.map(|row| row.value))
                }
            };
            let emission = old.map(|old| Change { old, new: value_of(self.table.row(change.slot)) });
            let is_news = |emission: &Change<V>| emission.old.is_some() || emission.new.is_some();
            match emission {
                Ok(emission) => is_news(&emission).then_some(Ok((key, emission, change.at))),
                Err(error) => Some(Err(error)),
            }
        })
    }

    /// The keys of the rows that changed since the last commit, in the order in which they did first.
    pub(in crate::layer) fn changed_keys(&self) -> impl Iterator<Item = &[u8]> {
        self.table.changes().iter().map(|change| self.table.key(change.slot))
    }

    /// The keys of committed rows in a range, in order. Unchanged rows that the table does not have are brought into it.
    pub(in crate::layer) fn load_range(
        &mut self,
        range: KeyRange,
        is_wanted: impl Fn(&[u8]) -> bool,
        mut found: impl FnMut(&[u8]),
    ) -> Result<(), StoreError> {
        for entry in self.committed.scan(range, Direction::Forward)? {
            let (key, timestamp, value) = entry?;
            if !is_wanted(&key) {
                continue;
            }
            found(&key);
            let hash = hash_of(&key);
            if self.table.find(hash, &key).is_none() {
                let row = Some(ValueAndTimestamp { value: self.decode(&value)?, timestamp });
                self.insert(hash, &key, row, row::TIMESTAMP_BYTES + value.len());
            }
        }
        Ok(())
    }

    /// The keys by which rows of these times are found, in order: those of committed rows, and of rows that changed since.
    pub(in crate::layer) fn scan_index(
        &self,
        keys: TimedKeys,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<impl Iterator<Item = Result<Vec<u8>, StoreError>> + use<V>, StoreError> {
        self.check_usable()?;
        let range = TimedKeys::index_range(from, to);
        let mut changed: Vec<(Vec<u8>, Option<()>)> = Vec::new();
        let mut index = Vec::new();
        for change in self.table.changes() {
            keys.index(self.table.key(change.slot), &mut index);
            if range.contains(&index) {
                changed.push((index.clone(), self.table.row(change.slot).as_ref().map(|_| ())));
            }
        }
        changed.sort_unstable();
        let committed = self.committed.scan(range, Direction::Forward)?;
        let committed = committed.map(|entry| entry.map(|(key, ..)| (key, ())));
        let merged = MergedScan::new(changed.into_iter(), committed, Direction::Forward);
        Ok(merged.map(|entry| entry.map(|(key, ())| key)))
    }
}
