//! Looking up rows of a table: in its own store, or computed from a table above that has one.

use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Wiring};
use millstream_processor::{
    Error, KeyValueStore, Result, SessionStore, Timestamp, ValueAndTimestamp, VersionedRecord,
    VersionedStore, WindowStore, Windowed,
};

use crate::logical::{OperationId, Plan};

/// A row that is only looked at.
pub(crate) type RowRef<'row, V> = ValueAndTimestamp<&'row V>;

fn row_ref<V>(row: &ValueAndTimestamp<V>) -> RowRef<'_, V> {
    ValueAndTimestamp::new(&row.value, row.timestamp)
}

/// The event time of a value that has none, such as one that was made of no row: earlier than that of any row.
pub(super) const NO_TIME: Timestamp = Timestamp::from_millis(-1);

/// The rows of a table, as one task sees them.
pub(crate) trait Rows<K, V> {
    /// Calls the closure once with the row of the key, if there is one: the one that was valid at a time, if the table knows what was; any
    /// other table knows only what is. The closure must not look into rows itself: they may be of the same store.
    fn read_as_of(
        &self,
        key: &K,
        as_of: Option<Timestamp>,
        use_row: &mut dyn FnMut(Option<RowRef<'_, V>>),
    ) -> Result<(), Failure>;

    /// The same with what is.
    #[inline]
    fn read(&self, key: &K, use_row: &mut dyn FnMut(Option<RowRef<'_, V>>)) -> Result<(), Failure> {
        self.read_as_of(key, None, use_row)
    }

    /// A copy of the row of the key, for those who look into other rows with it.
    fn copy_as_of(&self, key: &K, as_of: Option<Timestamp>) -> Result<Option<ValueAndTimestamp<V>>, Failure>
    where
        V: Clone,
    {
        let mut copy = None;
        self.read_as_of(key, as_of, &mut |row| {
            copy = row.map(|row| ValueAndTimestamp::new(row.value.clone(), row.timestamp));
        })?;
        Ok(copy)
    }

    /// A copy of what is.
    fn copy(&self, key: &K) -> Result<Option<ValueAndTimestamp<V>>, Failure>
    where
        V: Clone,
    {
        self.copy_as_of(key, None)
    }
}

/// Opens a table's rows when a task is built.
pub(crate) type OpenRows<K, V> = Arc<dyn Fn(&Wiring<'_>) -> Result<Box<dyn Rows<K, V>>> + Send + Sync>;

/// Decides where a table's rows are found, once it is planned which tables keep a store.
pub(crate) type RowLookup<K, V> = Rc<dyn Fn(&Plan) -> Result<OpenRows<K, V>>>;

/// A store that keeps a table, and in which its rows are found.
pub(crate) trait RowStore<K, V>: Rows<K, V> + Sized + 'static {
    /// The store of this name, with which the node is connected.
    fn open(wiring: &Wiring<'_>, name: &str) -> Result<Self>;
}

/// Rows in the store of the table itself, of one without windows.
pub(crate) fn stored_rows<K: Clone + 'static, V: Clone + 'static>(table: OperationId) -> RowLookup<K, V> {
    rows_in_store::<KeptRows<K, V>, K, V>(table)
}

/// Rows in the store of the table itself.
pub(crate) fn rows_in_store<S, K, V>(table: OperationId) -> RowLookup<K, V>
where
    S: RowStore<K, V>,
    K: 'static,
    V: 'static,
{
    Rc::new(move |plan| {
        let store = plan.operation(table).store.clone();
        let store =
            store.ok_or_else(|| Error::fatal("rows were to be looked up in a table without a store"))?;
        Ok(Arc::new(move |wiring| Ok(Box::new(S::open(wiring, &store)?))))
    })
}

/// Rows in the store of the table itself if it was planned to have one, else computed as `compute` says.
pub(crate) fn stored_or_computed_rows<K: Clone + 'static, V: Clone + 'static>(
    table: OperationId,
    compute: impl Fn(&Plan) -> Result<OpenRows<K, V>> + 'static,
) -> RowLookup<K, V> {
    let stored = stored_rows(table);
    Rc::new(move |plan| if plan.operation(table).is_materialized { stored(plan) } else { compute(plan) })
}

/// The store of a table without windows: of what is, or also of what was.
pub(super) enum KeptRows<K, V> {
    Newest(KeyValueStore<K, V>),
    Versions(VersionedStore<K, V>),
}

impl<K: Clone + 'static, V: Clone + 'static> Rows<K, V> for KeptRows<K, V> {
    #[inline]
    fn read_as_of(
        &self,
        key: &K,
        as_of: Option<Timestamp>,
        use_row: &mut dyn FnMut(Option<RowRef<'_, V>>),
    ) -> Result<(), Failure> {
        let versions = match self {
            KeptRows::Newest(store) => return Ok(store.read(key, |row| use_row(row.map(row_ref)))?),
            KeptRows::Versions(store) => store,
        };
        let found = match as_of {
            Some(as_of) => versions.get_as_of(key, as_of)?,
            None => versions.get(key)?,
        };
        use_row(
            found
                .as_ref()
                .map(|VersionedRecord { value, valid_from, .. }| ValueAndTimestamp::new(value, *valid_from)),
        );
        Ok(())
    }
}

impl<K: Clone + 'static, V: Clone + 'static> RowStore<K, V> for KeptRows<K, V> {
    fn open(wiring: &Wiring<'_>, name: &str) -> Result<Self> {
        Ok(match wiring.store_types(name) {
            Some(types) if types.is_versioned() => KeptRows::Versions(wiring.versioned_store(name)?),
            _ => KeptRows::Newest(wiring.key_value_store(name)?),
        })
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Rows<Windowed<K>, V> for WindowStore<K, V> {
    fn read_as_of(
        &self,
        key: &Windowed<K>,
        _as_of: Option<Timestamp>,
        use_row: &mut dyn FnMut(Option<RowRef<'_, V>>),
    ) -> Result<(), Failure> {
        Ok(WindowStore::read(self, &key.key, key.window.start, |row| use_row(row.map(row_ref)))?)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> RowStore<Windowed<K>, V> for WindowStore<K, V> {
    fn open(wiring: &Wiring<'_>, name: &str) -> Result<Self> {
        wiring.window_store(name)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Rows<Windowed<K>, V> for SessionStore<K, V> {
    fn read_as_of(
        &self,
        key: &Windowed<K>,
        _as_of: Option<Timestamp>,
        use_row: &mut dyn FnMut(Option<RowRef<'_, V>>),
    ) -> Result<(), Failure> {
        Ok(SessionStore::read(self, &key.key, key.window, |row| use_row(row.map(row_ref)))?)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> RowStore<Windowed<K>, V> for SessionStore<K, V> {
    fn open(wiring: &Wiring<'_>, name: &str) -> Result<Self> {
        wiring.session_store(name)
    }
}
