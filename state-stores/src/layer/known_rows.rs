//! Which rows a key has, so that the rows of a span of time are found without a search in the engine.
//!
//! For each key it holds the ids of its rows, or of some that were deleted since: an id is a hint, the row itself has the last word. A
//! key may be forgotten between two commits, and is then searched for again among the committed rows. Between commits it is not: only
//! here uncommitted rows are found.

use std::ops::RangeInclusive;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::format::RowId;

/// The rows of the keys that were asked for or changed lately.
#[derive(Default)]
pub(super) struct KnownRows {
    keys: HashMap<Vec<u8>, Known, FxBuildHasher>,
    /// Estimated bytes in memory.
    bytes: usize,
    /// The same as of the last commit.
    bytes_at_commit: usize,
    /// Counts commits.
    epoch: u64,
}

struct Known {
    /// In order.
    ids: Vec<RowId>,
    /// Whether the committed rows of the key are among them.
    is_complete: bool,
    /// When the key was last used.
    used: u64,
}

impl KnownRows {
    /// Takes note of a row that was put.
    pub(super) fn add(&mut self, key: &[u8], id: RowId) {
        self.add_all(key, [id]);
    }

    /// Takes note of a row that was deleted.
    pub(super) fn remove(&mut self, key: &[u8], id: RowId) {
        if let Some(known) = self.keys.get_mut(key)
            && let Ok(place) = known.ids.binary_search(&id)
        {
            known.ids.remove(place);
        }
    }

    /// Whether the committed rows of a key are known.
    pub(super) fn is_complete(&self, key: &[u8]) -> bool {
        self.keys.get(key).is_some_and(|known| known.is_complete)
    }

    /// Takes note of all committed rows of a key.
    pub(super) fn complete(&mut self, key: &[u8], ids: impl IntoIterator<Item = RowId>) {
        self.add_all(key, ids).is_complete = true;
    }

    /// The rows of a key between two ids; those before `oldest` are forgotten.
    pub(super) fn rows(&mut self, key: &[u8], ids: RangeInclusive<RowId>, oldest: RowId) -> &[RowId] {
        let epoch = self.epoch;
        let Some(known) = self.keys.get_mut(key) else { return &[] };
        known.used = epoch;
        let gone = known.ids.partition_point(|id| *id < oldest);
        // Each time half of them at least, so that a row is moved once or twice.
        if gone > known.ids.len() / 2 {
            known.ids.drain(..gone);
        }
        let from = known.ids.partition_point(|id| id < ids.start());
        let to = known.ids.partition_point(|id| id <= ids.end());
        known.ids.get(from..to).unwrap_or_default()
    }

    /// Estimated bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much of that came since the last commit, and stays until the next.
    pub(super) fn uncommitted_bytes(&self) -> usize {
        self.bytes.saturating_sub(self.bytes_at_commit)
    }

    /// Begins the time until the next commit.
    pub(super) fn committed(&mut self) {
        self.epoch += 1;
        self.bytes_at_commit = self.bytes;
    }

    /// Forgets the keys that were not used since the last commit but one; to be called right after a commit.
    pub(super) fn forget_unused(&mut self) {
        let epoch = self.epoch;
        self.keys.retain(|_, known| known.used + 1 == epoch);
        self.bytes = self.keys.iter().map(|(key, known)| known.bytes(key)).sum();
    }

    /// Forgets everything; to be called right after a commit.
    pub(super) fn clear(&mut self) {
        self.keys = HashMap::default();
        self.bytes = 0;
    }

    fn add_all(&mut self, key: &[u8], ids: impl IntoIterator<Item = RowId>) -> &mut Known {
        let known = self.keys.entry_ref(key).or_insert_with(|| {
            self.bytes += size_of::<(Vec<u8>, Known)>() + key.len();
            Known { ids: Vec::new(), is_complete: false, used: 0 }
        });
        known.used = self.epoch;
        let before = known.ids.capacity();
        ids.into_iter().for_each(|id| known.add(id));
        self.bytes += (known.ids.capacity() - before) * size_of::<RowId>();
        known
    }
}

impl Known {
    fn add(&mut self, id: RowId) {
        match self.ids.last() {
            Some(last) if *last >= id => {
                if let Err(place) = self.ids.binary_search(&id) {
                    self.ids.insert(place, id);
                }
            }
            _ => self.ids.push(id),
        }
    }

    /// What it takes in the map under this key.
    fn bytes(&self, key: &[u8]) -> usize {
        size_of::<(Vec<u8>, Self)>() + key.len() + self.ids.capacity() * size_of::<RowId>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    fn id(start: i64) -> RowId {
        RowId::of_window(Timestamp::from_millis(start), 0)
    }

    fn starts(known: &mut KnownRows, from: i64, to: i64, oldest: i64) -> Vec<i64> {
        let rows = known.rows(b"sku", id(from)..=id(to), id(oldest));
        rows.iter().map(|id| id.window_start().as_millis()).collect()
    }

    #[test]
    fn rows_are_found_in_order_however_they_came() {
        let mut known = KnownRows::default();
        for start in [5, 9, 7, 9, 1] {
            known.add(b"sku", id(start));
        }
        assert!(!known.is_complete(b"sku"));
        known.complete(b"sku", [id(3), id(7)]);
        assert!(known.is_complete(b"sku"));
        assert_eq!(starts(&mut known, 0, 10, 0), [1, 3, 5, 7, 9]);
        assert_eq!(starts(&mut known, 3, 7, 0), [3, 5, 7]);
        known.remove(b"sku", id(5));
        known.remove(b"sku", id(6));
        assert_eq!(starts(&mut known, 0, 10, 0), [1, 3, 7, 9]);
        assert_eq!(starts(&mut known, 8, 10, 6), [9]);
    }

    #[test]
    fn keys_that_nobody_asks_for_are_forgotten() {
        let mut known = KnownRows::default();
        known.complete(b"sku", [id(1)]);
        known.committed();
        known.complete(b"other", [id(1), id(2)]);
        let (of_both, other) = (known.bytes(), known.keys[b"other".as_slice()].bytes(b"other"));
        known.committed();
        known.forget_unused();
        assert!(known.is_complete(b"other") && !known.is_complete(b"sku"));
        assert!(known.bytes() == other && other < of_both);
        assert_eq!(known.uncommitted_bytes(), 0);
        known.clear();
        assert_eq!(known.bytes(), 0);
    }
}
