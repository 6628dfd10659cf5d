//! The typed handle of a store, for the application's own threads.

use std::ops::{Bound, RangeBounds};

use millstream_state_stores::{Direction, KeyRange, Position, SerdeError, SerdeRef, ValueAndTimestamp};

use super::error::QueryError;
use super::row_serdes::RowSerdes;
use super::view::{MergedScan, StoreEntry, StoreView};

/// Reads a key-value store of this instance. Sees committed state; cannot delay processing; cheap to clone; any thread may use it.
///
/// Order is that of the encoded key bytes: that of text for strings, that of numbers for unsigned ones, and negative numbers
/// after positive ones, as in Kafka Streams.
pub struct ReadOnlyKeyValueStore<K, V> {
    view: StoreView,
    serdes: RowSerdes<K, V>,
}

impl<K, V> Clone for ReadOnlyKeyValueStore<K, V> {
    fn clone(&self) -> Self {
        ReadOnlyKeyValueStore { view: self.view.clone(), serdes: self.serdes.clone() }
    }
}

impl<K, V> ReadOnlyKeyValueStore<K, V> {
    pub(crate) fn new(view: StoreView, key_serde: SerdeRef<K>, value_serde: SerdeRef<V>) -> Self {
        ReadOnlyKeyValueStore { view, serdes: RowSerdes { key: key_serde, value: value_serde } }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`QueryError::Restoring`] or [`QueryError::NotHere`] if the key's partition is not readable here now.
    pub fn get(&self, key: &K) -> Result<Option<V>, QueryError> {
        Ok(self.get_with_timestamp(key)?.map(|row| row.value))
    }

    /// The value of a key with the event time of its last change.
    ///
    /// # Errors
    /// As [`ReadOnlyKeyValueStore::get`].
    pub fn get_with_timestamp(&self, key: &K) -> Result<Option<ValueAndTimestamp<V>>, QueryError> {
        self.serdes.decode_found(self.view.get(&self.serdes.encode_key(key)?)?)
    }

    /// The rows with keys in the range, in ascending order.
    ///
    /// # Errors
    /// As [`ReadOnlyKeyValueStore::get`], for any local partition; and for each row, if it does not decode.
    pub fn range(&self, keys: impl RangeBounds<K>) -> Result<Rows<K, V>, QueryError> {
        self.scan(self.encode_range(&keys)?, Direction::Forward)
    }

    /// The rows with keys in the range, in descending order.
    ///
    /// # Errors
    /// As [`ReadOnlyKeyValueStore::range`].
    pub fn reverse_range(&self, keys: impl RangeBounds<K>) -> Result<Rows<K, V>, QueryError> {
        self.scan(self.encode_range(&keys)?, Direction::Reverse)
    }

    /// The rows whose encoded key begins with these bytes, in ascending order.
    ///
    /// # Errors
    /// As [`ReadOnlyKeyValueStore::range`].
    pub fn prefix_scan(&self, prefix: impl AsRef<[u8]>) -> Result<Rows<K, V>, QueryError> {
        Ok(self.decoding(self.view.prefix_scan(prefix.as_ref(), Direction::Forward)?))
    }

    /// All rows, in ascending order.
    ///
    /// # Errors
    /// As [`ReadOnlyKeyValueStore::range`].
    pub fn all(&self) -> Result<Rows<K, V>, QueryError> {
        self.scan(KeyRange::all(), Direction::Forward)
    }

    /// About how many rows there are here; see [`StoreView::approximate_num_entries`].
    ///
    /// # Errors
    /// As [`ReadOnlyKeyValueStore::range`].
    pub fn approximate_num_entries(&self) -> Result<u64, QueryError> {
        self.view.approximate_num_entries()
    }

    /// The input offsets that a query asked now reflects at least.
    ///
    /// # Errors
    /// As [`ReadOnlyKeyValueStore::range`].
    pub fn position(&self) -> Result<Position, QueryError> {
        self.view.position()
    }

    fn scan(&self, range: KeyRange, direction: Direction) -> Result<Rows<K, V>, QueryError> {
        Ok(self.decoding(self.view.scan(&range, direction)?))
    }

    fn decoding(&self, scan: MergedScan) -> Rows<K, V> {
        Rows { scan, serdes: self.serdes.clone() }
    }

    fn encode_range(&self, keys: &impl RangeBounds<K>) -> Result<KeyRange, SerdeError> {
        let encode = |bound: Bound<&K>| {
            Ok::<_, SerdeError>(match bound {
                Bound::Included(key) => Bound::Included(self.serdes.encode_key(key)?),
                Bound::Excluded(key) => Bound::Excluded(self.serdes.encode_key(key)?),
                Bound::Unbounded => Bound::Unbounded,
            })
        };
        Ok(KeyRange::new(encode(keys.start_bound())?, encode(keys.end_bound())?))
    }
}

/// The rows of a query, decoded one by one.
pub struct Rows<K, V> {
    scan: MergedScan,
    serdes: RowSerdes<K, V>,
}

impl<K, V> Iterator for Rows<K, V> {
    type Item = Result<(K, V), QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.scan.next()?;
        Some(entry.and_then(|StoreEntry { key, value, .. }| {
            Ok((self.serdes.key.decode(&key)?, self.serdes.value.decode(&value)?))
        }))
    }
}
