//! One budget of memory for all stores of a process, and who may use how much of it.
//!
//! ```text
//! state_memory ─┬─ half: RocksDB's block cache, with indexes and filters
//!               └─ half: rows ─┬─ committed, not checkpointed: at most half; then a thread waits for its checkpoints
//!                              ├─ not committed: at most half; then a commit comes early
//!                              └─ unchanged rows of tables: what the others leave; evicted as they need it
//! ```
//! Everything that holds rows says here how many bytes it holds; who decides reads it here. Bytes are those asked of the
//! allocator, or estimated for values; what the allocator needs to hand them out is not known to anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rocksdb::{Cache, LruCacheOptions};

/// Few shards: each is a cache of its own, and too small for anything if a small budget is cut into many.
const CACHE_SHARD_BITS: i32 = 2;

/// The memory that all stores of a process share.
///
/// ```
/// # use millstream_state_stores::StateMemory;
/// let memory = StateMemory::new(256 << 20);
/// assert!(memory.used() < 1 << 20);
/// assert_eq!(memory.limits_of_thread(4).uncommitted, 16 << 20);
/// ```
pub struct StateMemory {
    row_budget: usize,
    table_bytes: AtomicUsize,
    tables: AtomicUsize,
    /// Rows of commits that RocksDB does not have yet.
    committed_bytes: AtomicUsize,
    block_cache: Cache,
}

/// How many bytes of rows the tasks of one stream thread may hold together that nobody can evict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowLimits {
    /// Not committed; a commit makes them evictable.
    pub uncommitted: usize,
    /// Committed, and not yet written by a checkpoint.
    pub uncheckpointed: usize,
}

impl StateMemory {
    /// A budget of `budget_bytes` for the whole process.
    pub fn new(budget_bytes: usize) -> Arc<Self> {
        let mut cache_options = LruCacheOptions::default();
        cache_options.set_capacity(budget_bytes / 2);
        cache_options.set_num_shard_bits(CACHE_SHARD_BITS);
        Arc::new(Self {
            row_budget: budget_bytes / 2,
            table_bytes: AtomicUsize::new(0),
            tables: AtomicUsize::new(0),
            committed_bytes: AtomicUsize::new(0),
            block_cache: Cache::new_lru_cache_opts(&cache_options),
        })
    }

    /// Bytes in use now: rows in tables, committed rows, block cache.
    pub fn used(&self) -> usize {
        let rows = self.table_bytes.load(Ordering::Relaxed) + self.committed_bytes.load(Ordering::Relaxed);
        rows + self.block_cache.get_usage()
    }

    /// The part of one of `threads` stream threads.
    pub fn limits_of_thread(&self, threads: usize) -> RowLimits {
        let half = self.row_budget / 2 / threads.max(1);
        RowLimits { uncommitted: half, uncheckpointed: half }
    }

    pub(crate) fn block_cache(&self) -> &Cache {
        &self.block_cache
    }

    /// Counts bytes of committed rows for as long as they are in memory, whoever holds them: a task, a checkpoint, a scan.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Reservation {
        self.committed_bytes.fetch_add(bytes, Ordering::Relaxed);
        Reservation { memory: Arc::clone(self), bytes }
    }

    /// What all tables may use together now.
    fn table_budget(&self) -> usize {
        self.row_budget.saturating_sub(self.committed_bytes.load(Ordering::Relaxed))
    }
}

impl std::fmt::Debug for StateMemory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let used = self.used();
        formatter.debug_struct("StateMemory").field("used", &used).finish_non_exhaustive()
    }
}

/// Bytes of committed rows, counted until this is dropped.
pub(crate) struct Reservation {
    memory: Arc<StateMemory>,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.committed_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
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
        if bytes.abs_diff(self.reported) >= Self::GRANULARITY.min(self.memory.row_budget / 16) {
            self.report(bytes);
        }
        let budget = self.memory.table_budget();
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

    #[test]
    fn committed_rows_take_room_from_the_tables_and_give_it_back() {
        let memory = StateMemory::new(2_000);
        let mut table = TableMemory::new(Arc::clone(&memory));
        assert!(!table.must_shrink(900));
        let committed = memory.reserve(300);
        assert!(table.must_shrink(900), "700 are left");
        assert!(!table.must_shrink(600));
        assert_eq!(memory.used(), 600 + 300 + memory.block_cache.get_usage());
        drop(committed);
        assert!(!table.must_shrink(900));
    }

    #[test]
    fn what_no_thread_can_evict_fits_into_the_memory_of_rows() {
        let memory = StateMemory::new(16 << 20);
        for threads in [1, 3, 8] {
            let RowLimits { uncommitted, uncheckpointed } = memory.limits_of_thread(threads);
            assert!(threads * (uncommitted + uncheckpointed) <= memory.row_budget);
        }
    }
}
