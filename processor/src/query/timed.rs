//! The typed handles of window and session stores, for the application's own threads.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use millstream_state_stores::{
    Direction, Position, TimedLayout, TimedStoreBuilder, Timestamp, ValueAndTimestamp, Window, Windowed,
};

use super::error::QueryError;
use super::row_serdes::RowSerdes;
use super::view::{MergedScan, StoreEntry, StoreView};

/// Reads a window store of this instance. Sees committed state; cannot delay processing; cheap to clone; any thread may use it.
pub struct ReadOnlyWindowStore<K, V> {
    rows: TypedView<K, V>,
}

/// Reads a session store of this instance. Sees committed state; cannot delay processing; cheap to clone; any thread may use it.
pub struct ReadOnlySessionStore<K, V> {
    rows: TypedView<K, V>,
}

impl<K, V> ReadOnlyWindowStore<K, V> {
    pub(crate) fn new<S>(view: TimedView, builder: &TimedStoreBuilder<K, V, S>) -> Self {
        ReadOnlyWindowStore { rows: TypedView::new(view, builder) }
    }

    /// The value of a key in the window that begins at `start`.
    ///
    /// # Errors
    /// [`QueryError::Restoring`] or [`QueryError::NotHere`] if the key's partition is not readable here now.
    pub fn fetch(&self, key: &K, start: Timestamp) -> Result<Option<V>, QueryError> {
        Ok(self.fetch_with_timestamp(key, start)?.map(|row| row.value))
    }

    /// The same with the event time of its last change.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_with_timestamp(
        &self,
        key: &K,
        start: Timestamp,
    ) -> Result<Option<ValueAndTimestamp<V>>, QueryError> {
        self.rows.get(key, Window::new(start, start))
    }

    /// The values of a key in windows that begin in a span of time, in the order of their starts.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch); and for each row, if it does not decode.
    #[doc(alias = "backwardFetch")]
    pub fn fetch_range(
        &self,
        key: &K,
        starts: impl RangeBounds<Timestamp>,
        direction: Direction,
    ) -> Result<impl Iterator<Item = Result<(Window, V), QueryError>>, QueryError> {
        let (from, to) = times(&starts);
        self.rows.of_key(key, from, to, direction)
    }

    /// The values of all keys in windows that begin in a span of time, in the order of their keys' bytes.
    ///
    /// # Errors
    /// As [`fetch_range`](Self::fetch_range), for any local partition.
    #[doc(alias = "backwardFetchAll")]
    pub fn fetch_all(
        &self,
        starts: impl RangeBounds<Timestamp>,
        direction: Direction,
    ) -> Result<impl Iterator<Item = Result<(Windowed<K>, V), QueryError>>, QueryError> {
        let (from, to) = times(&starts);
        self.rows.all(from, to, direction)
    }

    /// All rows, as [`fetch_all`](Self::fetch_all) gives them.
    ///
    /// # Errors
    /// As [`fetch_all`](Self::fetch_all).
    pub fn all(&self) -> Result<impl Iterator<Item = Result<(Windowed<K>, V), QueryError>>, QueryError> {
        self.fetch_all(.., Direction::Forward)
    }

    /// The input offsets that a query asked now reflects at least.
    ///
    /// # Errors
    /// As [`fetch_all`](Self::fetch_all).
    pub fn position(&self) -> Result<Position, QueryError> {
        self.rows.view.view.position()
    }
}

impl<K, V> ReadOnlySessionStore<K, V> {
    pub(crate) fn new<S>(view: TimedView, builder: &TimedStoreBuilder<K, V, S>) -> Self {
        ReadOnlySessionStore { rows: TypedView::new(view, builder) }
    }

    /// The value of one session of a key.
    ///
    /// # Errors
    /// [`QueryError::Restoring`] or [`QueryError::NotHere`] if the key's partition is not readable here now.
    #[doc(alias = "fetchSession")]
    pub fn fetch_session(&self, key: &K, session: Window) -> Result<Option<V>, QueryError> {
        Ok(self.rows.get(key, session)?.map(|row| row.value))
    }

    /// The sessions of a key that end at `earliest_end` or later and begin at `latest_start` or earlier, in the order of their ends.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session); and for each row, if it does not decode.
    #[doc(alias = "findSessions")]
    #[doc(alias = "backwardFindSessions")]
    pub fn find_sessions(
        &self,
        key: &K,
        earliest_end: Timestamp,
        latest_start: Timestamp,
        direction: Direction,
    ) -> Result<impl Iterator<Item = Result<(Window, V), QueryError>>, QueryError> {
        let sessions = self.rows.of_key(key, earliest_end, Timestamp::from_millis(i64::MAX), direction)?;
        Ok(sessions.filter(move |session| {
            session.as_ref().map_or(true, |(session, _)| session.start <= latest_start)
        }))
    }

    /// All sessions of a key, in the order of their ends.
    ///
    /// # Errors
    /// As [`find_sessions`](Self::find_sessions).
    #[doc(alias = "backwardFetch")]
    pub fn fetch(
        &self,
        key: &K,
        direction: Direction,
    ) -> Result<impl Iterator<Item = Result<(Window, V), QueryError>>, QueryError> {
        let (first, last) = times(&..);
        self.rows.of_key(key, first, last, direction)
    }

    /// All sessions of all keys, in the order of their keys' bytes.
    ///
    /// # Errors
    /// As [`find_sessions`](Self::find_sessions), for any local partition.
    pub fn all(&self) -> Result<impl Iterator<Item = Result<(Windowed<K>, V), QueryError>>, QueryError> {
        let (first, last) = times(&..);
        self.rows.all(first, last, Direction::Forward)
    }

    /// The input offsets that a query asked now reflects at least.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub fn position(&self) -> Result<Position, QueryError> {
        self.rows.view.view.position()
    }
}

/// The first and the last point in time of a span.
fn times(span: &impl RangeBounds<Timestamp>) -> (Timestamp, Timestamp) {
    let first = match span.start_bound() {
        Bound::Included(time) => time.as_millis(),
        Bound::Excluded(time) => time.as_millis().saturating_add(1),
        Bound::Unbounded => 0,
    };
    let last = match span.end_bound() {
        Bound::Included(time) => time.as_millis(),
        Bound::Excluded(time) => time.as_millis().saturating_sub(1),
        Bound::Unbounded => i64::MAX,
    };
    (Timestamp::from_millis(first), Timestamp::from_millis(last))
}

/// The encoded rows of a window or session store. Times are those of windows' starts, or of sessions' ends.
#[derive(Clone)]
pub(crate) struct TimedView {
    view: StoreView,
    layout: TimedLayout,
}

/// An encoded row in its window.
pub(crate) struct TimedEntry {
    window: Window,
    entry: StoreEntry,
}

impl TimedEntry {
    pub(crate) fn into_entry(self) -> StoreEntry {
        self.entry
    }
}

impl TimedView {
    pub(crate) fn new(view: StoreView, layout: TimedLayout) -> Self {
        TimedView { view, layout }
    }

    pub(crate) fn of_key(
        &self,
        key: &[u8],
        from: Timestamp,
        to: Timestamp,
        direction: Direction,
    ) -> Result<impl Iterator<Item = Result<TimedEntry, QueryError>> + use<>, QueryError> {
        let rows = self.view.scan_rows(key, &self.layout.rows_of_key(key, from, to), direction)?;
        let (layout, key) = (self.layout, key.to_vec());
        // Rows of longer keys may lie in between.
        Ok(in_windows(layout, rows, move |found, _| found == key))
    }

    pub(crate) fn all(
        &self,
        from: Timestamp,
        to: Timestamp,
        direction: Direction,
    ) -> Result<impl Iterator<Item = Result<TimedEntry, QueryError>> + use<>, QueryError> {
        let rows = self.view.scan(&self.layout.all_rows(), direction)?;
        let layout = self.layout;
        Ok(in_windows(layout, rows, move |_, window| (from..=to).contains(&layout.time_of(window))))
    }
}

/// The rows whose key and window are wanted.
fn in_windows(
    layout: TimedLayout,
    rows: MergedScan,
    is_wanted: impl Fn(&[u8], Window) -> bool,
) -> impl Iterator<Item = Result<TimedEntry, QueryError>> {
    rows.filter_map(move |entry| match entry {
        Ok(entry) => {
            let (key, window) = layout.split_row(&entry.key)?;
            is_wanted(key, window).then_some(Ok(TimedEntry { window, entry }))
        }
        Err(error) => Some(Err(error)),
    })
}

struct TypedView<K, V> {
    view: TimedView,
    serdes: RowSerdes<K, V>,
}

impl<K, V> TypedView<K, V> {
    fn new<S>(view: TimedView, builder: &TimedStoreBuilder<K, V, S>) -> Self {
        let serdes = RowSerdes { key: builder.key_serde().clone(), value: builder.value_serde().clone() };
        TypedView { view, serdes }
    }

    fn get(&self, key: &K, window: Window) -> Result<Option<ValueAndTimestamp<V>>, QueryError> {
        let key = self.serdes.encode_key(key)?;
        self.serdes.decode_found(self.view.view.get_row(&key, &self.view.layout.row_key(&key, window))?)
    }

    fn of_key(
        &self,
        key: &K,
        from: Timestamp,
        to: Timestamp,
        direction: Direction,
    ) -> Result<impl Iterator<Item = Result<(Window, V), QueryError>> + use<K, V>, QueryError> {
        let rows = self.view.of_key(&self.serdes.encode_key(key)?, from, to, direction)?;
        let value_serde = self.serdes.value.clone();
        Ok(rows.map(move |row| {
            let TimedEntry { window, entry } = row?;
            Ok((window, value_serde.decode(&entry.value)?))
        }))
    }

    fn all(
        &self,
        from: Timestamp,
        to: Timestamp,
        direction: Direction,
    ) -> Result<impl Iterator<Item = Result<(Windowed<K>, V), QueryError>> + use<K, V>, QueryError> {
        let rows = self.view.all(from, to, direction)?;
        let (layout, serdes) = (self.view.layout, self.serdes.clone());
        Ok(rows.map(move |row| {
            let TimedEntry { window, entry } = row?;
            let (key, _) = layout.split_row(&entry.key).unwrap_or((&[], window));
            Ok((Windowed::new(serdes.key.decode(key)?, window), serdes.value.decode(&entry.value)?))
        }))
    }
}

impl<K, V> Clone for TypedView<K, V> {
    fn clone(&self) -> Self {
        TypedView { view: self.view.clone(), serdes: self.serdes.clone() }
    }
}

impl<K, V> Clone for ReadOnlyWindowStore<K, V> {
    fn clone(&self) -> Self {
        ReadOnlyWindowStore { rows: self.rows.clone() }
    }
}

impl<K, V> Clone for ReadOnlySessionStore<K, V> {
    fn clone(&self) -> Self {
        ReadOnlySessionStore { rows: self.rows.clone() }
    }
}

impl<K, V> fmt::Debug for ReadOnlyWindowStore<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOnlyWindowStore")
            .field("name", &self.rows.view.view.name())
            .finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for ReadOnlySessionStore<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOnlySessionStore")
            .field("name", &self.rows.view.view.name())
            .finish_non_exhaustive()
    }
}
