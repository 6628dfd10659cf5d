//! What `filter` and `map_values` of a table have in common: a table computed row by row from another one, kept in a store only if
//! it was given one.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record, Wiring};
use millstream_processor::{Change, Result, Timestamp, ValueAndTimestamp};

use super::rows::{RowLookup, RowRef, Rows, stored_or_computed_rows};
use super::table_store::{PlannedChanges, TableStore};
use crate::logical::{Operation, OperationId, OperationKind};
use crate::table::KTable;

/// Computes rows. Must give the same result for the same row at any time: rows that are not stored are computed anew.
pub(super) trait RowFunction<K, V>: Send + Sync + 'static {
    type Value: Clone + 'static;

    /// Whether it only leaves out rows, so that a row left out before and after is no change.
    const IS_FILTER: bool;

    /// The row made of this one, if it makes one.
    fn apply(&self, key: &K, value: V) -> Option<Self::Value>;

    /// [`apply`](Self::apply) for a row that is only looked at.
    fn look_through(&self, key: &K, value: &V, use_value: &mut dyn FnMut(Option<&Self::Value>));
}

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// Declares a table computed from this one.
    pub(super) fn view<F: RowFunction<K, V>>(
        &self,
        prefix: &'static str,
        function: F,
    ) -> KTable<K, F::Value> {
        let function = Arc::new(function);
        let for_lookups = Arc::clone(&function);
        KTable::declare(
            &self.graph,
            Operation {
                kind: OperationKind::TableView { prefix, is_filter: F::IS_FILTER },
                parents: vec![self.id],
                name: None,
                store: None,
                write: TableStore::write_optional(move |_, store, planned| {
                    Ok(TableView { store, planned, function: Arc::clone(&function), types: PhantomData })
                }),
            },
            |id| computed_rows(id, Rc::clone(&self.rows), for_lookups),
        )
    }
}

/// Rows of a view: in its store if it has one, else computed from the rows of its parent.
fn computed_rows<K, V, F>(
    view: OperationId,
    parent: RowLookup<K, V>,
    function: Arc<F>,
) -> RowLookup<K, F::Value>
where
    K: Clone + 'static,
    V: Clone + 'static,
    F: RowFunction<K, V>,
{
    stored_or_computed_rows(view, move |plan| {
        let (open_parent, function) = (parent(plan)?, Arc::clone(&function));
        Ok(Arc::new(move |wiring: &Wiring<'_>| {
            Ok(Box::new(ComputedRows { parent: open_parent(wiring)?, function: Arc::clone(&function) }))
        }))
    })
}

struct ComputedRows<K, V, F> {
    parent: Box<dyn Rows<K, V>>,
    function: Arc<F>,
}

impl<K, V, F: RowFunction<K, V>> Rows<K, F::Value> for ComputedRows<K, V, F> {
    fn read_as_of(
        &self,
        key: &K,
        as_of: Option<Timestamp>,
        use_row: &mut dyn FnMut(Option<RowRef<'_, F::Value>>),
    ) -> Result<(), Failure> {
        self.parent.read_as_of(key, as_of, &mut |row| match row {
            Some(ValueAndTimestamp { value, timestamp }) => {
                self.function.look_through(key, value, &mut |value| {
                    use_row(value.map(|value| ValueAndTimestamp::new(value, timestamp)));
                });
            }
            None => use_row(None),
        })
    }
}

struct TableView<K, V, F: RowFunction<K, V>> {
    store: Option<TableStore<K, F::Value>>,
    planned: PlannedChanges,
    function: Arc<F>,
    types: PhantomData<(K, V)>,
}

impl<K, V, F> Processor for TableView<K, V, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    F: RowFunction<K, V>,
{
    type KeyIn = K;
    type ValueIn = Change<V>;
    type KeyOut = K;
    type ValueOut = Change<F::Value>;

    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        context: &mut ProcessorContext<'_, K, Change<F::Value>>,
    ) -> Result<(), Failure> {
        let Record { key, value: change, timestamp, headers } = record;
        let new = change.new.and_then(|value| self.function.apply(&key, value));
        let PlannedChanges { sends_old_values, reads_versions } = self.planned;
        // Below a versioned table a row may have had a version that is no change of its newest one.
        let leaves_out_non_changes = F::IS_FILTER && sends_old_values && !reads_versions;
        if let Some(store) = &self.store {
            if leaves_out_non_changes && new.is_none() && store.lacks(&key)? {
                return Ok(());
            }
            return store.put(Record { key, value: new, timestamp, headers }, context);
        }
        let old = change.old.filter(|_| sends_old_values).and_then(|value| self.function.apply(&key, value));
        if leaves_out_non_changes && new.is_none() && old.is_none() {
            return Ok(());
        }
        context.forward(Record { key, value: Change { old, new }, timestamp, headers })
    }

    fn prepare_commit(
        &mut self,
        context: &mut ProcessorContext<'_, K, Change<F::Value>>,
    ) -> Result<(), Failure> {
        self.store.as_ref().map_or(Ok(()), |store| store.emit(context))
    }
}
