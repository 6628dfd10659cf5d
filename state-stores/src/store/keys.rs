//! The keys of a store, from their type to their bytes and back.

use crate::error::{RowPart, StoreError};
use crate::serde::{Encoded, SerdeRef};

/// The keys of one store; errors name it.
pub(super) struct StoreKeys<K> {
    store: String,
    serde: SerdeRef<K>,
}

impl<K> StoreKeys<K> {
    pub(super) fn new(store: impl Into<String>, serde: SerdeRef<K>) -> Self {
        Self { store: store.into(), serde }
    }

    /// The name of the store.
    pub(super) fn store(&self) -> &str {
        &self.store
    }

    /// Appends the bytes of `key`.
    #[inline]
    pub(super) fn append(&self, key: &K, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let (store, part) = (|| self.store.clone(), RowPart::Key);
        match self.serde.encode(key, out) {
            Ok(Encoded::Bytes) => Ok(()),
            Ok(Encoded::Null) => Err(StoreError::NullInStore { store: store(), part }),
            Err(source) => Err(StoreError::Serde { store: store(), part, source }),
        }
    }

    pub(super) fn decode(&self, bytes: &[u8]) -> Result<K, StoreError> {
        let (store, part) = (|| self.store.clone(), RowPart::Key);
        self.serde.decode(bytes).map_err(|source| StoreError::Serde { store: store(), part, source })
    }
}
