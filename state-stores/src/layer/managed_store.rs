//! A store as its task sees it, whatever its types: what it is called, what it is told to do, how large it is.

use std::sync::Arc;

use crate::error::StoreError;
use crate::position::Position;
use crate::types::StoreIndex;

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
