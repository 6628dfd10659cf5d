//! What window and session stores have in common: typed keys, each with rows in the order of time.

use std::cell::{RefCell, RefMut};
use std::ops::{ControlFlow, RangeInclusive};
use std::rc::Rc;

use super::{Change, Emission, ValueAndTimestamp};
use crate::error::{RowPart, StoreError};
use crate::format::{RowId, TimedKeys};
use crate::key_range::{Direction, KeyRange};
use crate::layer::{ChangeParts, TimedRows};
use crate::serde::{Encoded, SerdeRef};
use crate::types::Timestamp;

/// A store whose rows belong to a key and a time. Cloning the handle is cheap and leads to the same store.
pub(super) struct TimedStore<K, V> {
    inner: Rc<Inner<K, V>>,
}

struct Inner<K, V> {
    name: String,
    is_cached: bool,
    keys: TimedKeys,
    key_serde: SerdeRef<K>,
    /// Reused for encoded keys.
    key: RefCell<Vec<u8>>,
    rows: Rc<RefCell<TimedRows<V>>>,
}

/// A row with its key and id, or why it could not be read.
pub(super) type TimedEntry<K, V> = Result<(K, RowId, ValueAndTimestamp<V>), StoreError>;

impl<K: Clone + 'static, V: Clone + 'static> TimedStore<K, V> {
    pub(super) fn new(
        name: &str,
        is_cached: bool,
        keys: TimedKeys,
        key_serde: SerdeRef<K>,
        rows: Rc<RefCell<TimedRows<V>>>,
    ) -> Self {
        let name = name.to_owned();
        let inner = Inner { name, is_cached, keys, key_serde, key: RefCell::default(), rows };
        Self { inner: Rc::new(inner) }
    }

    pub(super) fn name(&self) -> &str {
        &self.inner.name
    }

    pub(super) fn is_cached(&self) -> bool {
        self.inner.is_cached
    }

    pub(super) fn is_kept(&self, time: Timestamp) -> bool {
        self.inner.rows.borrow().is_kept(time)
    }

    #[track_caller]
    pub(super) fn read<R>(
        &self,
        key: &K,
        id: RowId,
        f: impl FnOnce(Option<&ValueAndTimestamp<V>>) -> R,
    ) -> Result<R, StoreError> {
        let mut rows = self.inner.rows.borrow_mut();
        let row = self.row_key(key, id)?;
        Ok(f(rows.read(&row, id)?.as_ref()))
    }

    #[track_caller]
    pub(super) fn put(
        &self,
        key: &K,
        id: RowId,
        value: Option<ValueAndTimestamp<V>>,
    ) -> Result<(), StoreError> {
        let mut rows = self.inner.rows.borrow_mut();
        let row = self.row_key(key, id)?;
        let at = match &value {
            Some(value) => value.timestamp,
            None => match rows.read(&row, id)? {
                Some(deleted) => deleted.timestamp,
                None => return Ok(()),
            },
        };
        rows.update(&row, id, at, ChangeParts::None, |_| Ok::<_, StoreError>(value))?;
        Ok(())
    }

    #[track_caller]
    pub(super) fn update<E: From<StoreError>>(
        &self,
        key: &K,
        id: RowId,
        at: Timestamp,
        want_old: bool,
        f: impl FnOnce(Option<ValueAndTimestamp<V>>) -> Result<Option<ValueAndTimestamp<V>>, E>,
    ) -> Result<Option<(Change<V>, Timestamp)>, E> {
        let mut rows = self.inner.rows.borrow_mut();
        let row = self.row_key(key, id)?;
        let wanted = if want_old { ChangeParts::Both } else { ChangeParts::New };
        rows.update(&row, id, at, wanted, f)
    }

    /// Shows the rows of a key with these ids, until `show` breaks off.
    #[track_caller]
    pub(super) fn visit(
        &self,
        key: &K,
        ids: RangeInclusive<RowId>,
        direction: Direction,
        show: impl FnMut(RowId, &ValueAndTimestamp<V>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut rows = self.inner.rows.borrow_mut();
        let mut bytes = self.inner.key.borrow_mut();
        bytes.clear();
        self.encode_key(key, &mut bytes)?;
        rows.visit(&bytes, ids, direction, show)
    }

    /// The rows of a key with these ids.
    #[track_caller]
    pub(super) fn rows_of_key(
        &self,
        key: &K,
        ids: RangeInclusive<RowId>,
        direction: Direction,
    ) -> Result<Vec<(RowId, ValueAndTimestamp<V>)>, StoreError> {
        let mut found = Vec::new();
        self.visit(key, ids, direction, |id, row| {
            found.push((id, row.clone()));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// All rows in the order of their keys' bytes.
    #[track_caller]
    pub(super) fn all(
        &self,
        direction: Direction,
    ) -> Result<impl Iterator<Item = TimedEntry<K, V>> + use<K, V>, StoreError> {
        self.scan(TimedKeys::all_rows(), direction)
    }

    fn scan(
        &self,
        range: KeyRange,
        direction: Direction,
    ) -> Result<impl Iterator<Item = TimedEntry<K, V>> + use<K, V>, StoreError> {
        let entries = self.inner.rows.borrow().scan(range, direction)?;
        let inner = Rc::clone(&self.inner);
        Ok(entries.map(move |entry| {
            let (row_key, row) = entry?;
            let (key, id) = inner.decode_row(&row_key)?;
            Ok((key, id, row))
        }))
    }

    /// The rows between two times, both included, in the order of time, of a store in which they can be found so; kept ones and others.
    #[track_caller]
    pub(super) fn between(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<impl Iterator<Item = TimedEntry<K, V>> + use<K, V>, StoreError> {
        let found = self.inner.rows.borrow().between(from, to)?;
        let inner = Rc::clone(&self.inner);
        Ok(found.filter_map(move |row_key| {
            let read = || {
                let row_key = row_key?;
                let Some(row) = inner.rows.borrow_mut().read_any(&row_key)?.clone() else { return Ok(None) };
                let (key, id) = inner.decode_row(&row_key)?;
                Ok(Some((key, id, row)))
            };
            read().transpose()
        }))
    }

    #[track_caller]
    pub(super) fn emissions<T>(
        &self,
        windowed: impl Fn(K, RowId) -> T,
    ) -> Result<Vec<Emission<T, V>>, StoreError> {
        let rows = self.inner.rows.borrow();
        rows.emissions()
            .map(|(row_key, change, timestamp)| {
                let (key, id) = self.inner.decode_row(row_key)?;
                Ok(Emission { key: windowed(key, id), change, timestamp })
            })
            .collect()
    }

    pub(super) fn read_mark(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.rows.borrow_mut().read_mark()
    }

    pub(super) fn set_mark(&self, mark: Timestamp) {
        self.inner.rows.borrow_mut().set_mark(mark);
    }

    /// The key on disk of a row.
    #[inline]
    fn row_key(&self, key: &K, id: RowId) -> Result<RefMut<'_, Vec<u8>>, StoreError> {
        let mut row = self.inner.key.borrow_mut();
        TimedKeys::begin_row(&mut row);
        self.encode_key(key, &mut row)?;
        self.inner.keys.end_row(id, &mut row);
        Ok(row)
    }

    /// Appends the bytes of `key`.
    fn encode_key(&self, key: &K, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let (store, part) = (|| self.inner.name.clone(), RowPart::Key);
        match self.inner.key_serde.encode(key, out) {
            Ok(Encoded::Bytes) => Ok(()),
            Ok(Encoded::Null) => Err(StoreError::NullInStore { store: store(), part }),
            Err(source) => Err(StoreError::Serde { store: store(), part, source }),
        }
    }
}

impl<K, V> Inner<K, V> {
    fn decode_row(&self, row_key: &[u8]) -> Result<(K, RowId), StoreError> {
        let Some((key, id)) = self.keys.split_row(row_key) else {
            return Err(StoreError::MalformedKey { store: self.name.clone(), found: row_key.len() });
        };
        let key = self.key_serde.decode(key).map_err(|source| StoreError::Serde {
            store: self.name.clone(),
            part: RowPart::Key,
            source,
        })?;
        Ok((key, id))
    }
}

impl<K, V> Clone for TimedStore<K, V> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}
