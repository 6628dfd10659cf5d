//! What a store publishes with a commit beside the rows of its table: where rows are found by time, and the mark up to which
//! closed windows were emitted.
//!
//! The mark must never be ahead of what a new owner of the task takes for processed. Where the changelog and the input offsets become
//! visible together, the changelog has the mark of the commit it belongs to. Where they do not, a commit may end between the two,
//! and its windows must be emitted again: the changelog has the mark of the commit before, which is known to be complete.

use std::sync::Arc;

use super::table::Table;
use super::{ChangelogEntry, TaskContext};
use crate::error::StoreError;
use crate::expiry::Expiry;
use crate::format::{MARK_KEY, TimedKeys, row};
use crate::overlay::{RowPlace, hash_of};
use crate::reader::StoreReader;
use crate::types::{StoreIndex, Timestamp};

/// See the module's description.
pub(crate) struct Beside {
    keys: TimedKeys,
    expiry: Arc<Expiry>,
    mark: Mark,
    /// Reused for keys.
    key: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Mark {
    committed: Option<Timestamp>,
    /// Set since the last commit.
    next: Option<Timestamp>,
    /// What the changelog has, as far as this task has seen to it, as of the last commit.
    logged: Option<Timestamp>,
    /// What was logged since.
    logged_next: Option<Timestamp>,
}

impl Beside {
    pub(crate) fn new(expiry: Arc<Expiry>) -> Self {
        Self { keys: expiry.keys(), expiry, mark: Mark::default(), key: Vec::new() }
    }

    /// The mark that is committed, to be read before one is set.
    pub(super) fn read_mark(&mut self, committed: &StoreReader) -> Result<Option<Timestamp>, StoreError> {
        self.mark.committed = committed.get(MARK_KEY)?.map(|(time, _)| time);
        Ok(self.mark.committed)
    }

    pub(super) fn set_mark(&mut self, mark: Timestamp) {
        self.mark.next = Some(mark);
    }

    /// Adds the mark to the changelog, if that does not have it yet.
    pub(super) fn log(&mut self, store: StoreIndex, context: &TaskContext) {
        let Mark { committed, next, .. } = self.mark;
        let mark = if context.is_atomic { next.or(committed) } else { committed };
        let Some(mark) = mark.filter(|mark| self.mark.logged_next.or(self.mark.logged) != Some(*mark)) else {
            return;
        };
        self.keys.logged_mark(&mut self.key);
        let value = mark.as_millis().to_be_bytes();
        let entry = ChangelogEntry { store, key: &self.key, value: Some(&value), timestamp: mark };
        context.changelog.borrow_mut().append(entry);
        self.mark.logged_next = Some(mark);
    }

    /// Encodes what is to be published with the changes of the table: hashes and places of keys in `bytes`.
    pub(super) fn prepare<V>(&mut self, table: &mut Table<V>, bytes: &mut Vec<u8>) -> Vec<(u64, RowPlace)> {
        let mut prepared = Vec::new();
        for (change, key, row) in table.changes_and_rows() {
            let timestamp = row.as_ref().map(|row| row.timestamp);
            if timestamp.is_some() != change.replaces_row() {
                self.keys.index(key, &mut self.key);
                prepared.push((hash_of(&self.key), place(&self.key, timestamp, bytes)));
            }
        }
        if let Some(mark) = self.mark.next {
            prepared.push((hash_of(MARK_KEY), place(MARK_KEY, Some(mark), bytes)));
        }
        prepared
    }

    pub(super) fn commit(&mut self) {
        let Mark { committed, next, logged, logged_next } = &mut self.mark;
        next.iter().for_each(|mark| self.expiry.emitted_to(*mark));
        *committed = next.take().or(*committed);
        *logged = logged_next.take().or(*logged);
    }

    pub(super) fn roll_back(&mut self) {
        self.mark.next = None;
        self.mark.logged_next = None;
    }
}

/// Appends a key with a row that is a timestamp and nothing else, or none.
fn place(key: &[u8], timestamp: Option<Timestamp>, bytes: &mut Vec<u8>) -> RowPlace {
    let placed = RowPlace::append(bytes, key, |bytes| {
        if let Some(timestamp) = timestamp {
            row::begin(timestamp, bytes);
        }
        Ok::<_, std::convert::Infallible>(timestamp.is_some())
    });
    let Ok(placed) = placed;
    placed
}
