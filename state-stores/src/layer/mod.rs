//! The write-back cache of the record path, written once for every kind of store.
//!
//! It works on encoded keys and decoded values, and is generic over the value alone. Reads go table, overlay, engine;
//! writes stay in the table until the commit. Nothing here is shared with other threads.

mod cached_rows;
mod changelog;
mod rows;
mod table;

use std::cell::{Cell, RefCell};

use changelog::ChangelogBuffer;

pub use cached_rows::StoreStats;
pub(crate) use cached_rows::{CachedRows, ChangeParts, ManagedStore, StoreIdentity, Uncommitted};
pub use changelog::ChangelogEntry;
pub(crate) use rows::{CommittedRows, ReadRows, WriteRows};

/// What the stores of one task have in common. The record path updates it in place, so that asking costs nothing.
pub(crate) struct TaskContext {
    /// Whether a record can be undone.
    pub(crate) can_undo: bool,
    /// Counts the records begun; changes of an earlier record are not undone any more.
    pub(crate) record: Cell<u64>,
    /// What waits to be sent to the changelog topics.
    pub(crate) changelog: RefCell<ChangelogBuffer>,
}

impl TaskContext {
    pub(crate) fn new(can_undo: bool) -> Self {
        Self { can_undo, record: Cell::new(0), changelog: RefCell::new(ChangelogBuffer::default()) }
    }
}
