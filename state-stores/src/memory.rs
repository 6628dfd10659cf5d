//! One budget of memory for all stores of a process, and who may use how much of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rocksdb::{Cache, WriteBufferManager};

/// The smallest block cache RocksDB works well with.
const LEAST_ENGINE_BYTES: usize = 8 << 20;

/// The memory that all stores of a process share.
///
/// Half of the budget is for tables, the decoded rows that the record path works on, and for rows that are being
/// restored; half is for RocksDB, its block cache and write buffers together (at least 8 MiB). Rows changed since the last
/// commit cannot be evicted and may exceed the share of the tables: `uncommitted_bytes` of the task says when to commit early.
///
/// ```
/// # use millstream_state_stores::StateMemory;
/// let memory = StateMemory::new(256 << 20);
/// assert!(memory.used() < 1 << 20);
/// ```
pub struct StateMemory {
    table_budget: usize,
    table_bytes: AtomicUsize,
    tables: AtomicUsize,
    block_cache: Cache,
    write_buffers: WriteBufferManager,
}

impl StateMemory {
    /// A budget of `budget_bytes` for the whole process.
    pub fn new(budget_bytes: usize) -> Arc<Self> {
        let engine_bytes = (budget_bytes / 2).max(LEAST_ENGINE_BYTES);
        let block_cache = Cache::new_lru_cache(engine_bytes);
        // Write buffers are charged to the block cache, so that one limit holds for both; never stall the record path.
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            engine_bytes / 2,
            false,
            block_cache.clone(),
        );
        Arc::new(Self {
            table_budget: budget_bytes / 2,
            table_bytes: AtomicUsize::new(0),
            tables: AtomicUsize::new(0),
            block_cache,
            write_buffers,
        })
    }

    /// Bytes in use now: tables (estimated), block cache and write buffers.
    pub fn used(&self) -> usize {
        self.table_bytes.load(Ordering::Relaxed) + self.block_cache.get_usage()
    }

    pub(crate) fn block_cache(&self) -> &Cache {
        &self.block_cache
    }

    pub(crate) fn write_buffers(&self) -> &WriteBufferManager {
        &self.write_buffers
    }
}

impl std::fmt::Debug for StateMemory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let used = self.used();
        formatter.debug_struct("StateMemory").field("used", &used).finish_non_exhaustive()
    }
}

/// The part of one table in the shared budget. A table above its share gives memory back while the process is over its
/// budget; a table below its share may keep what it has, whoever filled the rest.
pub(crate) struct TableMemory {
    memory: Arc<StateMemory>,
    reported: usize,
}

impl TableMemory {
    /// Differences below this are not worth touching a counter that all threads share.
    const GRANULARITY: usize = 16 << 10;

    pub(crate) fn new(memory: Arc<StateMemory>) -> Self {
        memory.tables.fetch_add(1, Ordering::Relaxed);
        Self { memory, reported: 0 }
    }

    /// Reports that the table holds `bytes` now, and says whether it should give some back.
    pub(crate) fn must_shrink(&mut self, bytes: usize) -> bool {
        let budget = self.memory.table_budget;
        if bytes.abs_diff(self.reported) >= Self::GRANULARITY.min(budget / 16) {
            self.report(bytes);
        }
        let share = budget / self.memory.tables.load(Ordering::Relaxed).max(1);
        bytes > share && self.memory.table_bytes.load(Ordering::Relaxed) > budget
    }

    fn report(&mut self, bytes: usize) {
        if bytes >= self.reported {
            self.memory.table_bytes.fetch_add(bytes - self.reported, Ordering::Relaxed);
        } else {
            self.memory.table_bytes.fetch_sub(self.reported - bytes, Ordering::Relaxed);
        }
        self.reported = bytes;
    }
}

impl Drop for TableMemory {
    fn drop(&mut self) {
        self.report(0);
        self.memory.tables.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_table_above_its_share_of_a_spent_budget_must_shrink() {
        let memory = StateMemory::new(2_000);
        let mut orders = TableMemory::new(Arc::clone(&memory));
        assert!(!orders.must_shrink(900), "alone it may use all of the 1000 bytes");
        let mut stock = TableMemory::new(Arc::clone(&memory));
        assert!(!stock.must_shrink(300), "the budget is spent, but this table is below its half");
        assert!(orders.must_shrink(900));
        assert!(!orders.must_shrink(600), "above its half, but the budget is not spent");
        drop(stock);
        drop(orders);
        assert_eq!(memory.table_bytes.load(Ordering::Relaxed), 0);
        assert_eq!(memory.tables.load(Ordering::Relaxed), 0);
    }
}
