//! Rows on their way from a changelog into the engine: of each key only the newest is kept, in memory, until they are many.
//!
//! A changelog says the same keys again and again; what is overwritten here never reaches RocksDB. What does is sorted.

use std::sync::Arc;

use crate::format::row;
use crate::memory::{StateMemory, TableMemory};
use crate::overlay::Run;
use crate::task_stores::RestoreRow;
use crate::types::Offset;

/// What was restored of one store and is not in the engine yet.
pub(crate) struct Restoring {
    rows: Run,
    next: Offset,
    /// Restored rows use the memory of tables: their own table is empty until the restore is done.
    memory: TableMemory,
    /// Reused for encoded rows.
    buffer: Vec<u8>,
}

/// Larger files are restored no faster.
const MOST_BYTES: usize = 64 << 20;
/// Smaller files are not worth their syncs and their merging later, however small the budget is.
const LEAST_BYTES: usize = 1 << 20;

impl Restoring {
    pub(crate) fn new(memory: &Arc<StateMemory>, next: Offset) -> Self {
        let memory = TableMemory::new(Arc::clone(memory));
        Self { rows: Run::default(), next, memory, buffer: Vec::new() }
    }

    /// Adds a batch that ends before `next`. Returns the number of rows.
    pub(crate) fn add<'a>(&mut self, rows: impl Iterator<Item = RestoreRow<'a>>, next: Offset) -> u64 {
        let mut count = 0;
        for row in rows {
            let encoded = row.value.map(|value| {
                self.buffer.clear();
                row::begin(row.timestamp, &mut self.buffer);
                self.buffer.extend_from_slice(value);
                self.buffer.as_slice()
            });
            self.rows.put(row.key, encoded);
            count += 1;
        }
        self.next = next;
        count
    }

    /// Whether the rows use all the memory they may.
    pub(crate) fn is_full(&mut self) -> bool {
        let bytes = self.rows.bytes();
        bytes > MOST_BYTES || self.memory.must_shrink(bytes) && bytes > LEAST_BYTES
    }

    pub(crate) fn rows(&self) -> &Run {
        &self.rows
    }

    /// The changelog offset after the last row.
    pub(crate) fn next(&self) -> Offset {
        self.next
    }

    /// Forgets the rows: they are in the engine.
    pub(crate) fn clear(&mut self) {
        self.rows = Run::default();
        self.memory.must_shrink(0);
    }
}
