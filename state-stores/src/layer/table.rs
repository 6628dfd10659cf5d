//! The rows a task works on: decoded values under encoded keys, found with one probe.
//!
//! It knows which rows changed since the last commit, in the order of their first change, and what they replaced. Rows that
//! did not change can be evicted (CLOCK: a row read since the hand last passed gets another round).

use std::num::NonZeroU32;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::Uncommitted;
use super::ordered_changes::OrderedChanges;
use crate::key_range::KeyRange;
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
    ordered: OrderedChanges,
    /// Where the hand of the clock stands.
    hand: usize,
    row_bytes: usize,
    changed: Uncommitted,
    /// What the changes take besides their rows.
    change_bytes: usize,
}

struct Entry<V> {
    hash: u64,
    /// Inline where it is short, also with a window behind it: one place in memory less to wait for when a key is compared.
    key: SmallVec<[u8; 24]>,
    row: TableRow<V>,
    /// One more than the place in `changes`, if the row changed since the last commit.
    change: Option<NonZeroU32>,
    was_read: bool,
    is_vacant: bool,
    /// Estimated bytes of this row in the table.
    bytes: u32,
}

/// The committed row that a change replaces.
pub(super) enum Base<V> {
    Known(TableRow<V>),
    /// It was not looked for: nobody asked.
    Unread,
}

/// A row that changed since the last commit.
pub(super) struct ChangedRow<V> {
    pub(super) slot: Slot,
    pub(super) base: Base<V>,
    /// When it changed last, in event time.
    pub(super) at: Timestamp,
    /// Where its bytes are, once they are ready to be published.
    pub(super) encoded: Option<RowPlace>,
    /// Estimated bytes of the change, and of what committing it takes.
    pub(super) bytes: usize,
}

impl<V> ChangedRow<V> {
    /// Whether it is news to anybody that the row is `encoded` now: not if the key came and went since the last commit.
    pub(super) fn is_news(&self, encoded: RowPlace) -> bool {
        !encoded.is_deletion() || self.replaces_row()
    }

    /// Whether it is known that there is a committed row.
    pub(super) fn replaces_row(&self) -> bool {
        matches!(self.base, Base::Known(Some(_)))
    }
}

impl<V> Table<V> {
    pub(super) fn new() -> Self {
        Self {
            index: HashTable::new(),
            entries: Vec::new(),
            vacant: Vec::new(),
            changes: Vec::new(),
            ordered: OrderedChanges::default(),
            hand: 0,
            row_bytes: 0,
            changed: Uncommitted::default(),
            change_bytes: 0,
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
        // The index is between half and seven eighths full; long keys take more of the allocator than of themselves, and what short
        // ones save is the room that the entries have to grow.
        const LEAST_ALLOCATION: usize = 32;
        let bytes =
            size_of::<Entry<V>>() + 2 * size_of::<Slot>() + key.len().max(LEAST_ALLOCATION) + row_bytes;
        let entry = Entry {
            hash,
            key: SmallVec::from_slice(key),
            row,
            change: None,
            was_read: false,
            is_vacant: false,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        };
        self.row_bytes += entry.bytes as usize;
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.entries[slot.0 as usize] = entry;
                slot
            }
            None => {
                let slot =
                    Slot(u32::try_from(self.entries.len()).expect("memory ends before four billion rows"));
                push_within_a_quarter(&mut self.entries, entry);
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
        let entry = &mut self.entries[change.slot.0 as usize];
        self.changed.rows += 1;
        self.changed.bytes += change.bytes + entry.bytes as usize;
        self.change_bytes += change.bytes;
        push_within_a_quarter(&mut self.changes, change);
        let place = u32::try_from(self.changes.len()).ok().and_then(NonZeroU32::new);
        entry.change = Some(place.expect("just pushed, and fewer than rows"));
    }

    /// Takes back the change that was pushed last: the row is what it was. One that was not looked for is to be looked for again.
    pub(super) fn revert_last_change(&mut self) -> bool {
        let Some(ChangedRow { slot, base, .. }) = self.pop_change() else { return false };
        match base {
            Base::Known(row) => *self.row_mut(slot) = row,
            Base::Unread => self.remove(slot),
        }
        true
    }

    fn pop_change(&mut self) -> Option<ChangedRow<V>> {
        let change = self.changes.pop()?;
        let entry = &mut self.entries[change.slot.0 as usize];
        self.changed.rows -= 1;
        self.changed.bytes -= change.bytes + entry.bytes as usize;
        self.change_bytes -= change.bytes;
        entry.change = None;
        if self.ordered.len() > self.changes.len() {
            self.ordered.remove(&entry.key);
        }
        Some(change)
    }

    /// The rows changed since the last commit, in the order of their first change.
    pub(super) fn changes(&self) -> &[ChangedRow<V>] {
        &self.changes
    }

    /// The keys of a range whose rows changed since the last commit, in order, with the rows.
    pub(super) fn changes_in(
        &mut self,
        range: &KeyRange,
    ) -> impl DoubleEndedIterator<Item = (&[u8], &TableRow<V>)> {
        for change in &self.changes[self.ordered.len()..] {
            self.ordered.add(&self.entries[change.slot.0 as usize].key, change.slot);
        }
        let entries = &self.entries;
        self.ordered.range(range).map(move |slot| {
            let entry = &entries[slot.0 as usize];
            (&*entry.key, &entry.row)
        })
    }

    /// The changes with the keys and the rows themselves.
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
        self.changed = Uncommitted::default();
        self.change_bytes = 0;
        self.ordered.clear();
        let entries = &mut self.entries;
        self.changes.drain(..).map(move |change| {
            let entry = &mut entries[change.slot.0 as usize];
            entry.change = None;
            (entry.hash, change)
        })
    }

    /// Gives every changed row its committed value back.
    pub(super) fn roll_back(&mut self) {
        while self.revert_last_change() {}
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

    /// Evicts unchanged rows with such keys.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&[u8]) -> bool) {
        for slot in 0..self.entries.len() {
            let entry = &self.entries[slot];
            if !entry.is_vacant && entry.change.is_none() && is_gone(&entry.key) {
                self.remove(Slot(slot as u32));
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

    /// Estimated bytes of the rows in the table and of their changes, with the room that earlier changes left.
    pub(super) fn bytes(&self) -> usize {
        let spare = self.changes.capacity() - self.changes.len();
        self.row_bytes + self.change_bytes + spare * size_of::<ChangedRow<V>>() + self.ordered.bytes()
    }

    /// The changed rows.
    pub(super) fn uncommitted(&self) -> Uncommitted {
        self.changed
    }

    /// Gives the slots of evicted rows back once they are more than half of those in use. Nothing may have changed since the
    /// last commit: changes know their rows by their slots.
    pub(super) fn give_room_back(&mut self) {
        if self.vacant.len() <= self.len() / 2 || !self.changes.is_empty() {
            return;
        }
        self.entries.retain(|entry| !entry.is_vacant);
        self.entries.shrink_to_fit();
        self.vacant = Vec::new();
        self.changes = Vec::new();
        self.index = HashTable::with_capacity(self.entries.len());
        for (slot, entry) in (0..).map(Slot).zip(&self.entries) {
            self.index.insert_unique(entry.hash, slot, |slot| self.entries[slot.0 as usize].hash);
        }
    }

    fn remove(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot.0 as usize];
        if let Ok(found) = self.index.find_entry(entry.hash, |found| *found == slot) {
            found.remove();
        }
        self.row_bytes -= entry.bytes as usize;
        entry.is_vacant = true;
        entry.row = None;
        entry.key = SmallVec::new();
        self.vacant.push(slot);
    }
}

/// Pushes, and makes room for a quarter more where it is needed: room for twice as much would be uncounted memory.
fn push_within_a_quarter<T>(items: &mut Vec<T>, item: T) {
    const LEAST: usize = 16;
    if items.len() == items.capacity() {
        items.reserve_exact((items.len() / 4).max(LEAST));
    }
    items.push(item);
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::*;
    use crate::overlay::hash_of;

    const ROW_BYTES: usize = 16;

    fn insert(table: &mut Table<u64>, number: u64) -> Slot {
        let key = number.to_be_bytes();
        table.insert(hash_of(&key), &key, Some(ValueAndTimestamp::new(number, at())), ROW_BYTES)
    }

    fn find(table: &mut Table<u64>, number: u64) -> Option<u64> {
        let key = number.to_be_bytes();
        let slot = table.find(hash_of(&key), &key)?;
        table.row(slot).as_ref().map(|row| row.value)
    }

    /// Room for changes that is not used.
    fn spare_bytes(table: &Table<u64>) -> usize {
        (table.changes.capacity() - table.changes.len()) * size_of::<ChangedRow<u64>>()
    }

    fn at() -> Timestamp {
        Timestamp::from_millis(1)
    }

    #[test]
    fn slots_of_evicted_rows_are_given_back_and_the_rest_is_still_found() {
        let mut table = Table::new();
        let slots: Vec<Slot> = (0..100).map(|number| insert(&mut table, number)).collect();
        let bytes_of_all = table.bytes();
        for slot in &slots[..30] {
            table.remove(*slot);
        }
        table.give_room_back();
        assert_eq!(table.slots(), 100, "not worth the work yet");
        for slot in &slots[30..60] {
            table.remove(*slot);
        }
        table.give_room_back();
        assert_eq!((table.slots(), table.len()), (40, 40));
        assert_eq!(table.bytes(), bytes_of_all / 100 * 40);
        for number in 0..100 {
            assert_eq!(find(&mut table, number), (number >= 60).then_some(number));
        }
        insert(&mut table, 7);
        assert_eq!(find(&mut table, 7), Some(7));
    }

    #[test]
    fn changes_are_found_in_order_also_after_some_were_taken_back_or_committed() {
        let mut table = Table::new();
        let slots: Vec<Slot> = (0..10).map(|number| insert(&mut table, number)).collect();
        let unchanged = table.bytes();
        let change = |slot| ChangedRow { slot, base: Base::Known(None), at: at(), encoded: None, bytes: 50 };
        let changed = |table: &mut Table<u64>, from: u64, to: u64| -> Vec<u64> {
            let bound = |number: u64| number.to_be_bytes().to_vec();
            let range = KeyRange::new(Bound::Included(bound(from)), Bound::Excluded(bound(to)));
            table.changes_in(&range).filter_map(|(_, row)| row.as_ref().map(|row| row.value)).collect()
        };
        [7, 3].into_iter().for_each(|number| table.push_change(change(slots[number])));
        assert_eq!(changed(&mut table, 0, 10), [3, 7]);
        [5, 9, 4].into_iter().for_each(|number| table.push_change(change(slots[number])));
        table.pop_change();
        assert_eq!(changed(&mut table, 3, 9), [3, 5, 7]);
        assert_eq!(changed(&mut table, 9, 3), [0; 0]);
        table.pop_change();
        table.push_change(change(slots[1]));
        assert_eq!(changed(&mut table, 0, 10), [1, 3, 5, 7]);
        assert_eq!(table.take_changes().count(), 4);
        assert_eq!(changed(&mut table, 0, 10), [0; 0]);
        assert_eq!(table.bytes(), unchanged + spare_bytes(&table));
    }

    #[test]
    fn a_change_keeps_its_slot_and_is_counted_until_it_is_committed_or_taken_back() {
        let mut table = Table::new();
        let slots: Vec<Slot> = (0..10).map(|number| insert(&mut table, number)).collect();
        let (row, unchanged) = (table.bytes() / 10, table.bytes());
        let change = |slot| ChangedRow { slot, base: Base::Known(None), at: at(), encoded: None, bytes: 50 };
        table.push_change(change(slots[9]));
        table.push_change(change(slots[8]));
        assert_eq!(table.uncommitted(), Uncommitted { rows: 2, bytes: 2 * (row + 50) });
        assert_eq!(table.bytes(), unchanged + 2 * 50 + spare_bytes(&table));
        slots[..8].iter().for_each(|slot| table.remove(*slot));
        table.give_room_back();
        assert_eq!(table.slots(), 10, "changes know their rows by their slots");

        table.pop_change();
        assert_eq!(table.uncommitted(), Uncommitted { rows: 1, bytes: row + 50 });
        assert_eq!(table.take_changes().count(), 1);
        assert_eq!(table.uncommitted(), Uncommitted::default());
        assert_eq!(table.bytes(), 2 * row + spare_bytes(&table));
        table.give_room_back();
        assert_eq!(table.bytes(), 2 * row);
        assert_eq!(table.slots(), 2);
        assert_eq!(find(&mut table, 9), Some(9));
    }
}
