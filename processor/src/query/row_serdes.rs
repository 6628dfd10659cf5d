//! The keys and values of a store, from their types to their bytes and back.

use millstream_state_stores::{Encoded, SerdeError, SerdeRef, ValueAndTimestamp};

use super::error::QueryError;
use super::view::StoreEntry;

/// The serdes of a store's rows.
pub(super) struct RowSerdes<K, V> {
    pub(super) key: SerdeRef<K>,
    pub(super) value: SerdeRef<V>,
}

impl<K, V> RowSerdes<K, V> {
    /// The bytes of a key. One that is written as null has none.
    pub(super) fn encode_key(&self, key: &K) -> Result<Vec<u8>, SerdeError> {
        let mut bytes = Vec::new();
        match self.key.encode(key, &mut bytes)? {
            Encoded::Bytes => Ok(bytes),
            Encoded::Null => Ok(Vec::new()),
        }
    }

    /// The value of a row that was looked for.
    pub(super) fn decode_found(
        &self,
        row: Option<StoreEntry>,
    ) -> Result<Option<ValueAndTimestamp<V>>, QueryError> {
        let Some(StoreEntry { timestamp, value, .. }) = row else { return Ok(None) };
        Ok(Some(ValueAndTimestamp { value: self.value.decode(&value)?, timestamp }))
    }
}

impl<K, V> Clone for RowSerdes<K, V> {
    fn clone(&self) -> Self {
        RowSerdes { key: self.key.clone(), value: self.value.clone() }
    }
}
