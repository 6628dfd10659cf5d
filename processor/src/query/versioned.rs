//! The typed handle of a versioned store, for the application's own threads.

use millstream_state_stores::{KeyValueStoreBuilder, SerdeRef, Timestamp, VersionedRecord};

use super::error::QueryError;
use super::handle::encode_key;
use super::view::StoreView;

/// Reads a versioned store of this instance (Kafka Streams' `VersionedKeyQuery`). Sees committed state; cannot delay processing; cheap to
/// clone; any thread may use it.
pub struct ReadOnlyVersionedStore<K, V> {
    view: StoreView,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
}

impl<K, V> Clone for ReadOnlyVersionedStore<K, V> {
    fn clone(&self) -> Self {
        let (key_serde, value_serde) = (self.key_serde.clone(), self.value_serde.clone());
        ReadOnlyVersionedStore { view: self.view.clone(), key_serde, value_serde }
    }
}

impl<K, V> ReadOnlyVersionedStore<K, V> {
    pub(crate) fn new(view: StoreView, builder: &KeyValueStoreBuilder<K, V>) -> Self {
        let (key_serde, value_serde) = (builder.key_serde().clone(), builder.value_serde().clone());
        ReadOnlyVersionedStore { view, key_serde, value_serde }
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
        let Some(found) = self.view.get_as_of(&encode_key(&self.key_serde, key)?, as_of)? else {
            return Ok(None);
        };
        let VersionedRecord { value, valid_from, valid_to } = found;
        Ok(Some(VersionedRecord { value: self.value_serde.decode(&value)?, valid_from, valid_to }))
    }
}
