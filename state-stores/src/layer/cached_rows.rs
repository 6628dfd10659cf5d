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

use super::beside::Beside;
use super::changelog::ChangelogBuffer;
use super::table::{ChangedRow, Slot, Table, TableRow};
use super::{ChangelogEntry, TaskContext};
use crate::error::{RowPart, StoreError};
use crate::format::{TimedKeys, row};
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
    /// How many bytes of a key come before what the changelog has of it.
    pub(crate) unlogged_key_bytes: usize,
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
/// How many it looks at between two looks at the budget, when a commit has made rows evictable.
const EVICTION_STRIDE: usize = 256;

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

    /// The keys of the rows that changed since the last commit, in the order in which they did first.
    pub(super) fn changed_keys(&self) -> impl Iterator<Item = &[u8]> {
        self.table.changes().iter().map(|change| self.table.key(change.slot))
    }

    /// The keys of committed rows in a range, in order. Unchanged rows that the table does not have are brought into it.
    pub(super) fn load_range(
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
    pub(super) fn scan_index(
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

    /// The mark that is committed; to be read before one is set.
    pub(super) fn read_mark(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.beside.as_mut().map_or(Ok(None), |beside| beside.read_mark(&self.committed))
    }

    /// Sets the mark, which is committed with the rows.
    pub(super) fn set_mark(&mut self, mark: Timestamp) {
        if let Some(beside) = &mut self.beside {
            beside.set_mark(mark);
        }
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
        let row = if self.committed.read_row(key, &mut self.buffer)? {
            Some(self.committed.decode(&self.value_serde, &self.buffer)?)
        } else {
            None
        };
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
        decode(&self.identity.name, RowPart::Value, &self.value_serde, value)
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

    pub(super) fn is_prepared(&self) -> bool {
        self.table.changes().iter().all(|change| change.encoded.is_some())
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

    pub(super) fn prepare_commit(&mut self) -> Result<(), StoreError> {
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

    pub(super) fn commit(&mut self, position: &Arc<Position>) {
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

    pub(super) fn roll_back(&mut self) {
        self.reverts += 1;
        self.table.roll_back();
        self.prepared.clear();
        self.undo.clear();
        self.is_poisoned = false;
        if let Some(beside) = &mut self.beside {
            beside.roll_back();
        }
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
