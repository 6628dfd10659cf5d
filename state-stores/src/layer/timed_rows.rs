//! The rows of a window or session store: cached rows whose keys carry time, in the order of time for each key, each gone after
//! the store's retention.

use std::cell::RefCell;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use super::cached_rows::{CachedRows, ChangeParts};
use super::known_rows::KnownRows;
use super::row_numbers::RowNumbers;
use super::table::TableRow;
use super::{ManagedStore, StoreStats, Uncommitted};
use crate::error::StoreError;
use crate::expiry::Expiry;
use crate::format::{RowId, TimedKeys};
use crate::key_range::{Direction, KeyRange};
use crate::position::Position;
use crate::store::{Change, ReadEntry, ValueAndTimestamp};
use crate::types::Timestamp;

/// See the module's description.
pub(crate) struct TimedRows<V> {
    rows: CachedRows<V>,
    keys: TimedKeys,
    expiry: Arc<Expiry>,
    /// The newest time of a row that was put, committed or not.
    observed: Timestamp,
    /// The record that moved it last, and what it was before.
    moved_by: (u64, Timestamp),
    /// Of a store that retains duplicates.
    numbers: Option<RowNumbers>,
    /// The rows of each key, once somebody has asked for those of a span of time.
    known: Option<KnownRows>,
    /// What the current record deleted: it is known again if the record is undone.
    deleted: Vec<(Box<[u8]>, RowId)>,
    /// The record that did.
    deleted_by: u64,
    /// How many rows the table had after those that are gone were last removed.
    kept_rows: usize,
    /// Reused for keys.
    row_key: Vec<u8>,
}

/// Below this it is not worth looking for rows that are gone.
const LEAST_ROWS: usize = 1 << 10;

impl<V: Clone> TimedRows<V> {
    pub(crate) fn new(rows: CachedRows<V>, expiry: Arc<Expiry>, numbers: Option<RowNumbers>) -> Self {
        let observed = expiry.observed();
        Self {
            rows,
            keys: expiry.keys(),
            expiry,
            observed,
            moved_by: (0, observed),
            numbers,
            known: None,
            deleted: Vec::new(),
            deleted_by: 0,
            kept_rows: 0,
            row_key: Vec::new(),
        }
    }

    /// Whether a row of this time is kept. One that is not is never read, and putting it changes nothing.
    #[inline]
    pub(crate) fn is_kept(&self, time: Timestamp) -> bool {
        time >= self.expiry.oldest_kept(self.observed)
    }

    /// The current row with the key `row`, which has this id.
    pub(crate) fn read(&mut self, row: &[u8], id: RowId) -> Result<&TableRow<V>, StoreError> {
        if self.is_kept(self.keys.time(id)) { self.rows.read(row) } else { Ok(&None) }
    }

    /// [`CachedRows::update`] of the row with the key `row`, which has this id. Of a row that is not kept nothing changes.
    pub(crate) fn update<E: From<StoreError>>(
        &mut self,
        row: &[u8],
        id: RowId,
        at: Timestamp,
        wanted: ChangeParts,
        f: impl FnOnce(TableRow<V>) -> Result<TableRow<V>, E>,
    ) -> Result<Option<(Change<V>, Timestamp)>, E> {
        let time = self.keys.time(id);
        if !self.is_kept(time) {
            return Ok(None);
        }
        let mut is_deleted = false;
        let change = self.rows.update(row, at, wanted, |before| {
            let next = f(before)?;
            is_deleted = next.is_none();
            Ok::<_, E>(next)
        })?;
        self.take_note(row, time, is_deleted);
        Ok(change)
    }

    /// What tells the next row apart from others of its key and time; 0 where there are no others.
    pub(crate) fn next_number(&mut self) -> u32 {
        let record = self.rows.record();
        self.numbers.as_mut().map_or(0, |numbers| numbers.next(record))
    }

    /// [`CachedRows::add`] of a row with the key `row`, which has this id, if it is kept.
    pub(crate) fn add(
        &mut self,
        row: &[u8],
        id: RowId,
        value: ValueAndTimestamp<V>,
    ) -> Result<(), StoreError> {
        let time = self.keys.time(id);
        if self.is_kept(time) {
            self.rows.add(row, value)?;
            self.take_note(row, time, false);
        }
        Ok(())
    }

    /// Keeps up stream time, and what is known of a key one of whose rows was put or deleted.
    fn take_note(&mut self, row: &[u8], time: Timestamp, is_deleted: bool) {
        if time > self.observed {
            self.observe(time);
        }
        let (Some(known), Some((key, id))) = (&mut self.known, self.keys.split_row(row)) else { return };
        if !is_deleted {
            return known.add(key, id);
        }
        known.remove(key, id);
        if self.rows.can_undo() {
            let record = self.rows.record();
            if self.deleted_by != record {
                self.deleted.clear();
                self.deleted_by = record;
            }
            self.deleted.push((key.into(), id));
        }
    }

    fn observe(&mut self, time: Timestamp) {
        let record = self.rows.record();
        if self.moved_by.0 != record {
            self.moved_by = (record, self.observed);
        }
        self.observed = time;
    }

    /// Shows the rows of a key with these ids, until `show` breaks off.
    pub(crate) fn visit(
        &mut self,
        key: &[u8],
        ids: RangeInclusive<RowId>,
        direction: Direction,
        mut show: impl FnMut(RowId, &ValueAndTimestamp<V>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let oldest =
            self.keys.first_of(self.expiry.oldest_kept(self.observed).max(Timestamp::from_millis(0)));
        self.know(key, oldest)?;
        let (keys, rows, row_key) = (self.keys, &mut self.rows, &mut self.row_key);
        let known = self.known.get_or_insert_default();
        let from = oldest.max(*ids.start());
        let ids = known.rows(key, from..=*ids.end(), oldest);
        let mut visit = |id: RowId| {
            keys.row(key, id, row_key);
            let row = rows.read(row_key)?.as_ref();
            Ok(row.map_or(ControlFlow::Continue(()), |row| show(id, row)))
        };
        let mut ids = ids.iter().copied();
        loop {
            let next = match direction {
                Direction::Forward => ids.next(),
                Direction::Reverse => ids.next_back(),
            };
            match next.map(&mut visit).transpose()? {
                Some(ControlFlow::Continue(())) => {}
                Some(ControlFlow::Break(())) | None => return Ok(()),
            }
        }
    }

    /// Makes sure that all rows of a key are known that are kept.
    fn know(&mut self, key: &[u8], oldest: RowId) -> Result<(), StoreError> {
        let keys = self.keys;
        let known = match &mut self.known {
            Some(known) => known,
            known => {
                let mut changed = KnownRows::default();
                for (key, id) in self.rows.changed_keys().filter_map(|row| keys.split_row(row)) {
                    changed.add(key, id);
                }
                known.insert(changed)
            }
        };
        if known.is_complete(key) {
            return Ok(());
        }
        let range = keys.rows_of_key(key, oldest, keys.last_of(Timestamp::from_millis(i64::MAX)));
        let mut ids = Vec::new();
        // Rows of other keys, which begin like this one, may lie in between.
        let is_of_key = |row: &[u8]| keys.split_row(row).is_some_and(|(found, _)| found == key);
        self.rows.load_range(range, is_of_key, |row| ids.extend(keys.split_row(row).map(|(_, id)| id)))?;
        known.complete(key, ids);
        Ok(())
    }

    /// The rows in a range of keys that are kept; later changes are not seen.
    pub(crate) fn scan(
        &mut self,
        range: KeyRange,
        direction: Direction,
    ) -> Result<impl Iterator<Item = ReadEntry<Vec<u8>, V>> + use<V>, StoreError>
    where
        V: 'static,
    {
        let (keys, oldest) = (self.keys, self.expiry.oldest_kept(self.observed));
        let rows = self.rows.scan(range, direction)?;
        Ok(rows.filter(move |entry| {
            let time = entry.as_ref().ok().and_then(|(row, _)| keys.time_on_disk(row));
            time.is_none_or(|time| time >= oldest)
        }))
    }

    /// The changes since the last commit, as [`CachedRows::emissions`] gives them.
    pub(crate) fn emissions(
        &self,
    ) -> impl Iterator<Item = Result<(&[u8], Change<V>, Timestamp), StoreError>> {
        self.rows.emissions()
    }

    /// The keys of the rows between two times, both included, in the order of time, of a store in which they can be found so. Rows deleted
    /// since may be among them.
    pub(crate) fn between(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<impl Iterator<Item = Result<Vec<u8>, StoreError>> + use<V>, StoreError> {
        let keys = self.keys;
        Ok(self.rows.scan_index(keys, from, to)?.map(move |index| {
            let mut row = Vec::new();
            keys.row_of_index(&index?, &mut row);
            Ok(row)
        }))
    }

    /// The current row with this key, whether it is still kept or not.
    pub(crate) fn read_any(&mut self, row: &[u8]) -> Result<&TableRow<V>, StoreError> {
        self.rows.read(row)
    }

    /// The mark that is committed; to be read before one is set.
    pub(crate) fn read_mark(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.rows.read_mark()
    }

    /// Sets the mark, which is committed with the rows.
    pub(crate) fn set_mark(&mut self, mark: Timestamp) {
        self.rows.set_mark(mark);
    }

    /// After a commit: lets others see the stream time, and gives memory back.
    fn committed(&mut self) {
        self.expiry.observe(self.observed);
        if self.rows.cached_rows() > LEAST_ROWS.max(2 * self.kept_rows) {
            let expiry = &self.expiry;
            self.rows.forget(|row| expiry.has_expired(row));
            self.kept_rows = self.rows.cached_rows();
        }
        let Some(known) = &mut self.known else { return };
        known.committed();
        if self.rows.must_shrink_with(known.bytes()) {
            known.forget_unused();
            if self.rows.must_shrink_with(known.bytes()) {
                known.clear();
            }
        }
        self.rows.must_shrink_with(known.bytes());
    }
}

impl<V: Clone> ManagedStore for RefCell<TimedRows<V>> {
    fn undo_record(&self) {
        let timed = &mut *self.borrow_mut();
        timed.rows.undo_record();
        let record = timed.rows.record();
        if timed.moved_by.0 == record {
            timed.observed = timed.moved_by.1;
        }
        timed.numbers.iter_mut().for_each(|numbers| numbers.undo(record));
        if timed.deleted_by == record
            && let Some(known) = &mut timed.known
        {
            timed.deleted.drain(..).for_each(|(key, id)| known.add(&key, id));
        }
    }

    fn prepare_commit(&self) -> Result<(), StoreError> {
        self.borrow_mut().rows.prepare_commit()
    }

    fn uncommitted(&self) -> Uncommitted {
        let timed = self.borrow();
        let Uncommitted { rows, bytes } = timed.rows.uncommitted();
        Uncommitted { rows, bytes: bytes + timed.known.as_ref().map_or(0, KnownRows::uncommitted_bytes) }
    }

    fn is_prepared(&self) -> bool {
        self.borrow().rows.is_prepared()
    }

    fn commit(&self, position: &Arc<Position>) {
        let timed = &mut *self.borrow_mut();
        timed.rows.commit(position);
        timed.numbers.iter_mut().for_each(RowNumbers::commit);
        timed.committed();
    }

    fn roll_back(&self) {
        let timed = &mut *self.borrow_mut();
        timed.rows.roll_back();
        timed.observed = timed.expiry.observed();
        timed.numbers.iter_mut().for_each(RowNumbers::roll_back);
        // Rows that came back were deleted from it. All rows are committed ones now, and are found again.
        timed.known = None;
    }

    fn stats(&self) -> StoreStats {
        self.borrow().rows.stats()
    }
}
