//! Looking up rows of a table: in its own store, or computed from a table above that has one.

use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Wiring};
use millstream_processor::{
    Error, KeyValueStore, Result, SessionStore, Timestamp, VersionedStore, WindowStore, Windowed,
};

use crate::logical::{OperationId, Plan};

/// The rows of a table, as one task sees them.
pub(crate) trait Rows<K, V> {
    /// Calls the closure once with the value of the key, if there is one.
    fn read(&self, key: &K, use_value: &mut dyn FnMut(Option<&V>)) -> Result<(), Failure>;

    /// The same with the value that was valid at a time, if the table is versioned; any other table knows only what is.
    fn read_as_of(
        &self,
        key: &K,
        _as_of: Timestamp,
        use_value: &mut dyn FnMut(Option<&V>),
    ) -> Result<(), Failure> {
        self.read(key, use_value)
    }
}

/// Opens a table's rows when a task is built.
pub(crate) type OpenRows<K, V> = Arc<dyn Fn(&Wiring<'_>) -> Result<Box<dyn Rows<K, V>>> + Send + Sync>;

/// Decides where a table's rows are found, once it is planned which tables keep a store.
pub(crate) type RowLookup<K, V> = Rc<dyn Fn(&Plan) -> Result<OpenRows<K, V>>>;

/// Rows in the store of the table itself.
pub(crate) fn stored_rows<K: Clone + 'static, V: Clone + 'static>(table: OperationId) -> RowLookup<K, V> {
    Rc::new(move |plan| {
        let store = store_of(table, plan)?;
        Ok(Arc::new(move |wiring: &Wiring<'_>| -> Result<Box<dyn Rows<K, V>>> {
            Ok(match wiring.store_types(&store) {
                Some(types) if types.is_versioned() => {
                    Box::new(StoredVersions { store: wiring.versioned_store(&store)? })
                }
                _ => Box::new(StoredRows { store: wiring.key_value_store(&store)? }),
            })
        }))
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
    fn read(&self, key: &Windowed<K>, use_value: &mut dyn FnMut(Option<&V>)) -> Result<(), Failure> {
        let start = key.window.start;
        Ok(self.store.read(&key.key, start, |row| use_value(row.map(|row| &row.value)))?)
    }
}

struct SessionRows<K, V> {
    store: SessionStore<K, V>,
}

impl<K: Clone + 'static, V: Clone + 'static> Rows<Windowed<K>, V> for SessionRows<K, V> {
    fn read(&self, key: &Windowed<K>, use_value: &mut dyn FnMut(Option<&V>)) -> Result<(), Failure> {
        Ok(self.store.read(&key.key, key.window, |row| use_value(row.map(|row| &row.value)))?)
    }
}

struct StoredRows<K, V> {
    store: KeyValueStore<K, V>,
}

impl<K: Clone + 'static, V: Clone + 'static> Rows<K, V> for StoredRows<K, V> {
    #[inline]
    fn read(&self, key: &K, use_value: &mut dyn FnMut(Option<&V>)) -> Result<(), Failure> {
        Ok(self.store.read(key, |row| use_value(row.map(|row| &row.value)))?)
    }
}

struct StoredVersions<K, V> {
    store: VersionedStore<K, V>,
}

impl<K: Clone + 'static, V: Clone + 'static> Rows<K, V> for StoredVersions<K, V> {
    fn read(&self, key: &K, use_value: &mut dyn FnMut(Option<&V>)) -> Result<(), Failure> {
        let newest = self.store.get(key)?;
        use_value(newest.as_ref().map(|newest| &newest.value));
        Ok(())
    }

    fn read_as_of(
        &self,
        key: &K,
        as_of: Timestamp,
        use_value: &mut dyn FnMut(Option<&V>),
    ) -> Result<(), Failure> {
        let found = self.store.get_as_of(key, as_of)?;
        use_value(found.as_ref().map(|found| &found.value));
        Ok(())
    }
}
