//! Looking up rows of a table: in its own store, or computed from a table above that has one.

use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Wiring};
use millstream_processor::{
    Error, KeyValueStore, Result, SessionStore, ValueAndTimestamp, WindowStore, Windowed,
};

use crate::logical::{OperationId, Plan};

/// A row that is only looked at.
pub(crate) type RowRef<'row, V> = ValueAndTimestamp<&'row V>;

fn row_ref<V>(row: &ValueAndTimestamp<V>) -> RowRef<'_, V> {
    ValueAndTimestamp::new(&row.value, row.timestamp)
}

/// The rows of a table, as one task sees them.
pub(crate) trait Rows<K, V> {
    /// Calls the closure once with the row of the key, if there is one. The closure must not look into rows itself: they may be of the
    /// same store.
    fn read(&self, key: &K, use_row: &mut dyn FnMut(Option<RowRef<'_, V>>)) -> Result<(), Failure>;

    /// A copy of the row of the key, for those who look into other rows with it.
    fn copy(&self, key: &K) -> Result<Option<ValueAndTimestamp<V>>, Failure>
    where
        V: Clone,
    {
        let mut copy = None;
        self.read(key, &mut |row| {
            copy = row.map(|row| ValueAndTimestamp::new(row.value.clone(), row.timestamp));
        })?;
        Ok(copy)
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

/// Rows in the key-value store of the table itself.
pub(crate) fn stored_rows<K: Clone + 'static, V: Clone + 'static>(table: OperationId) -> RowLookup<K, V> {
    rows_in_store::<KeyValueStore<K, V>, K, V>(table)
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

impl<K: Clone + 'static, V: Clone + 'static> Rows<K, V> for KeyValueStore<K, V> {
    #[inline]
    fn read(&self, key: &K, use_row: &mut dyn FnMut(Option<RowRef<'_, V>>)) -> Result<(), Failure> {
        Ok(KeyValueStore::read(self, key, |row| use_row(row.map(row_ref)))?)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> RowStore<K, V> for KeyValueStore<K, V> {
    fn open(wiring: &Wiring<'_>, name: &str) -> Result<Self> {
        wiring.key_value_store(name)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Rows<Windowed<K>, V> for WindowStore<K, V> {
    fn read(&self, key: &Windowed<K>, use_row: &mut dyn FnMut(Option<RowRef<'_, V>>)) -> Result<(), Failure> {
        Ok(WindowStore::read(self, &key.key, key.window.start, |row| use_row(row.map(row_ref)))?)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> RowStore<Windowed<K>, V> for WindowStore<K, V> {
    fn open(wiring: &Wiring<'_>, name: &str) -> Result<Self> {
        wiring.window_store(name)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Rows<Windowed<K>, V> for SessionStore<K, V> {
    fn read(&self, key: &Windowed<K>, use_row: &mut dyn FnMut(Option<RowRef<'_, V>>)) -> Result<(), Failure> {
        Ok(SessionStore::read(self, &key.key, key.window, |row| use_row(row.map(row_ref)))?)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> RowStore<Windowed<K>, V> for SessionStore<K, V> {
    fn open(wiring: &Wiring<'_>, name: &str) -> Result<Self> {
        wiring.session_store(name)
    }
}
