//! The changed rows of a table in the order of their keys, for scans.
//!
//! It is brought up to date by the scan that needs it, so that a scan costs what was changed since the one before, and a store that nobody
//! scans pays nothing.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::table::Slot;
use crate::key_range::KeyRange;

/// The slots of changed rows by key: of the first changes of the table, as many as the last scan found.
#[derive(Default)]
pub(super) struct OrderedChanges {
    slots: BTreeMap<Box<[u8]>, Slot>,
    key_bytes: usize,
}

impl OrderedChanges {
    /// How many of the table's changes are here.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds the next change of the table.
    pub(super) fn add(&mut self, key: &[u8], slot: Slot) {
        self.key_bytes += key.len();
        self.slots.insert(key.into(), slot);
    }

    /// Takes a change out that was taken back.
    pub(super) fn remove(&mut self, key: &[u8]) {
        if self.slots.remove(key).is_some() {
            self.key_bytes -= key.len();
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.key_bytes = 0;
    }

    /// The slots of a range.
    pub(super) fn range(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = Slot> {
        let end = range.end().map_or(Bound::Unbounded, Bound::Excluded);
        let slots =
            (!range.is_empty()).then(|| self.slots.range::<[u8], _>((Bound::Included(range.start()), end)));
        slots.into_iter().flatten().map(|(_, slot)| *slot)
    }

    /// Estimated bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<(Box<[u8]>, Slot)>() + self.key_bytes
    }
}
