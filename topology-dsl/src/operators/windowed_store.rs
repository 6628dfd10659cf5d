//! What a store of windows and one of sessions do for the table they keep: the same, but for how a row is found and which times it has.

use millstream_processor::api::Failure;
use millstream_processor::{
    Change, Emission, Result, SessionStore, StoreError, Timestamp, ValueAndTimestamp, Window, WindowStore,
    Windowed, WindowedEntry,
};

use super::rows::RowStore;

/// A store whose rows are those of keys in windows.
pub(super) trait WindowedStore:
    RowStore<Windowed<<Self as WindowedStore>::Key>, <Self as WindowedStore>::Value>
{
    type Key: Clone + 'static;
    type Value: Clone + 'static;

    /// The event time of a row that had `before`, if it was there, and is changed by a record of the time `at`.
    fn time_of_row(before: Option<Timestamp>, at: Timestamp) -> Timestamp;

    /// The event time with which a row of this time goes downstream.
    fn time_of_change(window: Window, row: Timestamp) -> Timestamp;

    /// Replaces a row by what `change` makes of it, as [`WindowStore::update`] does.
    fn update(
        &self,
        key: &Self::Key,
        window: Window,
        at: Timestamp,
        want_old: bool,
        change: impl FnOnce(Option<Row<Self>>) -> Result<Option<Row<Self>>, Failure>,
    ) -> Result<Changed<Self>, Failure>;

    /// See [`WindowStore::is_cached`].
    fn is_cached(&self) -> bool;

    /// See [`WindowStore::emissions`].
    fn emissions(&self) -> Result<Emissions<Self>, StoreError>;

    /// The rows between two of the times by which they are ordered: the starts of windows, the ends of sessions.
    fn by_time(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<impl Iterator<Item = WindowedEntry<Self::Key, Self::Value>>, StoreError>;

    /// See [`WindowStore::emitted_to`].
    fn emitted_to(&self) -> Result<Option<Timestamp>, StoreError>;

    /// See [`WindowStore::set_emitted_to`].
    fn set_emitted_to(&self, time: Timestamp);
}

/// A row of a store.
pub(super) type Row<S> = ValueAndTimestamp<<S as WindowedStore>::Value>;

/// A change of a row, if there was one, with the row's event time.
pub(super) type Changed<S> = Option<(Change<<S as WindowedStore>::Value>, Timestamp)>;

/// What a cached store has changed since the last commit.
pub(super) type Emissions<S> =
    Vec<Emission<Windowed<<S as WindowedStore>::Key>, <S as WindowedStore>::Value>>;

/// The methods in which both stores differ by no more than their own names.
macro_rules! methods_of_both {
    ($store:ident) => {
        fn is_cached(&self) -> bool {
            $store::is_cached(self)
        }

        fn emissions(&self) -> Result<Emissions<Self>, StoreError> {
            $store::emissions(self)
        }

        fn by_time(
            &self,
            from: Timestamp,
            to: Timestamp,
        ) -> Result<impl Iterator<Item = WindowedEntry<K, V>>, StoreError> {
            $store::by_time(self, from, to)
        }

        fn emitted_to(&self) -> Result<Option<Timestamp>, StoreError> {
            $store::emitted_to(self)
        }

        fn set_emitted_to(&self, time: Timestamp) {
            $store::set_emitted_to(self, time);
        }
    };
}

impl<K: Clone + 'static, V: Clone + 'static> WindowedStore for WindowStore<K, V> {
    type Key = K;
    type Value = V;

    /// The latest of all records that went into it.
    #[inline]
    fn time_of_row(before: Option<Timestamp>, at: Timestamp) -> Timestamp {
        before.map_or(at, |before| at.max(before))
    }

    #[inline]
    fn time_of_change(_window: Window, row: Timestamp) -> Timestamp {
        row
    }

    #[inline]
    fn update(
        &self,
        key: &K,
        window: Window,
        at: Timestamp,
        want_old: bool,
        change: impl FnOnce(Option<Row<Self>>) -> Result<Option<Row<Self>>, Failure>,
    ) -> Result<Changed<Self>, Failure> {
        WindowStore::update(self, key, window.start, at, want_old, change)
    }

    methods_of_both!(WindowStore);
}

impl<K: Clone + 'static, V: Clone + 'static> WindowedStore for SessionStore<K, V> {
    type Key = K;
    type Value = V;

    /// That of the record: what it is later than is in the session's end.
    #[inline]
    fn time_of_row(_before: Option<Timestamp>, at: Timestamp) -> Timestamp {
        at
    }

    #[inline]
    fn time_of_change(session: Window, _row: Timestamp) -> Timestamp {
        session.end
    }

    #[inline]
    fn update(
        &self,
        key: &K,
        session: Window,
        at: Timestamp,
        want_old: bool,
        change: impl FnOnce(Option<Row<Self>>) -> Result<Option<Row<Self>>, Failure>,
    ) -> Result<Changed<Self>, Failure> {
        SessionStore::update(self, key, session, at, want_old, change)
    }

    methods_of_both!(SessionStore);
}
