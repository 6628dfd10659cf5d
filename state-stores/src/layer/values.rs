//! The values of a store, from their type to their bytes and back.

use super::StoreIdentity;
use crate::error::{RowPart, StoreError};
use crate::serde::{Encoded, SerdeRef};

/// A value of the store of this name.
pub(crate) fn decode_value<V>(serde: &SerdeRef<V>, store: &str, value: &[u8]) -> Result<V, StoreError> {
    serde.decode(value).map_err(|source| StoreError::Serde {
        store: store.to_owned(),
        part: RowPart::Value,
        source,
    })
}

/// Encodes values of one store, and keeps track of how long they are.
pub(super) struct ValueEncoder<'store, V> {
    identity: &'store StoreIdentity,
    serde: &'store SerdeRef<V>,
    typical_value_bytes: &'store mut usize,
}

impl<'store, V> ValueEncoder<'store, V> {
    pub(super) fn new(
        identity: &'store StoreIdentity,
        serde: &'store SerdeRef<V>,
        typical_value_bytes: &'store mut usize,
    ) -> Self {
        Self { identity, serde, typical_value_bytes }
    }

    /// Appends the bytes of `value` to `out`.
    pub(super) fn append(&mut self, value: &V, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let start = out.len();
        let store = || self.identity.name.clone();
        match self.serde.encode(value, out) {
            Ok(Encoded::Bytes) => {
                // A moving average over about eight values.
                let typical = *self.typical_value_bytes;
                *self.typical_value_bytes = (typical * 7 + out.len() - start) / 8;
                Ok(())
            }
            Ok(Encoded::Null) => Err(StoreError::NullInStore { store: store(), part: RowPart::Value }),
            Err(source) => Err(StoreError::Serde { store: store(), part: RowPart::Value, source }),
        }
    }
}
