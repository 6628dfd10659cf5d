//! What `count`, `reduce` and `aggregate` of a grouped stream have in common: one row per key, changed by each record.

use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{Change, HasSerde, RecordField};

use super::rows::stored_rows;
use super::table_store::TableStore;
use crate::grouped::KGroupedStream;
use crate::logical::{Operation, OperationKind, TypedTopic};
use crate::options::Materialized;
use crate::table::KTable;

/// Which aggregation it is, as far as names depend on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregation {
    Aggregate,
    Count,
    Reduce,
}

impl<K: RecordField, V: RecordField> KGroupedStream<K, V> {
    /// Declares an aggregation. `change` makes a row's new value of the record and the value it has; none deletes the row.
    pub(super) fn declare_aggregation<A, F>(
        &self,
        aggregation: Aggregation,
        store: Materialized<K::NonNull, A>,
        change: F,
    ) -> KTable<K::NonNull, A>
    where
        A: HasSerde,
        F: Fn(&K::NonNull, V::NonNull, Option<A>) -> Result<Option<A>, Failure> + Send + Sync + 'static,
    {
        let change = Arc::new(change);
        let prefix = match aggregation {
            Aggregation::Aggregate | Aggregation::Count => "KSTREAM-AGGREGATE-",
            Aggregation::Reduce => "KSTREAM-REDUCE-",
        };
        let kind = OperationKind::StreamAggregate {
            prefix,
            is_count: aggregation == Aggregation::Count,
            grouping: self.grouping,
            topic: TypedTopic::<K, V>::of_types(),
        };
        KTable::declare(
            &self.graph,
            Operation {
                kind,
                parents: vec![self.stream],
                name: None,
                store: Some(store.into_plan()),
                write: Box::new(move |place| {
                    let (store, sends_old_values) =
                        (place.own_store().unwrap_or_default(), place.sends_old_values);
                    let change = Arc::clone(&change);
                    place.add_processor(move |wiring| {
                        Ok(StreamAggregation::<K, V, A, F> {
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

struct StreamAggregation<K: RecordField, V, A, F> {
    store: TableStore<K::NonNull, A>,
    change: Arc<F>,
    types: PhantomData<fn(V)>,
}

impl<K, V, A, F> Processor for StreamAggregation<K, V, A, F>
where
    K: RecordField,
    V: RecordField,
    A: HasSerde,
    F: Fn(&K::NonNull, V::NonNull, Option<A>) -> Result<Option<A>, Failure> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K::NonNull;
    type ValueOut = Change<A>;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K::NonNull, Change<A>>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let (Some(key), Some(value)) = (key.into_non_null(), value.into_non_null()) else {
            context.task().drop_record();
            return Ok(());
        };
        let change = &self.change;
        self.store.aggregate(key, timestamp, headers, context, |key, current| change(key, value, current))
    }

    fn prepare_commit(
        &mut self,
        context: &mut ProcessorContext<'_, K::NonNull, Change<A>>,
    ) -> Result<(), Failure> {
        self.store.emit(context)
    }
}
