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
}

/// Opens a table's rows when a task is built.
pub(crate) type OpenRows<K, V> = Arc<dyn Fn(&Wiring<'_>) -> Result<Box<dyn Rows<K, V>>> + Send + Sync>;

/// Decides where a table's rows are found, once it is planned which tables keep a store.
pub(crate) type RowLookup<K, V> = Rc<dyn Fn(&Plan) -> Result<OpenRows<K, V>>>;

/// Rows in the store of the table itself.
pub(crate) fn stored_rows<K: Clone + 'static, V: Clone + 'static>(table: OperationId) -> RowLookup<K, V> {
    Rc::new(move |plan| {
        let store = store_of(table, plan)?;
        Ok(Arc::new(move |wiring| Ok(Box::new(StoredRows { store: wiring.key_value_store(&store)? }))))
    })
}

/// Rows in the window store of the table itself.
pub(crate) fn window_rows<K: Clone + 'static, V: Clone + 'static>(
    table: OperationId,
) -> RowLookup<Windowed<K>, V> {
    Rc::new(move |plan| {
        let store = store_of(table, plan)?;
        Ok(Arc::new(move |wiring| Ok(Box::new(WindowRows { store: wiring.window_store(&store)? }))))
    })
}

/// Rows in the session store of the table itself.
pub(crate) fn session_rows<K: Clone + 'static, V: Clone + 'static>(
    table: OperationId,
) -> RowLookup<Windowed<K>, V> {
    Rc::new(move |plan| {
        let store = store_of(table, plan)?;
        Ok(Arc::new(move |wiring| Ok(Box::new(SessionRows { store: wiring.session_store(&store)? }))))
    })
}

fn store_of(table: OperationId, plan: &Plan) -> Result<String> {
    let store = plan.operation(table).store.clone();
    store.ok_or_else(|| Error::fatal("rows were to be looked up in a table without a store"))
}

struct WindowRows<K, V> {
    store: WindowStore<K, V>,
}

impl<K: Clone + 'static, V: Clone + 'static> Rows<Windowed<K>, V> for WindowRows<K, V> {
    fn read(&self, key: &Windowed<K>, use_row: &mut dyn FnMut(Option<RowRef<'_, V>>)) -> Result<(), Failure> {
        Ok(self.store.read(&key.key, key.window.start, |row| use_row(row.map(row_ref)))?)
    }
}

struct SessionRows<K, V> {
    store: SessionStore<K, V>,
}

impl<K: Clone + 'static, V: Clone + 'static> Rows<Windowed<K>, V> for SessionRows<K, V> {
    fn read(&self, key: &Windowed<K>, use_row: &mut dyn FnMut(Option<RowRef<'_, V>>)) -> Result<(), Failure> {
        Ok(self.store.read(&key.key, key.window, |row| use_row(row.map(row_ref)))?)
    }
}

struct StoredRows<K, V> {
    store: KeyValueStore<K, V>,
}

impl<K: Clone + 'static, V: Clone + 'static> Rows<K, V> for StoredRows<K, V> {
    #[inline]
    fn read(&self, key: &K, use_row: &mut dyn FnMut(Option<RowRef<'_, V>>)) -> Result<(), Failure> {
        Ok(self.store.read(key, |row| use_row(row.map(row_ref)))?)
    }
}
