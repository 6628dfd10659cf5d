//! The window store as the record path uses it.

use std::fmt;
use std::ops::{Bound, ControlFlow, RangeBounds, RangeInclusive};

use super::timed::{TimedStore, WindowedEntry};
use super::{Change, Emission, ValueAndTimestamp};
use crate::error::StoreError;
use crate::format::RowId;
use crate::key_range::Direction;
use crate::types::Timestamp;
use crate::window::Windowed;

/// The rows of keys within windows of one size, of one task, on its thread. Cloning the handle is cheap and leads to the same store.
///
/// A row is kept for the retention of the store: until a row is put whose window begins so much later. From then on it is not read any
/// more, and putting one as old changes nothing.
///
/// Reads see the task's own writes at once; readers on other threads see them after the commit. Closures given to this store
/// must not use the same store again: that panics.
///
/// ```
/// use millstream_state_stores::*;
/// use std::{sync::Arc, time::Duration};
///
/// const PER_MINUTE: WindowStoreName<String, u64> = WindowStoreName::new("orders-per-minute");
/// let minute = Duration::from_secs(60);
/// let builder = WindowStoreBuilder::new(PER_MINUTE.name(), 10 * minute, minute, String::serde(), u64::serde());
/// let stores = TaskStores::open(
///     TaskId { subtopology: 0, partition: 0 }, "shop", None,
///     StateMemory::new(16 << 20), TaskStoresOptions::default(), &[Arc::new(builder)],
/// )?;
///
/// let per_minute = stores.window::<String, u64>(PER_MINUTE.name())?;
/// let (apples, at) = ("apples".to_string(), Timestamp::from_millis);
/// for minute in [0, 1, 2] {
///     per_minute.put(&apples, at(minute * 60_000), Some(ValueAndTimestamp::new(7, at(minute * 60_000))))?;
/// }
/// assert_eq!(per_minute.fetch(&apples, at(60_000))?.map(|row| row.value), Some(7));
/// let later = per_minute.fetch_range(&apples, at(1).., Direction::Reverse)?;
/// let starts: Vec<_> = later.iter().map(|(start, _)| start.as_millis()).collect();
/// assert_eq!(starts, [120_000, 60_000]);
/// # Ok::<(), StoreError>(())
/// ```
pub struct WindowStore<K, V> {
    rows: TimedStore<K, V>,
    /// Each row that is put is one of its own.
    retains_duplicates: bool,
}

impl<K: Clone + 'static, V: Clone + 'static> WindowStore<K, V> {
    pub(super) fn new(rows: TimedStore<K, V>, retains_duplicates: bool) -> Self {
        Self { rows, retains_duplicates }
    }

    /// The name of the store.
    pub fn name(&self) -> &str {
        self.rows.name()
    }

    /// Whether changes are emitted at commit, by [`emissions`](Self::emissions), instead of by [`update`](Self::update).
    pub fn is_cached(&self) -> bool {
        self.rows.is_cached()
    }

    /// Whether rows of the window that begins at `start` are kept.
    #[inline]
    pub fn is_kept(&self, start: Timestamp) -> bool {
        self.rows.is_kept(start)
    }

    /// The row of a key in the window that begins at `start`.
    ///
    /// # Errors
    /// When the key or the stored value cannot be converted, or the engine fails.
    #[track_caller]
    pub fn fetch(&self, key: &K, start: Timestamp) -> Result<Option<ValueAndTimestamp<V>>, StoreError> {
        self.read(key, start, |row| row.cloned())
    }

    /// What `f` makes of that row, without cloning it.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    #[track_caller]
    pub fn read<R>(
        &self,
        key: &K,
        start: Timestamp,
        f: impl FnOnce(Option<&ValueAndTimestamp<V>>) -> R,
    ) -> Result<R, StoreError> {
        self.rows.read(key, RowId::of_window(start, 0), f)
    }

    /// Sets the row of a key in the window that begins at `start`, or deletes it. In a store that retains duplicates it adds a row beside
    /// those that are there, and deletes nothing.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    #[track_caller]
    pub fn put(
        &self,
        key: &K,
        start: Timestamp,
        value: Option<ValueAndTimestamp<V>>,
    ) -> Result<(), StoreError> {
        match value {
            Some(value) if self.retains_duplicates => self.rows.put_beside(key, start, value),
            None if self.retains_duplicates => Ok(()),
            value => self.rows.put(key, RowId::of_window(start, 0), value),
        }
    }

    /// Replaces the row of a key in the window that begins at `start` by what `f` makes of it (`None` deletes), finding it once. `f` is not
    /// called for a row that is not kept. Not for stores that retain duplicates.
    ///
    /// Returns what [`KeyValueStore::update`](crate::KeyValueStore::update) returns: without caching the change and its timestamp.
    ///
    /// # Errors
    /// As [`KeyValueStore::update`](crate::KeyValueStore::update).
    #[track_caller]
    pub fn update<E: From<StoreError>>(
        &self,
        key: &K,
        start: Timestamp,
        at: Timestamp,
        want_old: bool,
        f: impl FnOnce(Option<ValueAndTimestamp<V>>) -> Result<Option<ValueAndTimestamp<V>>, E>,
    ) -> Result<Option<(Change<V>, Timestamp)>, E> {
        self.rows.update(key, RowId::of_window(start, 0), at, want_old, f)
    }

    /// The rows of a key in windows that begin in a span of time, in the order of their starts; duplicates in the order in which they were put.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    #[doc(alias = "backwardFetch")]
    #[track_caller]
    pub fn fetch_range(
        &self,
        key: &K,
        starts: impl RangeBounds<Timestamp>,
        direction: Direction,
    ) -> Result<Vec<(Timestamp, ValueAndTimestamp<V>)>, StoreError> {
        let Some(ids) = self.ids(&starts) else { return Ok(Vec::new()) };
        let rows = self.rows.rows_of_key(key, ids, direction)?;
        Ok(rows.into_iter().map(|(id, row)| (id.window_start(), row)).collect())
    }

    /// Shows these rows one by one, without cloning them, until `show` breaks off.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    #[track_caller]
    pub fn visit_range(
        &self,
        key: &K,
        starts: impl RangeBounds<Timestamp>,
        direction: Direction,
        mut show: impl FnMut(Timestamp, &ValueAndTimestamp<V>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let Some(ids) = self.ids(&starts) else { return Ok(()) };
        self.rows.visit(key, ids, direction, |id, row| show(id.window_start(), row))
    }

    /// The rows of all keys in windows that begin in a span of time, in the unsigned order of the keys' *bytes*. Writes made while it is read
    /// are not seen.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch); each row can fail on its own.
    #[doc(alias = "backwardFetchAll")]
    #[track_caller]
    pub fn fetch_all<R: RangeBounds<Timestamp>>(
        &self,
        starts: R,
        direction: Direction,
    ) -> Result<impl Iterator<Item = WindowedEntry<K, V>> + use<K, V, R>, StoreError> {
        let starts = times(&starts);
        let is_wanted = move |start| starts.as_ref().is_some_and(|starts| starts.contains(&start));
        let rows = self.rows.all(direction)?;
        Ok(rows.filter(move |entry| entry.as_ref().map_or(true, |(key, _)| is_wanted(key.window.start))))
    }

    /// All rows, as [`fetch_all`](Self::fetch_all) gives them.
    ///
    /// # Errors
    /// As [`fetch_all`](Self::fetch_all).
    #[track_caller]
    pub fn all(&self) -> Result<impl Iterator<Item = WindowedEntry<K, V>> + use<K, V>, StoreError> {
        self.fetch_all(.., Direction::Forward)
    }

    /// Of a store whose rows can be found by time: the rows of windows that begin between two times, both included, kept ones and others,
    /// in the order of their starts, then of their keys' bytes.
    ///
    /// # Errors
    /// As [`fetch_all`](Self::fetch_all).
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

    /// Up to which time closed windows were emitted, as of the last commit: what [`set_emitted_to`](Self::set_emitted_to) said before.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn emitted_to(&self) -> Result<Option<Timestamp>, StoreError> {
        self.rows.read_mark()
    }

    /// Keeps, with the next commit, up to which time closed windows were emitted; of a store whose rows can be found by time.
    pub fn set_emitted_to(&self, time: Timestamp) {
        self.rows.set_mark(time);
    }

    /// The rows of windows that begin in this span.
    fn ids(&self, starts: &impl RangeBounds<Timestamp>) -> Option<RangeInclusive<RowId>> {
        let times = times(starts)?;
        let keys = self.rows.layout().keys;
        Some(keys.first_of(*times.start())..=keys.last_of(*times.end()))
    }
}

/// The first and the last point in time in a span, from 1970 on; none if it has none.
fn times(span: &impl RangeBounds<Timestamp>) -> Option<RangeInclusive<Timestamp>> {
    let first = match span.start_bound() {
        Bound::Included(time) => time.as_millis(),
        Bound::Excluded(time) => time.as_millis().checked_add(1)?,
        Bound::Unbounded => 0,
    };
    let last = match span.end_bound() {
        Bound::Included(time) => time.as_millis(),
        Bound::Excluded(time) => time.as_millis().checked_sub(1)?,
        Bound::Unbounded => i64::MAX,
    };
    let first = first.max(0);
    (first <= last).then(|| Timestamp::from_millis(first)..=Timestamp::from_millis(last))
}

impl<K, V> Clone for WindowStore<K, V> {
    fn clone(&self) -> Self {
        Self { rows: self.rows.clone(), ..*self }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> fmt::Debug for WindowStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WindowStore").field("name", &self.name()).finish_non_exhaustive()
    }
}
