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

/// Appends the bytes of a value of the store of this name to `out`.
pub(crate) fn encode_value<V>(
    serde: &SerdeRef<V>,
    store: &str,
    value: &V,
    out: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let (store, part) = (|| store.to_owned(), RowPart::Value);
    match serde.encode(value, out) {
        Ok(Encoded::Bytes) => Ok(()),
        Ok(Encoded::Null) => Err(StoreError::NullInStore { store: store(), part }),
        Err(source) => Err(StoreError::Serde { store: store(), part, source }),
    }
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
        encode_value(self.serde, &self.identity.name, value, out)?;
        // A moving average over about eight values.
        let typical = *self.typical_value_bytes;
        *self.typical_value_bytes = (typical * 7 + out.len() - start) / 8;
        Ok(())
    }
}
