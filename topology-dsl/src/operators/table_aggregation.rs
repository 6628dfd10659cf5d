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
    /// Declares an aggregation. When a row of the table changes, `subtract` takes its old value out of the group's row, and `add` puts the new
    /// one in; none deletes the group's row. What a group without a row never got is not taken out.
    pub(super) fn declare_aggregation<A: HasSerde>(
        &self,
        prefix: &'static str,
        store: Materialized<K, A>,
        add: impl Fn(&K, V, Option<A>) -> Result<Option<A>, Failure> + Send + Sync + 'static,
        subtract: impl Fn(&K, V, A) -> Option<A> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        let change = Arc::new(move |key: &K, Change { old, new }: Change<V>, current: Option<A>| {
            let without_old = match (old, current) {
                (Some(old), Some(current)) => subtract(key, old, current),
                (_, current) => current,
            };
            match new {
                Some(new) => add(key, new, without_old),
                None => Ok(without_old),
            }
        });
        let topic = TypedTopic {
            key_serde: K::default_serde(),
            value_serde: Arc::new(ChangeSerde::new(V::default_serde())),
            partitioner: None,
        };
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
                write: TableStore::write(move |store| TableAggregation {
                    store,
                    change: Arc::clone(&change),
                    types: PhantomData,
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
    F: Fn(&K, Change<V>, Option<A>) -> Result<Option<A>, Failure> + 'static,
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
        self.store.aggregate(key, timestamp, headers, context, |key, current| change(key, value, current))
    }

    fn prepare_commit(&mut self, context: &mut ProcessorContext<'_, K, Change<A>>) -> Result<(), Failure> {
        self.store.emit(context)
    }
}
