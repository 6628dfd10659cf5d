//! The versioned store as the record path uses it (KIP-889).

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::companion::{Expiring, Sweep, stream_time};
use super::keys::StoreKeys;
use super::segment::Segment;
use super::versions::{HistoryLimits, Versions};
use crate::error::StoreError;
use crate::format::companion::{split_timed, untimed};
use crate::layer::{CachedRows, ChangelogEntry, ReadRows, TaskContext, WriteRows, encode_value};
use crate::serde::SerdeRef;
use crate::types::{StoreIndex, Timestamp};

/// A value, and when it was valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionedRecord<V> {
    /// The value.
    pub value: V,
    /// When it began to be valid.
    pub valid_from: Timestamp,
    /// When another version, or a deletion, took its place; `None` if it is the newest version.
    pub valid_to: Option<Timestamp>,
}

/// What became of a version that was put into a [`VersionedStore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionedPut {
    /// It is the newest version of its key.
    Latest,
    /// It is older than another one, which begins at this time.
    ValidUntil(Timestamp),
    /// It was not put: it is older than the history retention.
    NotPut,
}

/// A store of one task that keeps, for some time, what the value of a key was. Cloning the handle is cheap and leads to the same store.
///
/// A version is valid from its timestamp until that of the next one. Versions may come in any order, as long as they are not further behind
/// the store's stream time (the latest timestamp that was put) than the *history retention*, which is also how far one can look back. The
/// newest version of a key is kept for ever.
///
/// Its changelog is that of Kafka Streams' versioned stores: a record for each version, with its timestamp; a deletion is a null.
///
/// ```
/// use millstream_state_stores::*;
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// const PRICES: StoreName<String, i64> = StoreName::new("prices");
/// let builder = KeyValueStoreBuilder::new(PRICES.name(), String::serde(), i64::serde())
///     .versioned(Duration::from_secs(3600));
/// let task = TaskId { subtopology: 0, partition: 0 };
/// let stores = TaskStores::open(
///     task, "shop", None, StateMemory::new(16 << 20), TaskStoresOptions::default(), &[Arc::new(builder)],
/// )?;
///
/// let prices = stores.versioned::<String, i64>(PRICES.name())?;
/// let (apples, at) = ("apples".to_string(), Timestamp::from_millis);
/// assert_eq!(prices.put(&apples, Some(30), at(1_000))?, VersionedPut::Latest);
/// assert_eq!(prices.put(&apples, Some(40), at(9_000))?, VersionedPut::Latest);
/// assert_eq!(prices.put(&apples, Some(35), at(5_000))?, VersionedPut::ValidUntil(at(9_000)));
/// assert_eq!(prices.get(&apples)?.map(|price| price.value), Some(40));
/// let then = prices.get_as_of(&apples, at(6_000))?;
/// assert_eq!(then, Some(VersionedRecord { value: 35, valid_from: at(5_000), valid_to: Some(at(9_000)) }));
/// # Ok::<(), StoreError>(())
/// ```
#[doc(alias = "VersionedKeyValueStore")]
pub struct VersionedStore<K, V> {
    inner: Rc<Inner<K, V>>,
}

struct Inner<K, V> {
    definition: VersionedDefinition<K, V>,
    store: StoreIndex,
    context: Rc<TaskContext>,
    latest: Rc<RefCell<CachedRows<V>>>,
    history: Rc<RefCell<CachedRows<Segment<V>>>>,
    sweep: Sweep,
    buffers: RefCell<Buffers>,
}

/// What a store is called and how it behaves.
pub(super) struct VersionedDefinition<K, V> {
    pub(super) keys: StoreKeys<K>,
    pub(super) is_logged: bool,
    pub(super) limits: HistoryLimits,
    pub(super) value_serde: SerdeRef<V>,
}

/// Reused for encoded keys and values.
#[derive(Default)]
struct Buffers {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<K: Clone + 'static, V: Clone + 'static> VersionedStore<K, V> {
    pub(super) fn new(
        definition: VersionedDefinition<K, V>,
        store: StoreIndex,
        context: Rc<TaskContext>,
        latest: Rc<RefCell<CachedRows<V>>>,
        history: Rc<RefCell<CachedRows<Segment<V>>>>,
    ) -> Self {
        let (sweep, buffers) = (Sweep::default(), RefCell::default());
        Self { inner: Rc::new(Inner { definition, store, context, latest, history, sweep, buffers }) }
    }

    /// What the task does about versions that are forgotten.
    pub(super) fn expiring(&self) -> Rc<dyn Expiring> {
        Rc::clone(&self.inner) as Rc<dyn Expiring>
    }

    /// The name of the store.
    pub fn name(&self) -> &str {
        self.inner.definition.keys.store()
    }

    /// Puts a version that is valid from `at`, in the place of one that began at the same time; `None` says that the key is deleted from
    /// then on. A version that is older than the history retention is not put.
    ///
    /// # Errors
    /// When the key or a value cannot be converted, or the engine fails.
    pub fn put(&self, key: &K, value: Option<V>, at: Timestamp) -> Result<VersionedPut, StoreError> {
        let VersionedDefinition { keys, is_logged, limits, value_serde } = &self.inner.definition;
        let Buffers { key: encoded_key, value: encoded_value } = &mut *self.inner.buffers.borrow_mut();
        self.inner.encode_key(key, encoded_key)?;
        encoded_value.clear();
        if let Some(value) = value.as_ref().filter(|_| *is_logged) {
            // Before anything changes.
            encode_value(value_serde, keys.store(), value, encoded_value)?;
        }
        let is_deletion = value.is_none();
        let put = self.inner.versions(|mut versions| versions.put(encoded_key, value, at))?;
        if put == VersionedPut::NotPut {
            return Ok(put);
        }
        self.inner.sweep.add(limits.interval_of(at));
        if *is_logged {
            let value = (!is_deletion).then_some(encoded_value.as_slice());
            let entry = ChangelogEntry { store: self.inner.store, key: encoded_key, value, timestamp: at };
            self.inner.context.changelog.borrow_mut().append(entry);
        }
        Ok(put)
    }

    /// The newest version of a key.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn get(&self, key: &K) -> Result<Option<VersionedRecord<V>>, StoreError> {
        let encoded_key = &mut self.inner.buffers.borrow_mut().key;
        self.inner.encode_key(key, encoded_key)?;
        self.inner.versions(|mut versions| versions.newest(encoded_key))
    }

    /// The version of a key that was valid at a time; `None` if there was none, or if it was replaced before the history retention.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn get_as_of(&self, key: &K, as_of: Timestamp) -> Result<Option<VersionedRecord<V>>, StoreError> {
        let encoded_key = &mut self.inner.buffers.borrow_mut().key;
        self.inner.encode_key(key, encoded_key)?;
        self.inner.versions(|mut versions| versions.as_of(encoded_key, as_of))
    }

    /// Deletes a key as of a time, and returns what was valid then. Nothing is deleted, and `None` returned, if that is longer ago than the
    /// history retention.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&self, key: &K, at: Timestamp) -> Result<Option<VersionedRecord<V>>, StoreError> {
        let deleted = self.get_as_of(key, at)?;
        match self.put(key, None, at)? {
            VersionedPut::NotPut => Ok(None),
            VersionedPut::Latest | VersionedPut::ValidUntil(_) => Ok(deleted),
        }
    }
}

impl<K, V: Clone> Inner<K, V> {
    /// What `f` does with the versions.
    fn versions<R>(&self, f: impl FnOnce(Versions<'_, CachedRows<V>, CachedRows<Segment<V>>>) -> R) -> R {
        let (mut latest, mut history) = (self.latest.borrow_mut(), self.history.borrow_mut());
        f(Versions::new(self.definition.limits, &mut latest, &mut history))
    }

    /// Replaces `out` by the bytes of `key`.
    fn encode_key(&self, key: &K, out: &mut Vec<u8>) -> Result<(), StoreError> {
        out.clear();
        self.definition.keys.append(key, out)
    }
}

impl<K, V: Clone + 'static> Expiring for Inner<K, V> {
    fn drop_expired(&self) -> Result<(), StoreError> {
        let Some(stream_time) = stream_time(&mut *self.history.borrow_mut())? else { return Ok(()) };
        // The interval of the horizon is needed still.
        let limits = self.definition.limits;
        let kept = limits.interval_of(limits.horizon(stream_time));
        let Some(last) = kept.as_millis().checked_sub(1).filter(|last| *last >= 0) else { return Ok(()) };
        let mut deletion_key = Vec::new();
        for timed_key in self.sweep.due(&self.history, Timestamp::from_millis(last))? {
            let mut history = self.history.borrow_mut();
            history.set(&timed_key, None)?;
            let Some((interval, key)) = split_timed(&timed_key) else { continue };
            untimed(key, &mut deletion_key);
            let deleted_at = history.row(&deletion_key)?.map(|row| row.timestamp);
            if deleted_at.is_some_and(|at| limits.interval_of(at) == interval) {
                history.set(&deletion_key, None)?;
            }
        }
        Ok(())
    }

    fn rolled_back(&self) {
        self.sweep.restart();
    }
}

impl<K, V> Clone for VersionedStore<K, V> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> fmt::Debug for VersionedStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("VersionedStore").field("name", &self.name()).finish_non_exhaustive()
    }
}
