//! The key-value store as the record path uses it.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;

use super::companion::Expiring;
use super::keys::StoreKeys;
use super::ttl::{Forgetting, is_alive};
use super::{Change, Emission, ReadEntry, ValueAndTimestamp};
use crate::error::StoreError;
use crate::key_range::{Direction, KeyRange};
use crate::layer::{CachedRows, ChangeParts};
use crate::types::Timestamp;

/// A store of one task, on its thread. Cloning the handle is cheap and leads to the same store.
///
/// Reads see the task's own writes at once; readers on other threads see them after the commit. The closures given to
/// [`read`](Self::read) and [`update`](Self::update) must not use the same store again: that panics.
///
/// ```
/// use millstream_state_stores::*;
/// use std::sync::Arc;
///
/// const STOCK: StoreName<String, i64> = StoreName::new("stock");
/// let builder = KeyValueStoreBuilder::new(STOCK.name(), String::serde(), i64::serde()).with_caching(false);
/// let task = TaskId { subtopology: 0, partition: 0 };
/// let stores = TaskStores::open(
///     task, "shop", None, StateMemory::new(16 << 20), TaskStoresOptions::default(), &[Arc::new(builder)],
/// )?;
///
/// let stock = stores.key_value::<String, i64>(STOCK.name())?;
/// let at = Timestamp::from_millis(1_000);
/// let apples = "apples".to_string();
/// stock.put(&apples, Some(ValueAndTimestamp::new(3, at)))?;
/// let sold_two = stock.update(&apples, at, true, |on_hand| {
///     let left = on_hand.map_or(0, |row| row.value) - 2;
///     Ok::<_, StoreError>(Some(ValueAndTimestamp::new(left, at)))
/// })?;
/// assert_eq!(sold_two, Some((Change { old: Some(3), new: Some(1) }, at)));
/// # Ok::<(), StoreError>(())
/// ```
pub struct KeyValueStore<K, V> {
    inner: Rc<Inner<K, V>>,
}

struct Inner<K, V> {
    keys: StoreKeys<K>,
    is_cached: bool,
    /// Reused for encoded keys.
    key: RefCell<Vec<u8>>,
    rows: Rc<RefCell<CachedRows<V>>>,
    /// Of a store with a time to live.
    forgetting: Option<Forgetting<V>>,
}

/// The rows of a range, as they were when it was asked for. It reads as it goes.
pub struct KeyValueIterator<K, V> {
    entries: Box<dyn Iterator<Item = ReadEntry<K, V>>>,
}

impl<K: Clone + 'static, V: Clone + 'static> KeyValueStore<K, V> {
    pub(super) fn new(
        keys: StoreKeys<K>,
        is_cached: bool,
        rows: Rc<RefCell<CachedRows<V>>>,
        forgetting: Option<Forgetting<V>>,
    ) -> Self {
        Self { inner: Rc::new(Inner { keys, is_cached, key: RefCell::default(), rows, forgetting }) }
    }

    /// What the task does about rows that expire.
    pub(super) fn expiring(&self) -> Rc<dyn Expiring> {
        Rc::clone(&self.inner) as Rc<dyn Expiring>
    }

    /// The name of the store.
    pub fn name(&self) -> &str {
        self.inner.keys.store()
    }

    /// Whether changes are emitted at commit, by [`emissions`](Self::emissions), instead of by
    /// [`update`](Self::update).
    pub fn is_cached(&self) -> bool {
        self.inner.is_cached
    }

    /// The current value of a key.
    ///
    /// # Errors
    /// When the key or the stored value cannot be converted, or the engine fails.
    #[track_caller]
    pub fn get(&self, key: &K) -> Result<Option<ValueAndTimestamp<V>>, StoreError> {
        self.read(key, |row| row.cloned())
    }

    /// What `f` makes of the current value of a key, without cloning it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[track_caller]
    pub fn read<R>(
        &self,
        key: &K,
        f: impl FnOnce(Option<&ValueAndTimestamp<V>>) -> R,
    ) -> Result<R, StoreError> {
        let mut rows = self.inner.rows.borrow_mut();
        let mut buffer = self.inner.key.borrow_mut();
        self.encode_key(key, &mut buffer)?;
        let horizon = self.inner.horizon()?;
        Ok(f(rows.read(&buffer)?.as_ref().filter(|row| is_alive(row, horizon))))
    }

    /// Sets the value of a key, or deletes it. A value that is set is not looked for first, unless the store has a time to live. The changelog's
    /// tombstone gets the timestamp of the value it deletes; use [`update`](Self::update) to give it another.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[track_caller]
    pub fn put(&self, key: &K, value: Option<ValueAndTimestamp<V>>) -> Result<(), StoreError> {
        let mut rows = self.inner.rows.borrow_mut();
        let mut buffer = self.inner.key.borrow_mut();
        self.encode_key(key, &mut buffer)?;
        let at = match &value {
            Some(value) => value.timestamp,
            None => match rows.read(&buffer)? {
                Some(deleted) => deleted.timestamp,
                None => return Ok(()),
            },
        };
        match (value, &self.inner.forgetting) {
            (Some(value), None) => rows.put(&buffer, value),
            (value, _) => {
                let set = |_| Ok::<_, StoreError>(value);
                self.inner.update(&mut rows, &buffer, at, ChangeParts::None, set).map(drop)
            }
        }
    }

    /// Replaces the value of a key by what `f` makes of it (`None` deletes), finding the key once.
    ///
    /// Without caching, returns the change and its timestamp, to be forwarded downstream; its `old` is filled only if
    /// `want_old`. With caching, returns `None`: the change is one of [`emissions`](Self::emissions). The timestamp of a
    /// deletion is `at`, that of a value its own. Deleting what is not there changes nothing and is not logged; what was deleted
    /// since the last commit of a caching store is deleted as of the later time.
    ///
    /// # Errors
    /// Those of `f`, and those of [`get`](Self::get). The value is then what it was; only where undo is off and the value
    /// had changed since the last commit it cannot be, and the store is [`StoreError::Poisoned`] until it is rolled back.
    #[track_caller]
    pub fn update<E: From<StoreError>>(
        &self,
        key: &K,
        at: Timestamp,
        want_old: bool,
        f: impl FnOnce(Option<ValueAndTimestamp<V>>) -> Result<Option<ValueAndTimestamp<V>>, E>,
    ) -> Result<Option<(Change<V>, Timestamp)>, E> {
        let mut rows = self.inner.rows.borrow_mut();
        let mut buffer = self.inner.key.borrow_mut();
        self.encode_key(key, &mut buffer)?;
        let wanted = if want_old { ChangeParts::Both } else { ChangeParts::New };
        self.inner.update(&mut rows, &buffer, at, wanted, f)
    }

    /// The rows of a range of keys, in the unsigned order of their *bytes*, which need not be the order of `K`. Writes made
    /// while it is read are not seen.
    ///
    /// # Errors
    /// As [`get`](Self::get); each row can fail on its own.
    ///
    /// ```
    /// # use millstream_state_stores::*;
    /// # use std::sync::Arc;
    /// # let builder = KeyValueStoreBuilder::new("stock", String::serde(), i64::serde());
    /// # let stores = TaskStores::open(TaskId { subtopology: 0, partition: 0 }, "shop", None,
    /// #     StateMemory::new(16 << 20), TaskStoresOptions::default(), &[Arc::new(builder)])?;
    /// let stock = stores.key_value::<String, i64>("stock")?;
    /// for (sku, on_hand) in [("pears", 5), ("apples", 3)] {
    ///     stock.put(&sku.to_string(), Some(ValueAndTimestamp::new(on_hand, Timestamp::from_millis(0))))?;
    /// }
    /// let skus: Result<Vec<_>, _> = stock.range("b".to_string()..)?.map(|row| row.map(|(sku, _)| sku)).collect();
    /// assert_eq!(skus?, ["pears"]);
    /// # Ok::<(), StoreError>(())
    /// ```
    #[track_caller]
    pub fn range(&self, range: impl RangeBounds<K>) -> Result<KeyValueIterator<K, V>, StoreError> {
        let (start, end) = (self.encode_bound(range.start_bound())?, self.encode_bound(range.end_bound())?);
        self.scan(KeyRange::new(start, end))
    }

    /// The rows whose keys begin with `prefix`, as bytes; see [`range`](Self::range).
    ///
    /// # Errors
    /// As [`range`](Self::range).
    ///
    /// ```
    /// # use millstream_state_stores::*;
    /// # use std::sync::Arc;
    /// # let builder = KeyValueStoreBuilder::new("stock", String::serde(), i64::serde());
    /// # let stores = TaskStores::open(TaskId { subtopology: 0, partition: 0 }, "shop", None,
    /// #     StateMemory::new(16 << 20), TaskStoresOptions::default(), &[Arc::new(builder)])?;
    /// let stock = stores.key_value::<String, i64>("stock")?;
    /// for (sku, on_hand) in [("fruit-pears", 5), ("nuts-almonds", 3)] {
    ///     stock.put(&sku.to_string(), Some(ValueAndTimestamp::new(on_hand, Timestamp::from_millis(0))))?;
    /// }
    /// let fruit: Result<Vec<_>, _> = stock.prefix_scan(b"fruit-")?.map(|row| row.map(|(sku, _)| sku)).collect();
    /// assert_eq!(fruit?, ["fruit-pears"]);
    /// # Ok::<(), StoreError>(())
    /// ```
    #[doc(alias = "prefixScan")]
    #[track_caller]
    pub fn prefix_scan(&self, prefix: &[u8]) -> Result<KeyValueIterator<K, V>, StoreError> {
        self.scan(KeyRange::prefix(prefix))
    }

    #[track_caller]
    fn scan(&self, range: KeyRange) -> Result<KeyValueIterator<K, V>, StoreError> {
        let horizon = self.inner.horizon()?;
        let entries = self.inner.rows.borrow_mut().scan(range, Direction::Forward)?;
        let inner = Rc::clone(&self.inner);
        let has_expired = move |row: &ValueAndTimestamp<V>| !is_alive(row, horizon);
        let entries = entries.filter(move |entry| !matches!(entry, Ok((_, row)) if has_expired(row)));
        let entries = entries.map(move |entry| {
            let (key, row) = entry?;
            Ok((inner.keys.decode(&key)?, row))
        });
        Ok(KeyValueIterator { entries: Box::new(entries) })
    }

    /// All rows; see [`range`](Self::range).
    ///
    /// # Errors
    /// As [`range`](Self::range).
    #[track_caller]
    pub fn all(&self) -> Result<KeyValueIterator<K, V>, StoreError> {
        self.range(..)
    }

    /// What changed since the last commit: per key its committed value and its newest, in the order in which the keys were
    /// first changed. A cached store's changes are forwarded from here, right before they are committed; keys that
    /// came and went since are left out. Nothing is consumed: the commit does that.
    ///
    /// # Errors
    /// When a key, or a value that was replaced, cannot be decoded, or the engine fails.
    #[track_caller]
    pub fn emissions(&self) -> Result<Vec<Emission<K, V>>, StoreError> {
        let rows = self.inner.rows.borrow();
        rows.emissions()
            .map(|changed| {
                let (key, change, timestamp) = changed?;
                Ok(Emission { key: self.inner.keys.decode(key)?, change, timestamp })
            })
            .collect()
    }

    /// The rows that the current commit deletes because they expired, of a store without caching: they are forwarded right before they
    /// are committed. A store with caching has them among its [`emissions`](Self::emissions).
    ///
    /// # Errors
    /// When a key cannot be decoded.
    #[track_caller]
    pub fn take_expired(&self) -> Result<Vec<Emission<K, V>>, StoreError> {
        let Some(forgetting) = &self.inner.forgetting else { return Ok(Vec::new()) };
        let emission = |(key, old, timestamp): (Vec<u8>, V, Timestamp)| {
            let change = Change { old: Some(old), new: None };
            Ok(Emission { key: self.inner.keys.decode(&key)?, change, timestamp })
        };
        forgetting.take_expired().into_iter().map(emission).collect()
    }

    /// A number that changes whenever rows were taken back, because a record failed or a commit did not succeed. What a processor keeps in
    /// memory of a store's rows is to be made of them anew then.
    ///
    /// ```
    /// # use millstream_state_stores::*;
    /// # use std::sync::Arc;
    /// # let builder = KeyValueStoreBuilder::new("stock", String::serde(), i64::serde());
    /// # let options = TaskStoresOptions { undo: true, ..TaskStoresOptions::default() };
    /// # let mut stores = TaskStores::open(TaskId { subtopology: 0, partition: 0 }, "shop", None,
    /// #     StateMemory::new(16 << 20), options, &[Arc::new(builder)])?;
    /// let stock = stores.key_value::<String, i64>("stock")?;
    /// let before = stock.reverts();
    /// stores.begin_record();
    /// stock.put(&"apples".to_string(), Some(ValueAndTimestamp::new(3, Timestamp::from_millis(0))))?;
    /// stores.undo_record();
    /// assert!(stock.get(&"apples".to_string())?.is_none() && stock.reverts() != before);
    /// # Ok::<(), StoreError>(())
    /// ```
    pub fn reverts(&self) -> u64 {
        self.inner.rows.borrow().reverts()
    }

    fn encode_bound(&self, bound: Bound<&K>) -> Result<Bound<Vec<u8>>, StoreError> {
        let encode = |key| {
            let mut bytes = Vec::new();
            self.encode_key(key, &mut bytes).map(|()| bytes)
        };
        Ok(match bound {
            Bound::Included(key) => Bound::Included(encode(key)?),
            Bound::Excluded(key) => Bound::Excluded(encode(key)?),
            Bound::Unbounded => Bound::Unbounded,
        })
    }

    /// Replaces `out` by the bytes of `key`.
    fn encode_key(&self, key: &K, out: &mut Vec<u8>) -> Result<(), StoreError> {
        out.clear();
        self.inner.keys.append(key, out)
    }
}

impl<K, V: Clone + 'static> Inner<K, V> {
    /// The time up to which rows have expired, if they do.
    #[inline]
    fn horizon(&self) -> Result<Option<Timestamp>, StoreError> {
        self.forgetting.as_ref().map_or(Ok(None), Forgetting::horizon)
    }

    #[inline]
    fn update<E: From<StoreError>>(
        &self,
        rows: &mut CachedRows<V>,
        key: &[u8],
        at: Timestamp,
        wanted: ChangeParts,
        f: impl FnOnce(Option<ValueAndTimestamp<V>>) -> Result<Option<ValueAndTimestamp<V>>, E>,
    ) -> Result<Option<(Change<V>, Timestamp)>, E> {
        match &self.forgetting {
            None => rows.update(key, at, wanted, f),
            Some(forgetting) => forgetting.update(rows, key, at, wanted, f),
        }
    }
}

impl<K, V: Clone + 'static> Expiring for Inner<K, V> {
    fn drop_expired(&self) -> Result<(), StoreError> {
        match &self.forgetting {
            None => Ok(()),
            Some(forgetting) => forgetting.drop_expired(&mut self.rows.borrow_mut()),
        }
    }

    fn rolled_back(&self) {
        if let Some(forgetting) = &self.forgetting {
            forgetting.rolled_back();
        }
    }
}

impl<K, V> Clone for KeyValueStore<K, V> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

impl<K, V> fmt::Debug for KeyValueStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeyValueStore")
            .field("name", &self.inner.keys.store())
            .finish_non_exhaustive()
    }
}

impl<K, V> Iterator for KeyValueIterator<K, V> {
    type Item = Result<(K, ValueAndTimestamp<V>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next()
    }
}
