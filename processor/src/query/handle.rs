//! The typed handle of a store, for the application's own threads.

use std::ops::{Bound, RangeBounds};

use millstream_state_stores::{
    Direction, Encoded, KeyRange, Position, SerdeError, SerdeRef, ValueAndTimestamp,
};

use super::error::QueryError;
use super::view::{MergedScan, StoreEntry, StoreView};

/// Reads a key-value store of this instance. Sees committed state; cannot delay processing; cheap to clone; any thread may use it.
///
/// Order is that of the encoded key bytes: that of text for strings, that of numbers for unsigned ones, and negative numbers
/// after positive ones, as in Kafka Streams.
pub struct ReadOnlyKeyValueStore<K, V> {
    view: StoreView,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
}

impl<K, V> Clone for ReadOnlyKeyValueStore<K, V> {
    fn clone(&self) -> Self {
        ReadOnlyKeyValueStore {
            view: self.view.clone(),
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
        }
    }
}

impl<K, V> ReadOnlyKeyValueStore<K, V> {
    pub(crate) fn new(view: StoreView, key_serde: SerdeRef<K>, value_serde: SerdeRef<V>) -> Self {
        ReadOnlyKeyValueStore { view, key_serde, value_serde }
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
        match self.view.get(&encode_key(&self.key_serde, key)?)? {
            Some(entry) => {
                let value = self.value_serde.decode(&entry.value)?;
                Ok(Some(ValueAndTimestamp { value, timestamp: entry.timestamp }))
            }
            None => Ok(None),
        }
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
        Rows { scan, key_serde: self.key_serde.clone(), value_serde: self.value_serde.clone() }
    }

    fn encode_range(&self, keys: &impl RangeBounds<K>) -> Result<KeyRange, SerdeError> {
        let encode = |bound: Bound<&K>| {
            Ok(match bound {
                Bound::Included(key) => Bound::Included(encode_key(&self.key_serde, key)?),
                Bound::Excluded(key) => Bound::Excluded(encode_key(&self.key_serde, key)?),
                Bound::Unbounded => Bound::Unbounded,
            })
        };
        Ok(KeyRange::new(encode(keys.start_bound())?, encode(keys.end_bound())?))
    }
}

/// The bytes by which a key is looked up.
pub(super) fn encode_key<K>(serde: &SerdeRef<K>, key: &K) -> Result<Vec<u8>, SerdeError> {
    let mut bytes = Vec::new();
    match serde.encode(key, &mut bytes)? {
        Encoded::Bytes => Ok(bytes),
        Encoded::Null => Ok(Vec::new()),
    }
}

/// The rows of a query, decoded one by one.
pub struct Rows<K, V> {
    scan: MergedScan,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
}

impl<K, V> Iterator for Rows<K, V> {
    type Item = Result<(K, V), QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.scan.next()?;
        Some(entry.and_then(|StoreEntry { key, value, .. }| {
            Ok((self.key_serde.decode(&key)?, self.value_serde.decode(&value)?))
        }))
    }
}
