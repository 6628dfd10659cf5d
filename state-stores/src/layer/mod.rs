//! The write-back cache of the record path, written once for every kind of store.
//!
//! It works on encoded keys and decoded values, and is generic over the value alone. Reads go table, overlay, engine;
//! writes stay in the table until the commit. Nothing here is shared with other threads.

mod beside;
mod cached_rows;
mod changelog;
mod known_rows;
mod managed_store;
mod ordered_changes;
mod row_numbers;
mod rows;
mod table;
mod timed_rows;
mod values;

use std::cell::{Cell, RefCell};

use changelog::ChangelogBuffer;

pub(crate) use beside::Beside;
pub(crate) use cached_rows::{CachedRows, ChangeParts};
pub use changelog::ChangelogEntry;
pub use managed_store::StoreStats;
pub(crate) use managed_store::{ManagedStore, StoreIdentity, Uncommitted};
pub(crate) use row_numbers::RowNumbers;
pub(crate) use rows::{CommittedRows, ReadRows, WriteRows};
pub(crate) use timed_rows::TimedRows;
pub(crate) use values::{decode_value, encode_value};

/// What the stores of one task have in common. The record path updates it in place, so that asking costs nothing.
pub(crate) struct TaskContext {
    /// Whether a record can be undone.
    pub(crate) can_undo: bool,
    /// Whether the changelog becomes visible with the input offsets of its commit, or not at all.
    pub(crate) is_atomic: bool,
    /// Counts the records begun; changes of an earlier record are not undone any more.
    pub(crate) record: Cell<u64>,
    /// What waits to be sent to the changelog topics.
    pub(crate) changelog: RefCell<ChangelogBuffer>,
}

impl TaskContext {
    pub(crate) fn new(can_undo: bool, is_atomic: bool) -> Self {
        let changelog = RefCell::new(ChangelogBuffer::default());
        Self { can_undo, is_atomic, record: Cell::new(0), changelog }
    }
}
