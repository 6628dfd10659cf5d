//! One store on the record path: the table over committed rows, with changes logged, published, undone and rolled back.
//!
//! ```text
//! update ──> table (changed, keeps the committed row it replaces)
//!              │ prepare_commit: encoded; cached stores are logged now, others were per update
//!              │ commit: published to the overlay          rollback: the committed rows come back
//!            overlay ──checkpoint──> engine
//! ```

mod commit;
mod scans;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::beside::Beside;
use super::changelog::ChangelogBuffer;
use super::table::{Base, ChangedRow, Slot, Table, TableRow};
use super::values::{ValueEncoder, decode_value};
use super::{ChangelogEntry, ManagedStore, StoreIdentity, StoreStats, TaskContext, Uncommitted};
use crate::error::StoreError;
use crate::format::row;
use crate::memory::TableMemory;
use crate::overlay::{Run, hash_of};
use crate::position::Position;
use crate::reader::StoreReader;
use crate::serde::SerdeRef;
use crate::store::{Change, ValueAndTimestamp};
use crate::types::Timestamp;

/// Which parts of a change the caller of an update will look at; the others are not cloned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeParts {
    None,
    New,
    Both,
}

/// The rows of one store, by encoded key.
pub(crate) struct CachedRows<V> {
    identity: StoreIdentity,
    value_serde: SerdeRef<V>,
    context: Rc<TaskContext>,
    committed: Arc<StoreReader>,
    memory: TableMemory,
    /// Held in memory beside the table.
    bytes_beside: usize,
    table: Table<V>,
    /// How the current record's changes are undone, oldest first.
    undo: Vec<UndoStep<V>>,
    /// The record that `undo` belongs to.
    undo_record: u64,
    /// How often rows were taken back.
    reverts: u64,
    is_poisoned: bool,
    hits: u64,
    misses: u64,
    /// What an encoded value of this store needs on average; values are not encoded just to be measured.
    typical_value_bytes: usize,
    /// Keys and encoded rows of the changes that are ready to be published.
    prepared: Vec<u8>,
    /// What is published beside the rows, if anything is.
    beside: Option<Beside>,
    /// Reused for encoded rows.
    buffer: Vec<u8>,
}

/// Reverts one update.
enum UndoStep<V> {
    /// The row was unchanged before: its committed value comes back.
    FirstChange,
    /// The row was changed already.
    Row { slot: Slot, row: TableRow<V>, at: Timestamp },
}

/// How many rows the clock looks at for each row that is added. Enough to keep up, few enough for the record path.
const EVICTION_STEPS: usize = 8;

impl<V: Clone> CachedRows<V> {
    pub(crate) fn new(
        identity: StoreIdentity,
        value_serde: SerdeRef<V>,
        context: Rc<TaskContext>,
        committed: Arc<StoreReader>,
        memory: TableMemory,
        beside: Option<Beside>,
    ) -> Self {
        Self {
            identity,
            value_serde,
            context,
            committed,
            memory,
            bytes_beside: 0,
            table: Table::new(),
            undo: Vec::new(),
            undo_record: 0,
            reverts: 0,
            is_poisoned: false,
            hits: 0,
            misses: 0,
            typical_value_bytes: size_of::<V>(),
            prepared: Vec::new(),
            beside,
            buffer: Vec::new(),
        }
    }

    /// The current row of `key`, uncommitted changes included.
    pub(crate) fn read(&mut self, key: &[u8]) -> Result<&TableRow<V>, StoreError> {
        self.check_usable()?;
        let slot = self.load(key)?;
        Ok(self.table.row(slot))
    }

    /// Replaces the row of `key` by what `f` makes of it. Returns the change, with the parts that are wanted, if it is
    /// emitted now, not at commit.
    pub(crate) fn update<E: From<StoreError>>(
        &mut self,
        key: &[u8],
        at: Timestamp,
        wanted: ChangeParts,
        f: impl FnOnce(TableRow<V>) -> Result<TableRow<V>, E>,
    ) -> Result<Option<(Change<V>, Timestamp)>, E> {
        self.check_usable()?;
        let slot = self.load(key)?;
        self.change(slot, None, at, wanted, f)
    }

    /// Adds a row whose key no committed row has: it is not looked for.
    pub(crate) fn add(&mut self, key: &[u8], row: ValueAndTimestamp<V>) -> Result<(), StoreError> {
        self.put_over(key, Base::Known(None), row)
    }

    /// Sets the row of a key. What it replaces is not looked for.
    pub(crate) fn put(&mut self, key: &[u8], row: ValueAndTimestamp<V>) -> Result<(), StoreError> {
        self.put_over(key, Base::Unread, row)
    }

    /// Sets the row of a key, over this one if the table does not have it.
    fn put_over(
        &mut self,
        key: &[u8],
        unless_found: Base<V>,
        row: ValueAndTimestamp<V>,
    ) -> Result<(), StoreError> {
        self.check_usable()?;
        let hash = hash_of(key);
        let (slot, base) = match self.table.find(hash, key) {
            Some(slot) => (slot, None),
            None => (self.insert(hash, key, None, self.typical_value_bytes), Some(unless_found)),
        };
        self.change(slot, base, row.timestamp, ChangeParts::None, |_| Ok::<_, StoreError>(Some(row)))?;
        Ok(())
    }

    /// [`Self::update`] of the row of a slot. `base` is what is committed, of a row that the table was given without looking.
    fn change<E: From<StoreError>>(
        &mut self,
        slot: Slot,
        base: Option<Base<V>>,
        at: Timestamp,
        wanted: ChangeParts,
        f: impl FnOnce(TableRow<V>) -> Result<TableRow<V>, E>,
    ) -> Result<Option<(Change<V>, Timestamp)>, E> {
        let emits_now = !self.identity.is_cached;

        let is_first_change = self.mark_changed(slot, base, at);
        let previous = self.table.row_mut(slot).take();
        let was_absent = previous.is_none();
        let value_if = |is_wanted: bool, row: &TableRow<V>| {
            row.as_ref().filter(|_| is_wanted && emits_now).map(|row| row.value.clone())
        };
        let old = value_if(wanted == ChangeParts::Both, &previous);

        // Whatever ends `f`, a panic included, leaves the store unusable until the row is whole again.
        self.is_poisoned = true;
        let next = match f(previous) {
            Ok(next) => next,
            Err(error) => {
                self.abandon_change(is_first_change);
                return Err(error);
            }
        };
        self.is_poisoned = false;

        let changed_at = next.as_ref().map_or(at, |row| row.timestamp);
        let new = value_if(wanted != ChangeParts::None, &next);
        // What was deleted since the last commit, and is emitted then, is deleted anew, with another time.
        let is_of_the_commit = !emits_now && !is_first_change;
        let is_removal_of_nothing = was_absent && next.is_none() && !is_of_the_commit;
        *self.table.row_mut(slot) = next;
        if is_removal_of_nothing {
            self.abandon_change(is_first_change);
        } else {
            if let Some(change) = self.table.change_mut(slot) {
                change.at = changed_at;
                change.encoded = None;
            }
            if emits_now
                && self.identity.is_logged
                && let Err(error) = self.log_now(slot, changed_at)
            {
                self.is_poisoned = true;
                self.abandon_change(is_first_change);
                return Err(error.into());
            }
        }
        Ok(emits_now.then_some((Change { old, new }, changed_at)))
    }

    /// Changes whenever rows were taken back: what was made of them is to be made anew.
    pub(crate) fn reverts(&self) -> u64 {
        self.reverts
    }

    /// Says how many bytes the store holds beside its table, and whether it should give some back.
    pub(super) fn must_shrink_with(&mut self, bytes_beside: usize) -> bool {
        self.bytes_beside = bytes_beside;
        self.must_shrink()
    }

    fn must_shrink(&mut self) -> bool {
        self.memory.must_shrink(self.table.bytes() + self.bytes_beside)
    }

    /// Removes unchanged rows from the table that nobody will ask for again.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&[u8]) -> bool) {
        self.table.forget(is_gone);
        self.table.give_room_back();
    }

    /// Rows in the table.
    pub(super) fn cached_rows(&self) -> usize {
        self.table.len()
    }

    /// The slot of `key`, brought into the table if necessary.
    fn load(&mut self, key: &[u8]) -> Result<Slot, StoreError> {
        let hash = hash_of(key);
        if let Some(slot) = self.table.find(hash, key) {
            self.hits += 1;
            return Ok(slot);
        }
        self.misses += 1;
        let row = self.committed.row(key, &self.value_serde, &mut self.buffer)?;
        let value_bytes = if row.is_some() { self.buffer.len() } else { self.typical_value_bytes };
        Ok(self.insert(hash, key, row, value_bytes))
    }

    /// Adds a row that the table does not have.
    #[inline]
    fn insert(&mut self, hash: u64, key: &[u8], row: TableRow<V>, value_bytes: usize) -> Slot {
        if self.must_shrink() {
            self.table.evict(EVICTION_STEPS);
        }
        self.table.insert(hash, key, row, value_bytes)
    }

    fn decode(&self, value: &[u8]) -> Result<V, StoreError> {
        decode_value(&self.value_serde, &self.identity.name, value)
    }

    /// Notes what the row of `slot` is before it changes. Returns whether it was unchanged since the last commit.
    fn mark_changed(&mut self, slot: Slot, base: Option<Base<V>>, at: Timestamp) -> bool {
        let can_undo = self.context.can_undo;
        if can_undo && self.undo_record != self.context.record.get() {
            self.undo.clear();
            self.undo_record = self.context.record.get();
        }
        if let Some(change) = self.table.change_mut(slot) {
            if can_undo {
                let at = change.at;
                self.undo.push(UndoStep::Row { slot, row: self.table.row(slot).clone(), at });
            }
            return false;
        }
        let bytes = self.bytes_of_change(slot);
        let base = base.unwrap_or_else(|| Base::Known(self.table.row(slot).clone()));
        self.table.push_change(ChangedRow { slot, base, at, encoded: None, bytes });
        if can_undo {
            self.undo.push(UndoStep::FirstChange);
        }
        true
    }

    /// Estimated bytes of a change: the value it replaces, its place in the run of the commit, and in the changelog if it is
    /// logged then.
    fn bytes_of_change(&self, slot: Slot) -> usize {
        let (key, value) = (self.table.key(slot).len(), self.typical_value_bytes);
        let logged = self.identity.is_cached && self.identity.is_logged;
        let entry = if logged { ChangelogBuffer::bytes_of_entry(key + value) } else { 0 };
        size_of::<ChangedRow<V>>() + value + Run::bytes_of_row(key + row::TIMESTAMP_BYTES + value) + entry
    }

    /// Takes the update back that [`Self::mark_changed`] began, so that the row is what it was; without undo, a row that was
    /// changed before cannot be restored, and the store stays as it is until it is rolled back.
    fn abandon_change(&mut self, is_first_change: bool) {
        if self.context.can_undo {
            self.undo_one();
            self.is_poisoned = false;
        } else if is_first_change {
            self.table.revert_last_change();
            self.is_poisoned = false;
        }
    }

    fn undo_one(&mut self) -> bool {
        match self.undo.pop() {
            None => return false,
            // First changes are undone in reverse order, so it is the last one pushed.
            Some(UndoStep::FirstChange) => {
                self.table.revert_last_change();
            }
            Some(UndoStep::Row { slot, row, at }) => {
                *self.table.row_mut(slot) = row;
                if let Some(change) = self.table.change_mut(slot) {
                    change.at = at;
                    change.encoded = None;
                }
            }
        }
        true
    }

    /// Encodes the row of `slot` and adds it to the changelog.
    fn log_now(&mut self, slot: Slot, timestamp: Timestamp) -> Result<(), StoreError> {
        self.buffer.clear();
        let mut encoder = ValueEncoder::new(&self.identity, &self.value_serde, &mut self.typical_value_bytes);
        let row = self.table.row(slot).as_ref();
        let value = match row {
            Some(row) => {
                encoder.append(&row.value, &mut self.buffer)?;
                Some(self.buffer.as_slice())
            }
            None => None,
        };
        let (store, key) = (self.identity.store, &self.table.key(slot)[self.identity.unlogged_key_bytes..]);
        self.context.changelog.borrow_mut().append(ChangelogEntry { store, key, value, timestamp });
        Ok(())
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        if self.is_poisoned {
            return Err(StoreError::Poisoned { store: self.identity.name.clone() });
        }
        Ok(())
    }

    pub(super) fn can_undo(&self) -> bool {
        self.context.can_undo
    }

    /// The record that is being processed, if records can be undone.
    pub(super) fn record(&self) -> u64 {
        self.context.record.get()
    }

    pub(super) fn undo_record(&mut self) {
        if self.undo_record == self.context.record.get() {
            while self.undo_one() {
                self.reverts += 1;
            }
            self.is_poisoned = false;
        }
    }

    pub(super) fn uncommitted(&self) -> Uncommitted {
        self.table.uncommitted()
    }

    pub(super) fn stats(&self) -> StoreStats {
        let (overlay_entries, overlay_bytes) = self.committed.uncheckpointed();
        StoreStats {
            store: self.identity.name.clone(),
            cache_hits: self.hits,
            cache_misses: self.misses,
            cached_entries: self.table.len(),
            cached_bytes: self.table.bytes(),
            uncommitted_entries: self.table.changes().len(),
            overlay_entries,
            overlay_bytes,
        }
    }
}

impl<V: Clone> ManagedStore for RefCell<CachedRows<V>> {
    fn undo_record(&self) {
        self.borrow_mut().undo_record();
    }

    fn prepare_commit(&self) -> Result<(), StoreError> {
        self.borrow_mut().prepare_commit()
    }

    fn uncommitted(&self) -> Uncommitted {
        self.borrow().uncommitted()
    }

    fn is_prepared(&self) -> bool {
        self.borrow().is_prepared()
    }

    fn commit(&self, position: &Arc<Position>) {
        self.borrow_mut().commit(position);
    }

    fn roll_back(&self) {
        self.borrow_mut().roll_back();
    }

    fn stats(&self) -> StoreStats {
        self.borrow().stats()
    }
}
