//! Rows on their way from a changelog into the engine: of each key only the newest is kept, in memory, until they are many.
//!
//! A changelog says the same keys again and again; what is overwritten here never reaches RocksDB. What does is sorted.

use std::sync::Arc;

use crate::dormant::RestoreRow;
use crate::format::row;
use crate::memory::{StateMemory, TableMemory};
use crate::overlay::{Overlay, Run};
use crate::types::Offset;

/// What was restored of one store and is not in the engine yet.
pub(crate) struct Restoring {
    rows: Run,
    /// How many rows were given, those replaced by newer ones included.
    received: u64,
    next: Offset,
    /// Restored rows use the memory of tables: their own table does not exist yet.
    memory: TableMemory,
    /// Reused for encoded rows.
    buffer: Vec<u8>,
}

/// Larger files are restored no faster.
const MOST_BYTES: usize = 64 << 20;
/// Smaller files are not worth their syncs and their merging later, however small the budget is.
const LEAST_BYTES: usize = 1 << 20;

/// After how many rows it is known whether their keys repeat.
const PROBED: u64 = 64 << 10;

impl Restoring {
    pub(crate) fn new(memory: &Arc<StateMemory>, next: Offset) -> Self {
        let memory = TableMemory::new(Arc::clone(memory));
        Self { rows: Run::default(), received: 0, next, memory, buffer: Vec::new() }
    }

    /// Adds a batch that ends before `next`. Returns the number of rows.
    pub(crate) fn add<'a>(&mut self, rows: impl Iterator<Item = RestoreRow<'a>>, next: Offset) -> u64 {
        let keys_repeat = self.keys_repeat();
        let mut count = 0;
        for row in rows {
            let encoded = row.value.map(|value| {
                self.buffer.clear();
                row::begin(row.timestamp, &mut self.buffer);
                self.buffer.extend_from_slice(value);
                self.buffer.as_slice()
            });
            if keys_repeat {
                self.rows.put(row.key, encoded);
            } else {
                self.rows.append(row.key, encoded);
            }
            count += 1;
        }
        self.received += count;
        self.next = next;
        count
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
