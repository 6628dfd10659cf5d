//! The rows a task works on: decoded values under encoded keys, found with one probe.
//!
//! It knows which rows changed since the last commit, in the order of their first change, and what they replaced. Rows that
//! did not change can be evicted (CLOCK: a row read since the hand last passed gets another round).

use std::num::NonZeroU32;

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::overlay::RowPlace;
use crate::store::ValueAndTimestamp;
use crate::types::Timestamp;

/// A place in the table; valid until its row is evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u32);

/// What is known about a key: its decoded row, or that there is none.
pub(super) type TableRow<V> = Option<ValueAndTimestamp<V>>;

/// The table of one store.
pub(super) struct Table<V> {
    index: HashTable<Slot>,
    entries: Vec<Entry<V>>,
    vacant: Vec<Slot>,
    changes: Vec<ChangedRow<V>>,
    /// Where the hand of the clock stands.
    hand: usize,
    bytes: usize,
}

struct Entry<V> {
    hash: u64,
    /// Inline where it is short: one place in memory less to wait for when a key is compared.
    key: SmallVec<[u8; 16]>,
    row: TableRow<V>,
    /// One more than the place in `changes`, if the row changed since the last commit.
    change: Option<NonZeroU32>,
    was_read: bool,
    is_vacant: bool,
    /// Estimated bytes of this row in the table.
    bytes: u32,
}

/// A row that changed since the last commit.
pub(super) struct ChangedRow<V> {
    pub(super) slot: Slot,
    /// The committed row that it replaces.
    pub(super) base: TableRow<V>,
    /// When it changed last, in event time.
    pub(super) at: Timestamp,
    /// Where its bytes are, once they are ready to be published.
    pub(super) encoded: Option<RowPlace>,
    /// The bytes it was counted with.
    pub(super) bytes: usize,
}

impl<V> ChangedRow<V> {
    /// Whether it is news to anybody that the row is `encoded` now: not if the key came and went since the last commit.
    pub(super) fn is_news(&self, encoded: RowPlace) -> bool {
        !encoded.is_deletion() || self.base.is_some()
    }
}

impl<V> Table<V> {
    pub(super) fn new() -> Self {
        Self {
            index: HashTable::new(),
            entries: Vec::new(),
            vacant: Vec::new(),
            changes: Vec::new(),
            hand: 0,
            bytes: 0,
        }
    }

    /// The slot of a key, if the table has it.
    pub(super) fn find(&mut self, hash: u64, key: &[u8]) -> Option<Slot> {
        let entries = &mut self.entries;
        let slot = *self.index.find(hash, |slot| entries[slot.0 as usize].key.as_slice() == key)?;
        entries[slot.0 as usize].was_read = true;
        Some(slot)
    }

    /// Adds what is known about a key that the table does not have, estimated at `row_bytes`.
    pub(super) fn insert(&mut self, hash: u64, key: &[u8], row: TableRow<V>, row_bytes: usize) -> Slot {
        let bytes = size_of::<Entry<V>>() + size_of::<Slot>() + key.len() + row_bytes;
        let entry = Entry {
            hash,
            key: SmallVec::from_slice(key),
            row,
            change: None,
            was_read: false,
            is_vacant: false,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        };
        self.bytes += entry.bytes as usize;
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.entries[slot.0 as usize] = entry;
                slot
            }
            None => {
                let slot =
                    Slot(u32::try_from(self.entries.len()).expect("memory ends before four billion rows"));
                self.entries.push(entry);
                slot
            }
        };
        let entries = &self.entries;
        self.index.insert_unique(hash, slot, |slot| entries[slot.0 as usize].hash);
        slot
    }

    pub(super) fn row(&self, slot: Slot) -> &TableRow<V> {
        &self.entries[slot.0 as usize].row
    }

    pub(super) fn row_mut(&mut self, slot: Slot) -> &mut TableRow<V> {
        &mut self.entries[slot.0 as usize].row
    }

    pub(super) fn key(&self, slot: Slot) -> &[u8] {
        &self.entries[slot.0 as usize].key
    }

    /// The change of a row, if it changed since the last commit.
    pub(super) fn change_mut(&mut self, slot: Slot) -> Option<&mut ChangedRow<V>> {
        let place = self.entries[slot.0 as usize].change?.get() as usize - 1;
        Some(&mut self.changes[place])
    }

    /// Marks a row as changed; it was not before.
    pub(super) fn push_change(&mut self, change: ChangedRow<V>) {
        let slot = change.slot;
        self.changes.push(change);
        let place = u32::try_from(self.changes.len()).ok().and_then(NonZeroU32::new);
        self.entries[slot.0 as usize].change = Some(place.expect("just pushed, and fewer than rows"));
    }

    /// Takes back the change that was pushed last; the row itself is left to the caller.
    pub(super) fn pop_change(&mut self) -> Option<ChangedRow<V>> {
        let change = self.changes.pop()?;
        self.entries[change.slot.0 as usize].change = None;
        Some(change)
    }

    /// The rows changed since the last commit, in the order of their first change.
    pub(super) fn changes(&self) -> &[ChangedRow<V>] {
        &self.changes
    }

    /// The same, with the rows themselves.
    pub(super) fn changes_and_rows(
        &mut self,
    ) -> impl Iterator<Item = (&mut ChangedRow<V>, &[u8], &TableRow<V>)> {
        let entries = &self.entries;
        self.changes.iter_mut().map(move |change| {
            let entry = &entries[change.slot.0 as usize];
            (change, &*entry.key, &entry.row)
        })
    }

    /// Makes every row unchanged, keeping the rows as they are, and hands out the changes with the hashes of their keys.
    pub(super) fn take_changes(&mut self) -> impl Iterator<Item = (u64, ChangedRow<V>)> {
        let entries = &mut self.entries;
        self.changes.drain(..).map(move |change| {
            let entry = &mut entries[change.slot.0 as usize];
            entry.change = None;
            (entry.hash, change)
        })
    }

    /// Gives every changed row its committed value back, and hands out the bytes each was counted with.
    pub(super) fn roll_back(&mut self, mut uncount: impl FnMut(usize)) {
        while let Some(change) = self.pop_change() {
            uncount(change.bytes);
            self.entries[change.slot.0 as usize].row = change.base;
        }
    }

    /// Moves the hand over at most `steps` rows and evicts those that neither changed nor were read since it last passed.
    pub(super) fn evict(&mut self, steps: usize) {
        for _ in 0..steps.min(self.entries.len()) {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[self.hand];
            if entry.is_vacant || entry.change.is_some() {
                continue;
            }
            if entry.was_read {
                entry.was_read = false;
            } else {
                self.remove(Slot(self.hand as u32));
            }
        }
    }

    /// Removes every row that did not change since the last commit.
    pub(super) fn forget_unchanged(&mut self) {
        for place in 0..self.entries.len() {
            let entry = &self.entries[place];
            if !entry.is_vacant && entry.change.is_none() {
                self.remove(Slot(place as u32));
            }
        }
    }

    /// Rows in the table.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Slots, used or vacant: what a full turn of the hand passes.
    pub(super) fn slots(&self) -> usize {
        self.entries.len()
    }

    /// Estimated bytes of the rows in the table.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot.0 as usize];
        if let Ok(found) = self.index.find_entry(entry.hash, |found| *found == slot) {
            found.remove();
        }
        self.bytes -= entry.bytes as usize;
        entry.is_vacant = true;
        entry.row = None;
        entry.key = SmallVec::new();
        self.vacant.push(slot);
    }
}
