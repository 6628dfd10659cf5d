//! The rows of one commit, or of several merged: filled by one thread, then shared and never changed.
//!
//! Keys and rows lie one after the other in one buffer, found by the hash of the key. Their order is worked out by the
//! first who asks for it: a commit does not pay for scans that nobody makes.

use std::convert::Infallible;
use std::hash::Hasher;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use hashbrown::HashTable;
use rustc_hash::FxHasher;

use crate::memory::{Reservation, StateMemory};

/// Encoded rows by encoded key, each key once. A row that is `None` says that the key was deleted.
#[derive(Default)]
pub(crate) struct Run {
    bytes: Vec<u8>,
    entries: Vec<RowPlace>,
    index: HashTable<IndexEntry>,
    /// Places in `entries`, in the order of the keys.
    sorted: OnceLock<Box<[u32]>>,
    /// Set once the run is filled and shared.
    reservation: Option<Reservation>,
}

/// A row by the hash of its key. The hash is kept, so that growing and most comparisons need no look at the keys.
struct IndexEntry {
    hash: u32,
    /// Place in the entries.
    place: u32,
}

impl IndexEntry {
    /// Half of a hash is enough to tell keys apart and, said twice, to find the place in the index.
    fn half(hash: u64) -> u32 {
        (hash >> u32::BITS) as u32
    }

    fn twice(half: u32) -> u64 {
        u64::from(half) << u32::BITS | u64::from(half)
    }
}

/// Where a key and, right behind it, its row lie in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowPlace {
    start: usize,
    key_length: u32,
    /// `None` if the key was deleted. No row is empty: each begins with its timestamp.
    row_length: Option<NonZeroU32>,
}

impl RowPlace {
    /// Appends `key` to `bytes`, and the row that `append_row` appends unless it returns false.
    pub(crate) fn append<E>(
        bytes: &mut Vec<u8>,
        key: &[u8],
        append_row: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<Self, E> {
        let length = |from: usize, to: usize| u32::try_from(to - from).expect("Kafka's records end at 2 GiB");
        let start = bytes.len();
        bytes.extend_from_slice(key);
        let key_end = bytes.len();
        let row_length =
            if append_row(bytes)? { NonZeroU32::new(length(key_end, bytes.len())) } else { None };
        Ok(Self { start, key_length: length(start, key_end), row_length })
    }

    /// Appends `key` and `row` to `bytes`.
    pub(crate) fn of(bytes: &mut Vec<u8>, key: &[u8], row: Option<&[u8]>) -> Self {
        let appended = Self::append(bytes, key, |bytes| {
            bytes.extend_from_slice(row.unwrap_or_default());
            Ok::<_, Infallible>(row.is_some())
        });
        let Ok(place) = appended;
        place
    }

    pub(crate) fn is_deletion(self) -> bool {
        self.row_length.is_none()
    }

    pub(crate) fn row(self, bytes: &[u8]) -> Option<&[u8]> {
        self.row_length.map(|length| &bytes[self.key_end()..][..length.get() as usize])
    }

    pub(crate) fn key(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start..self.key_end()]
    }

    fn key_end(self) -> usize {
        self.start + self.key_length as usize
    }
}

impl Run {
    /// The rows at these places of `bytes`, with the hashes of their keys; each key once.
    pub(crate) fn of_rows(mut bytes: Vec<u8>, rows: impl Iterator<Item = (u64, RowPlace)>) -> Self {
        bytes.shrink_to_fit();
        let most = rows.size_hint().1.unwrap_or_default();
        let mut run = Self { bytes, ..Self::with_capacity(most) };
        for (hash, place) in rows {
            run.insert(hash, place);
        }
        run
    }

    /// The rows of several runs, the oldest first: newer rows win. Keys that are to be left out have none.
    pub(crate) fn merged<'runs>(
        runs: impl DoubleEndedIterator<Item = &'runs Self> + Clone,
        leave_out: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let mut merged = Self::with_capacity(runs.clone().map(Self::len).max().unwrap_or_default());
        merged.bytes.reserve_exact(runs.clone().map(|run| run.bytes.len()).sum());
        for run in runs.rev() {
            for (key, row) in run.rows() {
                let hash = hash_of(key);
                if merged.find(hash, key).is_none() && !leave_out(key) {
                    merged.push(hash, key, row);
                }
            }
        }
        merged.bytes.shrink_to_fit();
        merged.entries.shrink_to_fit();
        merged
    }

    fn with_capacity(rows: usize) -> Self {
        Self { entries: Vec::with_capacity(rows), index: HashTable::with_capacity(rows), ..Self::default() }
    }

    /// Sets the row of a key, over what it was.
    pub(crate) fn put(&mut self, key: &[u8], row: Option<&[u8]>) {
        let hash = hash_of(key);
        let Some(place) = self.find(hash, key) else { return self.push(hash, key, row) };
        let entry = &mut self.entries[place as usize];
        match (row, entry.row_length) {
            (None, _) => entry.row_length = None,
            // Most values keep their length: a run that counts the same keys again and again does not grow.
            (Some(row), Some(length)) if length.get() as usize == row.len() => {
                self.bytes[entry.key_end()..][..row.len()].copy_from_slice(row);
            }
            (Some(_), _) => *entry = RowPlace::of(&mut self.bytes, key, row),
        }
    }

    /// Adds a row without looking for an older one of its key, which [`Self::sorted`] leaves out. A run that was filled so can be
    /// walked over in order; it has no index to find keys by.
    pub(crate) fn append(&mut self, key: &[u8], row: Option<&[u8]>) {
        self.sorted.take();
        self.entries.push(RowPlace::of(&mut self.bytes, key, row));
    }

    /// Whether every row is found by its key: one that was appended is not.
    pub(crate) fn is_indexed(&self) -> bool {
        self.index.len() == self.entries.len()
    }

    /// The same rows, each found by its key.
    pub(crate) fn indexed(self) -> Self {
        if self.is_indexed() {
            return self;
        }
        let with_hash = |place: &u32| (hash_of(self.key(*place)), self.entries[*place as usize]);
        let rows: Vec<_> = self.sorted().iter().map(with_hash).collect();
        Self::of_rows(self.bytes, rows.into_iter())
    }

    fn push(&mut self, hash: u64, key: &[u8], row: Option<&[u8]>) {
        let place = RowPlace::of(&mut self.bytes, key, row);
        self.insert(hash, place);
    }

    fn insert(&mut self, hash: u64, row: RowPlace) {
        self.sorted.take();
        let place = u32::try_from(self.entries.len()).expect("memory ends before four billion rows");
        self.entries.push(row);
        let hash = IndexEntry::half(hash);
        let entry = IndexEntry { hash, place };
        self.index.insert_unique(IndexEntry::twice(hash), entry, |entry| IndexEntry::twice(entry.hash));
    }

    /// What the run says of a key whose hash this is; `None` if nothing.
    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Option<Option<&[u8]>> {
        self.find(hash, key).map(|place| self.row(place))
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let hash = IndexEntry::half(hash);
        let is_it = |entry: &IndexEntry| entry.hash == hash && self.key(entry.place) == key;
        self.index.find(IndexEntry::twice(hash), is_it).map(|entry| entry.place)
    }

    /// The rows in no particular order.
    fn rows(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.entries.iter().map(|entry| (entry.key(&self.bytes), entry.row(&self.bytes)))
    }

    /// The places of the rows in the order of their keys; of a key that was appended again the newest.
    pub(super) fn sorted(&self) -> &[u32] {
        self.sorted.get_or_init(|| {
            let shared = self.shared_prefix();
            // The next bytes of a key above its place, in one number: most keys are told apart without a look at them.
            let word_and_place = |(place, entry): (u32, &RowPlace)| {
                u128::from(word(&entry.key(&self.bytes)[shared..])) << u32::BITS | u128::from(place)
            };
            let mut rows: Vec<u128> = (0..).zip(&self.entries).map(word_and_place).collect();
            rows.sort_unstable();
            let mut sorted: Vec<u32> = Vec::with_capacity(rows.len());
            for alike in rows.chunk_by(|one, other| one >> u32::BITS == other >> u32::BITS) {
                let first = sorted.len();
                #[allow(clippy::cast_possible_truncation, reason = "the lower half is the place")]
                sorted.extend(alike.iter().map(|row| *row as u32));
                if alike.len() > 1 {
                    sorted[first..].sort_by(|one, other| self.key(*one).cmp(self.key(*other)));
                    let newest = self.newest(&sorted[first..]);
                    sorted.splice(first.., newest);
                }
            }
            sorted.into_boxed_slice()
        })
    }

    /// Of neighbours with the same key the last.
    fn newest(&self, places: &[u32]) -> Vec<u32> {
        let same_key = |one: &u32, other: &u32| self.key(*one) == self.key(*other);
        places.chunk_by(same_key).filter_map(|same| same.last().copied()).collect()
    }

    /// How many bytes all keys begin with in common.
    fn shared_prefix(&self) -> usize {
        let mut keys = self.entries.iter().map(|entry| entry.key(&self.bytes));
        let Some(first) = keys.next() else { return 0 };
        keys.fold(first.len(), |shared, key| {
            first[..shared].iter().zip(key).take_while(|(one, other)| one == other).count()
        })
    }

    pub(super) fn key(&self, place: u32) -> &[u8] {
        self.entries[place as usize].key(&self.bytes)
    }

    pub(super) fn row(&self, place: u32) -> Option<&[u8]> {
        self.entries[place as usize].row(&self.bytes)
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes in memory, with what the first sorted walk adds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.capacity()
            + self.entries.capacity() * (size_of::<RowPlace>() + size_of::<u32>())
            + self.index.allocation_size()
    }

    /// About how many bytes a row of `length` bytes, its key included, adds to a run.
    pub(crate) fn bytes_of_row(length: usize) -> usize {
        // The index is between half and seven eighths full.
        length + size_of::<RowPlace>() + size_of::<u32>() + 2 * size_of::<IndexEntry>()
    }

    /// Counts the run against `memory` until it is dropped. It is filled, and about to be shared.
    pub(crate) fn reserve(mut self, memory: &Arc<StateMemory>) -> Arc<Self> {
        self.reservation = Some(memory.reserve(self.bytes()));
        Arc::new(self)
    }
}

/// The first eight bytes as a number that orders as they do; missing ones count as zero.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; size_of::<u64>()];
    let length = bytes.len().min(word.len());
    word[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(word)
}

/// The hash by which tables and runs find an encoded key.
pub(crate) fn hash_of(key: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(key);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0_u8), Just(7), Just(255)], 0..12)
    }

    fn puts() -> impl Strategy<Value = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
        let row = prop::collection::vec(any::<u8>(), 8..12);
        prop::collection::vec((bytes(), prop::option::of(row)), 0..40)
    }

    fn run(puts: &[(Vec<u8>, Option<Vec<u8>>)]) -> Run {
        let mut run = Run::default();
        puts.iter().for_each(|(key, row)| run.put(key, row.as_deref()));
        run
    }

    fn contents(run: &Run) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let owned = |place: &u32| (run.key(*place).to_vec(), run.row(*place).map(<[u8]>::to_vec));
        run.sorted().iter().map(owned).collect()
    }

    proptest! {
        #[test]
        fn a_run_is_a_map_whose_last_put_wins(prefix in bytes(), mut puts in puts()) {
            puts.iter_mut().for_each(|(key, _)| *key = [prefix.as_slice(), key].concat());
            let run = run(&puts);
            let model: BTreeMap<_, _> = puts.iter().cloned().collect();
            for key in model.keys().chain([&prefix]) {
                let found = run.get(hash_of(key), key).map(|row| row.map(<[u8]>::to_vec));
                prop_assert_eq!(found, model.get(key).cloned());
            }
            prop_assert_eq!(contents(&run), model.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn rows_that_were_appended_are_found_once_they_are_indexed(before in puts(), appended in puts()) {
            let mut run = run(&before);
            appended.iter().for_each(|(key, row)| run.append(key, row.as_deref()));
            prop_assert_eq!(run.is_indexed(), appended.is_empty());
            let run = run.indexed();
            prop_assert!(run.is_indexed());
            let model: BTreeMap<_, _> = before.iter().chain(&appended).cloned().collect();
            for key in model.keys() {
                let found = run.get(hash_of(key), key).map(|row| row.map(<[u8]>::to_vec));
                prop_assert_eq!(found, model.get(key).cloned());
            }
            prop_assert_eq!(contents(&run), model.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn merged_runs_are_as_if_put_one_after_the_other(parts in prop::collection::vec(puts(), 0..5)) {
            let runs: Vec<Run> = parts.iter().map(|puts| run(puts)).collect();
            prop_assert_eq!(contents(&Run::merged(runs.iter(), |_| false)), contents(&run(&parts.concat())));
        }
    }

    #[test]
    fn rows_that_keep_their_length_take_no_more_room() {
        let mut counts = run(&[(b"apples".to_vec(), Some(vec![1; 16]))]);
        let length = counts.bytes.len();
        counts.put(b"apples", Some(&[2; 16]));
        assert_eq!(counts.bytes.len(), length);
        counts.put(b"apples", Some(&[3; 17]));
        assert!(counts.bytes.len() > length);
        assert_eq!(contents(&counts), [(b"apples".to_vec(), Some(vec![3; 17]))]);
    }
}
