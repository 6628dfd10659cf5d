//! The session store as the record path uses it.

use std::fmt;
use std::ops::ControlFlow;

use super::timed::{TimedStore, WindowedEntry};
use super::{Change, Emission, ValueAndTimestamp};
use crate::error::StoreError;
use crate::format::RowId;
use crate::key_range::Direction;
use crate::types::Timestamp;
use crate::window::{Window, Windowed};

/// The sessions of keys, of one task, on its thread. Cloning the handle is cheap and leads to the same store.
///
/// A session is kept for the retention of the store: until one is put that ends so much later. From then on it is not read any more, and
/// putting one as old changes nothing.
///
/// Reads see the task's own writes at once; readers on other threads see them after the commit. Closures given to this store
/// must not use the same store again: that panics.
///
/// ```
/// use millstream_state_stores::*;
/// use std::{sync::Arc, time::Duration};
///
/// const VISITS: SessionStoreName<String, u64> = SessionStoreName::new("visits");
/// let hour = Duration::from_secs(3_600);
/// let builder = SessionStoreBuilder::new(VISITS.name(), hour, String::serde(), u64::serde());
/// let stores = TaskStores::open(
///     TaskId { subtopology: 0, partition: 0 }, "shop", None,
///     StateMemory::new(16 << 20), TaskStoresOptions::default(), &[Arc::new(builder)],
/// )?;
///
/// let visits = stores.session::<String, u64>(VISITS.name())?;
/// let (ann, at) = ("ann".to_string(), Timestamp::from_millis);
/// visits.put(&ann, Window::new(at(1_000), at(5_000)), Some(ValueAndTimestamp::new(3, at(5_000))))?;
/// let found = visits.find_sessions(&ann, at(4_000), at(9_000), Direction::Forward)?;
/// assert_eq!(found[0].0, Window::new(at(1_000), at(5_000)));
/// assert!(visits.find_sessions(&ann, at(6_000), at(9_000), Direction::Forward)?.is_empty());
/// # Ok::<(), StoreError>(())
/// ```
pub struct SessionStore<K, V> {
    rows: TimedStore<K, V>,
}

impl<K: Clone + 'static, V: Clone + 'static> SessionStore<K, V> {
    pub(super) fn new(rows: TimedStore<K, V>) -> Self {
        Self { rows }
    }

    /// The name of the store.
    pub fn name(&self) -> &str {
        self.rows.name()
    }

    /// Whether changes are emitted at commit, by [`emissions`](Self::emissions), instead of by [`update`](Self::update).
    pub fn is_cached(&self) -> bool {
        self.rows.is_cached()
    }

    /// Whether sessions that end at `end` are kept.
    #[inline]
    pub fn is_kept(&self, end: Timestamp) -> bool {
        self.rows.is_kept(end)
    }

    /// The row of one session of a key.
    ///
    /// # Errors
    /// When the key or the stored value cannot be converted, or the engine fails.
    #[doc(alias = "fetchSession")]
    #[track_caller]
    pub fn fetch_session(
        &self,
        key: &K,
        session: Window,
    ) -> Result<Option<ValueAndTimestamp<V>>, StoreError> {
        self.read(key, session, |row| row.cloned())
    }

    /// What `f` makes of that row, without cloning it.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    #[track_caller]
    pub fn read<R>(
        &self,
        key: &K,
        session: Window,
        f: impl FnOnce(Option<&ValueAndTimestamp<V>>) -> R,
    ) -> Result<R, StoreError> {
        self.rows.read(key, RowId::of_session(session), f)
    }

    /// Sets the row of one session of a key, or deletes it.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    #[track_caller]
    pub fn put(
        &self,
        key: &K,
        session: Window,
        value: Option<ValueAndTimestamp<V>>,
    ) -> Result<(), StoreError> {
        self.rows.put(key, RowId::of_session(session), value)
    }

    /// Replaces the row of one session of a key by what `f` makes of it (`None` deletes), finding it once. `f` is not called for a row that is
    /// not kept.
    ///
    /// Returns what [`KeyValueStore::update`](crate::KeyValueStore::update) returns: without caching the change and its timestamp.
    ///
    /// # Errors
    /// As [`KeyValueStore::update`](crate::KeyValueStore::update).
    #[track_caller]
    pub fn update<E: From<StoreError>>(
        &self,
        key: &K,
        session: Window,
        at: Timestamp,
        want_old: bool,
        f: impl FnOnce(Option<ValueAndTimestamp<V>>) -> Result<Option<ValueAndTimestamp<V>>, E>,
    ) -> Result<Option<(Change<V>, Timestamp)>, E> {
        self.rows.update(key, RowId::of_session(session), at, want_old, f)
    }

    /// The sessions of a key that end at `earliest_end` or later and begin at `latest_start` or earlier, in the order of their ends.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    #[doc(alias = "findSessions")]
    #[doc(alias = "backwardFindSessions")]
    #[track_caller]
    pub fn find_sessions(
        &self,
        key: &K,
        earliest_end: Timestamp,
        latest_start: Timestamp,
        direction: Direction,
    ) -> Result<Vec<(Window, ValueAndTimestamp<V>)>, StoreError> {
        let mut found = Vec::new();
        self.visit_sessions(key, earliest_end, latest_start, direction, |session, row| {
            found.push((session, row.clone()));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Shows these sessions one by one, without cloning them, until `show` breaks off.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    #[track_caller]
    pub fn visit_sessions(
        &self,
        key: &K,
        earliest_end: Timestamp,
        latest_start: Timestamp,
        direction: Direction,
        mut show: impl FnMut(Window, &ValueAndTimestamp<V>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let keys = self.rows.layout().keys;
        let earliest_end = earliest_end.max(Timestamp::from_millis(0));
        let ids = keys.first_of(earliest_end)..=keys.last_of(Timestamp::from_millis(i64::MAX));
        self.rows.visit(key, ids, direction, |id, row| {
            let session = id.session();
            if session.start > latest_start { ControlFlow::Continue(()) } else { show(session, row) }
        })
    }

    /// All sessions of a key, in the order of their ends.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    #[doc(alias = "backwardFetch")]
    #[track_caller]
    pub fn fetch(
        &self,
        key: &K,
        direction: Direction,
    ) -> Result<Vec<(Window, ValueAndTimestamp<V>)>, StoreError> {
        self.find_sessions(key, Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX), direction)
    }

    /// All sessions of all keys, in the unsigned order of the keys' *bytes*. Writes made while it is read are not seen.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session); each row can fail on its own.
    #[track_caller]
    pub fn all(&self) -> Result<impl Iterator<Item = WindowedEntry<K, V>> + use<K, V>, StoreError> {
        self.rows.all(Direction::Forward)
    }

    /// Of a store whose rows can be found by time: the sessions that end between two times, both included, kept ones and others, in the
    /// order of their ends, then of their starts, then of their keys' bytes.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    #[track_caller]
    pub fn by_time(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<impl Iterator<Item = WindowedEntry<K, V>> + use<K, V>, StoreError> {
        self.rows.between(from, to)
    }

    /// What changed since the last commit, as [`KeyValueStore::emissions`](crate::KeyValueStore::emissions) gives it.
    ///
    /// # Errors
    /// When a key cannot be decoded.
    #[track_caller]
    pub fn emissions(&self) -> Result<Vec<Emission<Windowed<K>, V>>, StoreError> {
        self.rows.emissions()
    }

    /// Up to which time closed sessions were emitted, as of the last commit: what [`set_emitted_to`](Self::set_emitted_to) said before.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn emitted_to(&self) -> Result<Option<Timestamp>, StoreError> {
        self.rows.read_mark()
    }

    /// Keeps, with the next commit, up to which time closed sessions were emitted; of a store whose rows can be found by time.
    pub fn set_emitted_to(&self, time: Timestamp) {
        self.rows.set_mark(time);
    }
}

impl<K, V> Clone for SessionStore<K, V> {
    fn clone(&self) -> Self {
        Self { rows: self.rows.clone() }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> fmt::Debug for SessionStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SessionStore").field("name", &self.name()).finish_non_exhaustive()
    }
}
