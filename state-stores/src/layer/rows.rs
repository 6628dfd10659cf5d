//! Rows by encoded key as the rules of a store see them, wherever they are: in the table of a task, on their way back from a
//! changelog, or committed and read by another thread.

use super::cached_rows::{CachedRows, ChangeParts};
use crate::error::StoreError;
use crate::reader::StoreReader;
use crate::serde::SerdeRef;
use crate::store::ValueAndTimestamp;
use crate::types::Timestamp;

/// Rows that can be looked at.
pub(crate) trait ReadRows<V> {
    /// The row of a key.
    fn row(&mut self, key: &[u8]) -> Result<Option<&ValueAndTimestamp<V>>, StoreError>;
}

/// Rows that can be changed.
pub(crate) trait WriteRows<V>: ReadRows<V> {
    /// Replaces the row of a key by what `f` makes of it.
    fn change(
        &mut self,
        key: &[u8],
        f: impl FnOnce(Option<ValueAndTimestamp<V>>) -> Option<ValueAndTimestamp<V>>,
    ) -> Result<(), StoreError>;

    /// Replaces the row of a key, or removes it.
    fn set(&mut self, key: &[u8], row: Option<ValueAndTimestamp<V>>) -> Result<(), StoreError> {
        self.change(key, |_| row)
    }
}

impl<V: Clone> ReadRows<V> for CachedRows<V> {
    fn row(&mut self, key: &[u8]) -> Result<Option<&ValueAndTimestamp<V>>, StoreError> {
        Ok(self.read(key)?.as_ref())
    }
}

/// For tables that are not logged row by row: what goes to the changelog is said by whoever changes them.
impl<V: Clone> WriteRows<V> for CachedRows<V> {
    fn change(
        &mut self,
        key: &[u8],
        f: impl FnOnce(Option<ValueAndTimestamp<V>>) -> Option<ValueAndTimestamp<V>>,
    ) -> Result<(), StoreError> {
        // A time for the changelog, which does not hear of it.
        let at = Timestamp::from_millis(0);
        self.update(key, at, ChangeParts::None, |row| Ok::<_, StoreError>(f(row)))?;
        Ok(())
    }
}

/// Committed rows as another thread sees them.
pub(crate) struct CommittedRows<'reader, V> {
    reader: &'reader StoreReader,
    serde: SerdeRef<V>,
    found: Option<ValueAndTimestamp<V>>,
    buffer: Vec<u8>,
}

impl<'reader, V> CommittedRows<'reader, V> {
    pub(crate) fn new(reader: &'reader StoreReader, serde: SerdeRef<V>) -> Self {
        Self { reader, serde, found: None, buffer: Vec::new() }
    }
}

impl<V> ReadRows<V> for CommittedRows<'_, V> {
    fn row(&mut self, key: &[u8]) -> Result<Option<&ValueAndTimestamp<V>>, StoreError> {
        self.found = self.reader.row(key, &self.serde, &mut self.buffer)?;
        Ok(self.found.as_ref())
    }
}
