//! Rows on their way from a changelog into the engine: of each key only the newest is kept, in memory, until they are many.
//!
//! A changelog says the same keys again and again; what is overwritten here never reaches RocksDB. What does is sorted.

use std::sync::Arc;

use crate::dormant::RestoreRow;
use crate::engine::Engine;
use crate::error::StoreError;
use crate::expiry::Expiry;
use crate::format::{MARK_KEY, row};
use crate::layer::{ReadRows, WriteRows, decode_value, encode_value};
use crate::memory::{StateMemory, TableMemory};
use crate::overlay::{Overlay, Run, hash_of};
use crate::serde::SerdeRef;
use crate::store::ValueAndTimestamp;
use crate::types::{Offset, StoreIndex, Timestamp};

/// What was restored of one store and is not in the engine yet.
pub(crate) struct Restoring {
    rows: Run,
    /// How many rows were given, those replaced by newer ones included.
    received: u64,
    next: Offset,
    /// Restored rows use the memory of tables: their own table does not exist yet.
    memory: TableMemory,
    /// Of a store whose keys carry time: which rows are too old.
    expiry: Option<Arc<Expiry>>,
    /// Reused for encoded rows.
    buffer: Vec<u8>,
    /// Reused for keys.
    key: Vec<u8>,
}

/// A key of so many bytes is none of this store.
pub(crate) struct ShortKey(pub(crate) usize);

/// Larger files are restored no faster.
const MOST_BYTES: usize = 64 << 20;
/// Smaller files are not worth their syncs and their merging later, however small the budget is.
const LEAST_BYTES: usize = 1 << 20;

/// After how many rows it is known whether their keys repeat.
const PROBED: u64 = 64 << 10;

impl Restoring {
    pub(crate) fn new(memory: &Arc<StateMemory>, next: Offset, expiry: Option<Arc<Expiry>>) -> Self {
        let memory = TableMemory::new(Arc::clone(memory));
        let (rows, buffer, key) = (Run::default(), Vec::new(), Vec::new());
        Self { rows, received: 0, next, memory, expiry, buffer, key }
    }

    /// Adds a batch that ends before `next`. Returns the number of rows.
    ///
    /// # Errors
    /// A key that is too short for the store.
    pub(crate) fn add<'a>(
        &mut self,
        rows: impl Iterator<Item = RestoreRow<'a>>,
        next: Offset,
    ) -> Result<u64, ShortKey> {
        let keys_repeat = self.keys_repeat();
        let mut count = 0;
        for row in rows {
            match self.expiry.clone() {
                None => self.put(row.key, row.value, row.timestamp, keys_repeat),
                Some(expiry) => self.add_timed(row, &expiry, keys_repeat)?,
            }
            count += 1;
        }
        self.received += count;
        self.next = next;
        Ok(count)
    }

    /// Adds a row of a store whose keys carry time, and what finds it, unless it is too old.
    fn add_timed(&mut self, row: RestoreRow<'_>, expiry: &Expiry, keys_repeat: bool) -> Result<(), ShortKey> {
        let keys = expiry.keys();
        if keys.is_logged_mark(row.key) {
            if let Some(mark) = row.value.and_then(|value| value.try_into().ok()) {
                let mark = Timestamp::from_millis(i64::from_be_bytes(mark));
                expiry.emitted_to(mark);
                self.put(MARK_KEY, Some(&[]), mark, keys_repeat);
            }
            return Ok(());
        }
        let (key, id) = keys.split(row.key).ok_or(ShortKey(row.key.len()))?;
        expiry.observe(keys.time(id));
        let mut row_key = std::mem::take(&mut self.key);
        keys.row(key, id, &mut row_key);
        if !expiry.has_expired(&row_key) {
            self.put(&row_key, row.value, row.timestamp, keys_repeat);
            if expiry.is_indexed() {
                let mut index = Vec::new();
                keys.index(&row_key, &mut index);
                self.put(&index, row.value.map(|_| [].as_slice()), row.timestamp, keys_repeat);
            }
        }
        self.key = row_key;
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: Timestamp, keys_repeat: bool) {
        let encoded = value.map(|value| {
            self.buffer.clear();
            row::begin(timestamp, &mut self.buffer);
            self.buffer.extend_from_slice(value);
            self.buffer.as_slice()
        });
        if keys_repeat {
            self.rows.put(key, encoded);
        } else {
            self.rows.append(key, encoded);
        }
    }

    /// Notes that what was put ends before `next`.
    pub(crate) fn reached(&mut self, next: Offset) {
        self.next = next;
    }

    /// Whether older rows of the same keys are worth looking for: not once it is seen that there are hardly any.
    fn keys_repeat(&self) -> bool {
        self.received < PROBED || (self.rows.len() as u64) < self.received / 8 * 7
    }

    /// Whether the rows use all the memory they may.
    pub(crate) fn is_full(&mut self) -> bool {
        let bytes = self.rows.bytes();
        bytes > MOST_BYTES || self.memory.must_shrink(bytes) && bytes > LEAST_BYTES
    }

    /// Hands the rows over, to be written into the engine. Their memory counts as long as this lives.
    pub(crate) fn take(&mut self) -> Overlay {
        let mut rows = Overlay::default();
        if !self.rows.is_empty() {
            rows.extend([Arc::new(std::mem::take(&mut self.rows))]);
        }
        rows
    }

    /// Whether a running task could look for the rows by their keys, as they are.
    pub(crate) fn is_indexed(&self) -> bool {
        self.rows.is_indexed()
    }

    /// The rows, found by their keys, for a running task. Their memory does not count as that of a table any more.
    pub(crate) fn into_rows(self) -> Run {
        self.rows.indexed()
    }

    /// The changelog offset after the last row.
    pub(crate) fn next(&self) -> Offset {
        self.next
    }
}

/// A table that is being restored row by row: what is in memory over what the engine has. Of a store with a companion.
pub(crate) struct RestoredTable<'a> {
    pub(crate) restoring: &'a mut Restoring,
    pub(crate) engine: &'a dyn Engine,
    pub(crate) store: StoreIndex,
    pub(crate) name: &'a str,
}

impl<'a> RestoredTable<'a> {
    /// Takes a record of the changelog as it is.
    pub(crate) fn put(&mut self, record: RestoreRow<'_>) {
        self.restoring.put(record.key, record.value, record.timestamp, true);
    }

    /// Its rows, decoded.
    pub(crate) fn rows<V>(self, serde: SerdeRef<V>) -> RestoredRows<'a, V> {
        RestoredRows { table: self, serde, found: None, buffer: Vec::new() }
    }
}

/// The rows of a table that is being restored.
pub(crate) struct RestoredRows<'a, V> {
    table: RestoredTable<'a>,
    serde: SerdeRef<V>,
    found: Option<ValueAndTimestamp<V>>,
    /// Reused for encoded rows.
    buffer: Vec<u8>,
}

impl<V> RestoredRows<'_, V> {
    fn load(&mut self, key: &[u8]) -> Result<Option<ValueAndTimestamp<V>>, StoreError> {
        let RestoredTable { restoring, engine, store, name } = &self.table;
        let bytes = match restoring.rows.get(hash_of(key), key) {
            Some(in_memory) => in_memory,
            None => engine.get(*store, key, &mut self.buffer)?.then_some(self.buffer.as_slice()),
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let malformed = || StoreError::MalformedRow { store: (*name).to_owned(), found: bytes.len() };
        let (timestamp, value) = row::split(bytes).ok_or_else(malformed)?;
        Ok(Some(ValueAndTimestamp { value: decode_value(&self.serde, name, value)?, timestamp }))
    }
}

impl<V> ReadRows<V> for RestoredRows<'_, V> {
    fn row(&mut self, key: &[u8]) -> Result<Option<&ValueAndTimestamp<V>>, StoreError> {
        self.found = self.load(key)?;
        Ok(self.found.as_ref())
    }
}

impl<V> WriteRows<V> for RestoredRows<'_, V> {
    fn change(
        &mut self,
        key: &[u8],
        f: impl FnOnce(Option<ValueAndTimestamp<V>>) -> Option<ValueAndTimestamp<V>>,
    ) -> Result<(), StoreError> {
        let row = match f(self.load(key)?) {
            Some(row) => {
                self.buffer.clear();
                row::begin(row.timestamp, &mut self.buffer);
                encode_value(&self.serde, self.table.name, &row.value, &mut self.buffer)?;
                Some(self.buffer.as_slice())
            }
            None => None,
        };
        self.table.restoring.rows.put(key, row);
        Ok(())
    }
}
