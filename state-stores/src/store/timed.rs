//! What window and session stores have in common: typed keys, each with rows in the order of time.

use std::cell::{RefCell, RefMut};
use std::ops::{ControlFlow, RangeInclusive};
use std::rc::Rc;

use super::keys::StoreKeys;
use super::{Change, Emission, ValueAndTimestamp};
use crate::error::StoreError;
use crate::format::{RowId, TimedKeys, TimedLayout};
use crate::key_range::Direction;
use crate::layer::{ChangeParts, TimedRows};
use crate::types::Timestamp;
use crate::window::Windowed;

/// A store whose rows belong to a key and a time. Cloning the handle is cheap and leads to the same store.
pub(super) struct TimedStore<K, V> {
    inner: Rc<Inner<K, V>>,
}

struct Inner<K, V> {
    keys: StoreKeys<K>,
    is_cached: bool,
    layout: TimedLayout,
    /// Reused for encoded keys.
    key: RefCell<Vec<u8>>,
    rows: Rc<RefCell<TimedRows<V>>>,
}

/// A row with its key and window, or why it could not be read.
pub type WindowedEntry<K, V> = Result<(Windowed<K>, ValueAndTimestamp<V>), StoreError>;

impl<K: Clone + 'static, V: Clone + 'static> TimedStore<K, V> {
    pub(super) fn new(
        keys: StoreKeys<K>,
        is_cached: bool,
        layout: TimedLayout,
        rows: Rc<RefCell<TimedRows<V>>>,
    ) -> Self {
        Self { inner: Rc::new(Inner { keys, is_cached, layout, key: RefCell::default(), rows }) }
    }

    pub(super) fn name(&self) -> &str {
        self.inner.keys.store()
    }

    pub(super) fn is_cached(&self) -> bool {
        self.inner.is_cached
    }

    #[inline]
    pub(super) fn layout(&self) -> TimedLayout {
        self.inner.layout
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

    /// Puts a row of a window beside those that are there.
    #[track_caller]
    pub(super) fn put_beside(
        &self,
        key: &K,
        start: Timestamp,
        value: ValueAndTimestamp<V>,
    ) -> Result<(), StoreError> {
        let mut rows = self.inner.rows.borrow_mut();
        if !rows.is_kept(start) {
            return Ok(());
        }
        let id = RowId::of_window(start, rows.next_number());
        let row = self.row_key(key, id)?;
        if self.inner.layout.rows_are_unique {
            return rows.add(&row, id, value);
        }
        let at = value.timestamp;
        rows.update(&row, id, at, ChangeParts::None, |_| Ok::<_, StoreError>(Some(value)))?;
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
        self.inner.keys.append(key, &mut bytes)?;
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
    ) -> Result<impl Iterator<Item = WindowedEntry<K, V>> + use<K, V>, StoreError> {
        let entries = self.inner.rows.borrow_mut().scan(TimedKeys::all_rows(), direction)?;
        let inner = Rc::clone(&self.inner);
        Ok(entries.map(move |entry| {
            let (row_key, row) = entry?;
            Ok((inner.windowed(&row_key)?, row))
        }))
    }

    /// The rows between two times, both included, in the order of time, of a store in which they can be found so; kept ones and others.
    #[track_caller]
    pub(super) fn between(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<impl Iterator<Item = WindowedEntry<K, V>> + use<K, V>, StoreError> {
        let found = self.inner.rows.borrow().between(from, to)?;
        let inner = Rc::clone(&self.inner);
        Ok(found.filter_map(move |row_key| {
            let read = || {
                let row_key = row_key?;
                let Some(row) = inner.rows.borrow_mut().read_any(&row_key)?.clone() else { return Ok(None) };
                Ok(Some((inner.windowed(&row_key)?, row)))
            };
            read().transpose()
        }))
    }

    #[track_caller]
    pub(super) fn emissions(&self) -> Result<Vec<Emission<Windowed<K>, V>>, StoreError> {
        let rows = self.inner.rows.borrow();
        rows.emissions()
            .map(|changed| {
                let (row_key, change, timestamp) = changed?;
                Ok(Emission { key: self.inner.windowed(row_key)?, change, timestamp })
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
        self.inner.keys.append(key, &mut row)?;
        self.inner.layout.keys.end_row(id, &mut row);
        Ok(row)
    }
}

impl<K, V> Inner<K, V> {
    /// The key and the window of a row.
    fn windowed(&self, row_key: &[u8]) -> Result<Windowed<K>, StoreError> {
        let Some((key, window)) = self.layout.split_row(row_key) else {
            let store = self.keys.store().to_owned();
            return Err(StoreError::MalformedKey { store, found: row_key.len() });
        };
        Ok(Windowed::new(self.keys.decode(key)?, window))
    }
}

impl<K, V> Clone for TimedStore<K, V> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}
