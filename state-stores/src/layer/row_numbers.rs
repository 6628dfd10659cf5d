//! Numbers that tell the rows apart which a store retains of one key and time.

use crate::types::Offset;

/// The numbers of one store. Those of rows that are undone or rolled back are given again, so that there are never more of them than records in
/// the store's changelog: where that ends, the next owner goes on.
pub(crate) struct RowNumbers {
    last: u32,
    committed: u32,
    /// The record that was given one last, and what was the last before it.
    given_to: (u64, u32),
}

impl RowNumbers {
    /// From where a store's changelog ends; from the beginning without one, as Kafka Streams' do.
    pub(crate) fn behind(logged_to: Option<Offset>) -> Self {
        let last = logged_to.map_or(0, |next| (next.get() & i64::from(i32::MAX)) as u32);
        Self { last, committed: last, given_to: (0, last) }
    }

    /// The next number, for a row of this record.
    pub(super) fn next(&mut self, record: u64) -> u32 {
        if self.given_to.0 != record {
            self.given_to = (record, self.last);
        }
        self.last = self.last.wrapping_add(1) & i32::MAX as u32;
        self.last
    }

    /// Takes the numbers of this record back, which is the newest.
    pub(super) fn undo(&mut self, record: u64) {
        if self.given_to.0 == record {
            self.last = self.given_to.1;
        }
    }

    pub(super) fn commit(&mut self) {
        self.committed = self.last;
    }

    pub(super) fn roll_back(&mut self) {
        self.last = self.committed;
    }
}
