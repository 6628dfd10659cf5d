//! Keys and values of a store as bytes, with errors that name the store.

use crate::error::{RowPart, StoreError};
use crate::serde::{Encoded, SerdeRef};

/// Appends the bytes of a key or a value of `store` to `out`.
#[inline]
pub(crate) fn encode<T>(
    store: &str,
    part: RowPart,
    serde: &SerdeRef<T>,
    item: &T,
    out: &mut Vec<u8>,
) -> Result<(), StoreError> {
    match serde.encode(item, out) {
        Ok(Encoded::Bytes) => Ok(()),
        Ok(Encoded::Null) => Err(StoreError::NullInStore { store: store.to_owned(), part }),
        Err(source) => Err(StoreError::Serde { store: store.to_owned(), part, source }),
    }
}

/// The key or the value of `store` that these bytes are.
#[inline]
pub(crate) fn decode<T>(
    store: &str,
    part: RowPart,
    serde: &SerdeRef<T>,
    bytes: &[u8],
) -> Result<T, StoreError> {
    serde.decode(bytes).map_err(|source| StoreError::Serde { store: store.to_owned(), part, source })
}
