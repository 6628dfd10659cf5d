//! One store on the record path: the table over committed rows, with changes logged, published, undone and rolled back.
//!
//! ```text
//! update ──> table (changed, keeps the committed row it replaces)
//!              │ prepare_commit: encoded; cached stores are logged now, others were per update
//!              │ commit: published to the overlay          rollback: the committed rows come back
//!            overlay ──checkpoint──> engine
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::changelog::ChangelogBuffer;
use super::table::{ChangedRow, Slot, Table, TableRow};
use super::{ChangelogEntry, TaskContext};
use crate::error::{RowPart, StoreError};
use crate::format::row;
use crate::key_range::{Direction, KeyRange};
use crate::memory::TableMemory;
use crate::merge::MergedScan;
use crate::overlay::{RowPlace, Run, hash_of};
use crate::position::Position;
use crate::reader::StoreReader;
use crate::serde::SerdeRef;
use crate::store::{Change, ReadEntry, ValueAndTimestamp, decode, encode};
use crate::types::{StoreIndex, Timestamp};

/// What a store is called and how it behaves.
pub(crate) struct StoreIdentity {
    pub(crate) store: StoreIndex,
    pub(crate) name: String,
    /// Changes go to a changelog topic.
    pub(crate) is_logged: bool,
    /// Changes are logged and emitted at commit, the newest per key.
    pub(crate) is_cached: bool,
}

/// Counters and sizes of one store, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStats {
    /// The store.
    pub store: String,
    /// Reads and updates that found their row in the table, since the task was opened.
    pub cache_hits: u64,
    /// Reads and updates that had to look further.
    pub cache_misses: u64,
    /// Rows in the table.
    pub cached_entries: usize,
    /// Estimated bytes of the table.
    pub cached_bytes: usize,
    /// Rows changed since the last commit.
    pub uncommitted_entries: usize,
    /// Rows committed since the last checkpoint.
    pub overlay_entries: usize,
    /// Estimated bytes of those rows.
    pub overlay_bytes: usize,
}

/// Rows that changed since the last commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Uncommitted {
    pub(crate) rows: usize,
    /// Estimated: of the rows, which cannot be evicted, of the values they replaced, and of what committing them takes.
    pub(crate) bytes: usize,
}

/// Which parts of a change the caller of an update will look at; the others are not cloned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeParts {
    None,
    New,
    Both,
}

/// What a task does with each of its stores, whatever their types.
pub(crate) trait ManagedStore {
    /// Reverts the current record's changes.
    fn undo_record(&self);
    /// Encodes what changed; logs it, if that was not done per update.
    fn prepare_commit(&self) -> Result<(), StoreError>;
    /// What changed since the last commit.
    fn uncommitted(&self) -> Uncommitted;
    /// Whether every change is encoded.
    fn is_prepared(&self) -> bool;
    /// Publishes what changed, and the position it reflects.
    fn commit(&self, position: &Arc<Position>);
    /// Brings the committed rows back.
    fn roll_back(&self);
    /// Counters and sizes.
    fn stats(&self) -> StoreStats;
}

/// The rows of one store, by encoded key.
pub(crate) struct CachedRows<V> {
    identity: StoreIdentity,
    value_serde: SerdeRef<V>,
    context: Rc<TaskContext>,
    committed: Arc<StoreReader>,
    memory: TableMemory,
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
/// How many it looks at between two looks at the budget, when a commit has made rows evictable.
const EVICTION_STRIDE: usize = 256;

impl<V: Clone> CachedRows<V> {
    pub(crate) fn new(
        identity: StoreIdentity,
        value_serde: SerdeRef<V>,
        context: Rc<TaskContext>,
        committed: Arc<StoreReader>,
        memory: TableMemory,
    ) -> Self {
        Self {
            identity,
            value_serde,
            context,
            committed,
            memory,
            table: Table::new(),
            undo: Vec::new(),
            undo_record: 0,
            reverts: 0,
            is_poisoned: false,
            hits: 0,
            misses: 0,
            typical_value_bytes: size_of::<V>(),
            prepared: Vec::new(),
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
        let emits_now = !self.identity.is_cached;

        let is_first_change = self.mark_changed(slot, at);
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
        let is_removal_of_nothing = was_absent && next.is_none();
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

    /// The current rows of a range with their encoded keys; later changes are not seen.
    pub(crate) fn scan(
        &self,
        range: KeyRange,
        direction: Direction,
    ) -> Result<impl Iterator<Item = ReadEntry<Vec<u8>, V>> + use<V>, StoreError>
    where
        V: 'static,
    {
        self.check_usable()?;
        let mut changed: Vec<(Vec<u8>, TableRow<V>)> = self
            .table
            .changes()
            .iter()
            .filter(|change| range.contains(self.table.key(change.slot)))
            .map(|change| (self.table.key(change.slot).to_vec(), self.table.row(change.slot).clone()))
            .collect();
        changed.sort_by(|(one, _), (other, _)| direction.order(one, other));
        let (serde, name) = (Arc::clone(&self.value_serde), self.identity.name.clone());
        let committed = self.committed.scan(range, direction)?.map(move |entry| {
            let (key, timestamp, value) = entry?;
            let value = decode(&name, RowPart::Value, &serde, &value)?;
            Ok((key, ValueAndTimestamp { value, timestamp }))
        });
        Ok(MergedScan::new(changed.into_iter(), committed, direction))
    }

    /// Changes whenever rows were taken back: what was made of them is to be made anew.
    pub(crate) fn reverts(&self) -> u64 {
        self.reverts
    }

    /// The changes since the last commit, the newest per key, in the order the keys were first changed: key, change, time.
    pub(crate) fn emissions(&self) -> impl Iterator<Item = (&[u8], Change<V>, Timestamp)> {
        self.table.changes().iter().filter_map(|change| {
            let row = self.table.row(change.slot);
            if row.is_none() && change.base.is_none() {
                return None;
            }
            let value_of = |row: &TableRow<V>| row.as_ref().map(|row| row.value.clone());
            let emission = Change { old: value_of(&change.base), new: value_of(row) };
            Some((self.table.key(change.slot), emission, change.at))
        })
    }

    /// The slot of `key`, brought into the table if necessary.
    fn load(&mut self, key: &[u8]) -> Result<Slot, StoreError> {
        let hash = hash_of(key);
        if let Some(slot) = self.table.find(hash, key) {
            self.hits += 1;
            return Ok(slot);
        }
        self.misses += 1;
        let row = if self.committed.read_row(key, &mut self.buffer)? {
            Some(self.committed.decode(&self.value_serde, &self.buffer)?)
        } else {
            None
        };
        if self.memory.must_shrink(self.table.bytes()) {
            self.table.evict(EVICTION_STEPS);
        }
        let value_bytes = if row.is_some() { self.buffer.len() } else { self.typical_value_bytes };
        Ok(self.table.insert(hash, key, row, value_bytes))
    }

    /// Notes what the row of `slot` is before it changes. Returns whether it was unchanged since the last commit.
    fn mark_changed(&mut self, slot: Slot, at: Timestamp) -> bool {
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
        let base = self.table.row(slot).clone();
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
            self.revert_first_change();
            self.is_poisoned = false;
        }
    }

    fn undo_one(&mut self) -> bool {
        match self.undo.pop() {
            None => return false,
            Some(UndoStep::FirstChange) => self.revert_first_change(),
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

    /// First changes are reverted in reverse order, so the one to revert is the last one pushed.
    fn revert_first_change(&mut self) {
        if let Some(change) = self.table.pop_change() {
            *self.table.row_mut(change.slot) = change.base;
        }
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
        let (store, key) = (self.identity.store, self.table.key(slot));
        self.context.changelog.borrow_mut().append(ChangelogEntry { store, key, value, timestamp });
        Ok(())
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        if self.is_poisoned {
            return Err(StoreError::Poisoned { store: self.identity.name.clone() });
        }
        Ok(())
    }

    fn prepare_commit(&mut self) -> Result<(), StoreError> {
        self.check_usable()?;
        let logs_now = self.identity.is_cached && self.identity.is_logged;
        let store = self.identity.store;
        let mut changelog = self.context.changelog.borrow_mut();
        let mut encoder = ValueEncoder::new(&self.identity, &self.value_serde, &mut self.typical_value_bytes);
        for (change, key, row) in self.table.changes_and_rows() {
            if change.encoded.is_some() {
                continue;
            }
            let encoded = RowPlace::append(&mut self.prepared, key, |bytes| {
                let Some(row) = row else { return Ok(false) };
                row::begin(row.timestamp, bytes);
                encoder.append(&row.value, bytes)?;
                Ok::<_, StoreError>(true)
            })?;
            if logs_now && change.is_news(encoded) {
                let value = encoded.row(&self.prepared).and_then(row::split).map(|(_, value)| value);
                changelog.append(ChangelogEntry { store, key, value, timestamp: change.at });
            }
            change.encoded = Some(encoded);
        }
        Ok(())
    }

    fn commit(&mut self, position: &Arc<Position>) {
        let rows = self.table.take_changes().filter_map(|(hash, change)| {
            let encoded = change.encoded.filter(|encoded| change.is_news(*encoded))?;
            Some((hash, encoded))
        });
        let run = Run::of_rows(std::mem::take(&mut self.prepared), rows);
        self.committed.publish(run, position);
        self.undo.clear();
        self.shrink();
    }

    /// Evicts until the table is within its budget again. The first turn of the clock forgets what was read, the second need
    /// not spare it.
    fn shrink(&mut self) {
        let mut steps = 2 * self.table.slots();
        while steps > 0 && self.memory.must_shrink(self.table.bytes()) {
            let some = steps.min(EVICTION_STRIDE);
            self.table.evict(some);
            steps -= some;
        }
        self.table.give_room_back();
    }

    fn roll_back(&mut self) {
        self.reverts += 1;
        self.table.roll_back();
        self.prepared.clear();
        self.undo.clear();
        self.is_poisoned = false;
    }
}

/// Encodes values of one store, and keeps track of how long they are.
struct ValueEncoder<'store, V> {
    identity: &'store StoreIdentity,
    serde: &'store SerdeRef<V>,
    typical_value_bytes: &'store mut usize,
}

impl<'store, V> ValueEncoder<'store, V> {
    fn new(
        identity: &'store StoreIdentity,
        serde: &'store SerdeRef<V>,
        typical_value_bytes: &'store mut usize,
    ) -> Self {
        Self { identity, serde, typical_value_bytes }
    }

    /// Appends the bytes of `value` to `out`.
    fn append(&mut self, value: &V, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let start = out.len();
        encode(&self.identity.name, RowPart::Value, self.serde, value, out)?;
        // A moving average over about eight values.
        let typical = *self.typical_value_bytes;
        *self.typical_value_bytes = (typical * 7 + out.len() - start) / 8;
        Ok(())
    }
}

impl<V: Clone> ManagedStore for RefCell<CachedRows<V>> {
    fn undo_record(&self) {
        let mut rows = self.borrow_mut();
        if rows.undo_record == rows.context.record.get() {
            while rows.undo_one() {
                rows.reverts += 1;
            }
            rows.is_poisoned = false;
        }
    }

    fn prepare_commit(&self) -> Result<(), StoreError> {
        self.borrow_mut().prepare_commit()
    }

    fn uncommitted(&self) -> Uncommitted {
        self.borrow().table.uncommitted()
    }

    fn is_prepared(&self) -> bool {
        self.borrow().table.changes().iter().all(|change| change.encoded.is_some())
    }

    fn commit(&self, position: &Arc<Position>) {
        self.borrow_mut().commit(position);
    }

    fn roll_back(&self) {
        self.borrow_mut().roll_back();
    }

    fn stats(&self) -> StoreStats {
        let rows = self.borrow();
        let (overlay_entries, overlay_bytes) = rows.committed.uncheckpointed();
        StoreStats {
            store: rows.identity.name.clone(),
            cache_hits: rows.hits,
            cache_misses: rows.misses,
            cached_entries: rows.table.len(),
            cached_bytes: rows.table.bytes(),
            uncommitted_entries: rows.table.changes().len(),
            overlay_entries,
            overlay_bytes,
        }
    }
}
