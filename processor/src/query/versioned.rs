//! The typed handle of a versioned store, for the application's own threads.

use millstream_state_stores::{KeyValueStoreBuilder, Timestamp, VersionedRecord};

use super::error::QueryError;
use super::row_serdes::RowSerdes;
use super::view::StoreView;

/// Reads a versioned store of this instance (Kafka Streams' `VersionedKeyQuery`). Sees committed state; cannot delay processing; cheap to
/// clone; any thread may use it.
pub struct ReadOnlyVersionedStore<K, V> {
    view: StoreView,
    serdes: RowSerdes<K, V>,
}

impl<K, V> Clone for ReadOnlyVersionedStore<K, V> {
    fn clone(&self) -> Self {
        ReadOnlyVersionedStore { view: self.view.clone(), serdes: self.serdes.clone() }
    }
}

impl<K, V> ReadOnlyVersionedStore<K, V> {
    pub(crate) fn new(view: StoreView, builder: &KeyValueStoreBuilder<K, V>) -> Self {
        let serdes = RowSerdes { key: builder.key_serde().clone(), value: builder.value_serde().clone() };
        ReadOnlyVersionedStore { view, serdes }
    }

    /// The newest version of a key.
    ///
    /// # Errors
    /// [`QueryError::Restoring`] or [`QueryError::NotHere`] if the key's partition is not readable here now.
    pub fn get(&self, key: &K) -> Result<Option<VersionedRecord<V>>, QueryError> {
        self.get_as_of(key, Timestamp::from_millis(i64::MAX))
    }

    /// The version of a key that was valid at a time; `None` if there was none, or if it was replaced before the history retention.
    ///
    /// # Errors
    /// As [`ReadOnlyVersionedStore::get`].
    pub fn get_as_of(&self, key: &K, as_of: Timestamp) -> Result<Option<VersionedRecord<V>>, QueryError> {
        let Some(found) = self.view.get_as_of(&self.serdes.encode_key(key)?, as_of)? else {
            return Ok(None);
        };
        let VersionedRecord { value, valid_from, valid_to } = found;
        Ok(Some(VersionedRecord { value: self.serdes.value.decode(&value)?, valid_from, valid_to }))
    }
}
