//! What `count`, `reduce` and `aggregate` of a grouped table have in common: one row per group, changed by each change of the table.

use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{Change, ChangeSerde, HasSerde};

use super::rows::stored_rows;
use super::table_store::TableStore;
use crate::grouped::KGroupedTable;
use crate::logical::{Operation, OperationKind, TypedTopic};
use crate::options::Materialized;
use crate::table::KTable;

impl<K: HasSerde, V: HasSerde> KGroupedTable<K, V> {
    /// Declares an aggregation. `change` makes a group's new row of the table's change and the row it has; none deletes it.
    pub(super) fn declare_aggregation<A, F>(
        &self,
        prefix: &'static str,
        store: Materialized<K, A>,
        change: F,
    ) -> KTable<K, A>
    where
        A: HasSerde,
        F: Fn(&K, Change<V>, Option<A>) -> Option<A> + Send + Sync + 'static,
    {
        let change = Arc::new(change);
        let topic = TypedTopic { key_serde: K::serde(), value_serde: Arc::new(ChangeSerde::new(V::serde())) };
        KTable::declare(
            &self.graph,
            Operation {
                kind: OperationKind::TableAggregate {
                    prefix,
                    grouping: self.grouping,
                    topic: Box::new(topic),
                },
                parents: vec![self.table],
                name: None,
                store: Some(store.into_plan()),
                write: Box::new(move |place| {
                    let (store, sends_old_values) = (place.required_store()?, place.sends_old_values);
                    let change = Arc::clone(&change);
                    place.add_processor(move |wiring| {
                        Ok(TableAggregation {
                            store: TableStore::open(wiring, &store, sends_old_values)?,
                            change: Arc::clone(&change),
                            types: PhantomData,
                        })
                    })
                }),
            },
            stored_rows,
        )
    }
}

struct TableAggregation<K, V, A, F> {
    store: TableStore<K, A>,
    change: Arc<F>,
    types: PhantomData<V>,
}

impl<K, V, A, F> Processor for TableAggregation<K, V, A, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    A: Clone + 'static,
    F: Fn(&K, Change<V>, Option<A>) -> Option<A> + 'static,
{
    type KeyIn = K;
    type ValueIn = Change<V>;
    type KeyOut = K;
    type ValueOut = Change<A>;

    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        context: &mut ProcessorContext<'_, K, Change<A>>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let change = &self.change;
        self.store.aggregate(key, timestamp, headers, context, |key, current| Ok(change(key, value, current)))
    }

    fn prepare_commit(&mut self, context: &mut ProcessorContext<'_, K, Change<A>>) -> Result<(), Failure> {
        self.store.emit(context)
    }
}
