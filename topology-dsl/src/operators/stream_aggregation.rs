//! What `count`, `reduce` and `aggregate` of a grouped stream have in common: one row per key, changed by each record.

use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{Change, HasSerde, RecordField};

use super::rows::{RowLookup, stored_rows};
use super::table_store::TableStore;
use crate::grouped::KGroupedStream;
use crate::logical::{Operation, OperationId, OperationKind, WriteNode};
use crate::options::{Materialized, StorePlan};
use crate::table::KTable;

/// Which aggregation it is, as far as names depend on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregation {
    Aggregate,
    Count,
    Reduce,
}

impl Aggregation {
    /// Of the names that are generated for it.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Aggregation::Aggregate | Aggregation::Count => "KSTREAM-AGGREGATE-",
            Aggregation::Reduce => "KSTREAM-REDUCE-",
        }
    }
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
        let store = store.with_inherited_key_serde(self.key_serde());
        let write = TableStore::write(move |store| StreamAggregation::<K, V, A, F>::new(store, &change));
        self.declare_aggregated_table(aggregation, store.into_plan(), write, stored_rows)
    }

    /// Declares an aggregation whose table is kept in this store, by the node that is written so.
    pub(super) fn declare_aggregated_table<K2: Clone + 'static, A: Clone + 'static>(
        &self,
        aggregation: Aggregation,
        store: StorePlan,
        write: WriteNode,
        rows: impl FnOnce(OperationId) -> RowLookup<K2, A>,
    ) -> KTable<K2, A> {
        let operation = Operation {
            kind: OperationKind::StreamAggregate {
                prefix: aggregation.prefix(),
                is_count: aggregation == Aggregation::Count,
                grouping: self.grouping,
                topic: self.topic(),
            },
            parents: vec![self.stream],
            name: None,
            store: Some(store),
            write,
        };
        KTable::declare(&self.graph, operation, rows)
    }
}

/// Changes the row of each record's key.
pub(super) struct StreamAggregation<K: RecordField, V, A, F> {
    store: TableStore<K::NonNull, A>,
    change: Arc<F>,
    emits: bool,
    types: PhantomData<V>,
}

impl<K: RecordField, V, A, F> StreamAggregation<K, V, A, F> {
    pub(super) fn new(store: TableStore<K::NonNull, A>, change: &Arc<F>) -> Self {
        StreamAggregation { store, change: Arc::clone(change), emits: true, types: PhantomData }
    }

    /// Leaves it to another node to emit at commits what a caching store holds back.
    pub(super) fn without_emissions(self) -> Self {
        StreamAggregation { emits: false, ..self }
    }
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
        if self.emits { self.store.emit(context) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{
        driver, driver_without_commits, pipe_all, pipe_at, text, written, written_at,
    };
    use crate::{StoreName, StoreOptions};

    const COUNTS: StoreName<String, u64> = StoreName::new("counts");

    #[test]
    fn records_without_key_or_value_are_dropped_and_counted() {
        let driver = driver(|builder| {
            builder
                .stream::<Option<String>, Option<i64>>("orders")
                .group_by_key()
                .count(COUNTS)
                .to_stream()
                .to("out");
        });
        let orders = driver.input_topic::<Option<String>, Option<i64>>("orders");
        pipe_all(&orders, [(Some(text("apples")), Some(1)), (None, Some(1)), (Some(text("apples")), None)]);
        assert_eq!(written(&driver.output_topic("out")), [(text("apples"), 1_u64)]);
        assert_eq!(driver.dropped_records(), 2);
    }

    #[test]
    fn a_row_has_the_latest_event_time_of_its_records() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, i64>("orders");
            orders.group_by_key().count(COUNTS.without_caching()).to_stream().to("out");
        });
        let orders = driver.input_topic::<String, i64>("orders");
        for millis in [100, 50, 120] {
            pipe_at(&orders, "apples", 1, millis);
        }
        let expected = [(text("apples"), 1_u64, 100), (text("apples"), 2, 100), (text("apples"), 3, 120)];
        assert_eq!(written_at(&driver.output_topic("out")), expected);
    }

    #[test]
    fn three_updates_are_one_change_with_caching_and_three_without() {
        let with_caching = driver_without_commits(|builder| {
            builder.stream::<String, i64>("orders").group_by_key().count(COUNTS).to_stream().to("out");
        });
        pipe_all(
            &with_caching.input_topic::<String, i64>("orders"),
            [("apples", 1), ("apples", 1), ("apples", 1)],
        );
        with_caching.commit().expect("the commit succeeds");
        assert_eq!(written(&with_caching.output_topic("out")), [(text("apples"), 3_u64)]);

        let without = driver_without_commits(|builder| {
            let orders = builder.stream::<String, i64>("orders");
            orders.group_by_key().count(COUNTS.without_caching()).to_stream().to("out");
        });
        pipe_all(
            &without.input_topic::<String, i64>("orders"),
            [("apples", 1), ("apples", 1), ("apples", 1)],
        );
        let expected = [(text("apples"), 1_u64), (text("apples"), 2), (text("apples"), 3)];
        assert_eq!(written(&without.output_topic("out")), expected);
    }

    #[test]
    fn an_aggregate_of_an_aggregate_follows_within_one_commit() {
        let driver = driver_without_commits(|builder| {
            let per_sku = builder.stream::<String, i64>("orders").group_by_key().count(COUNTS);
            per_sku.filter(|_, count| *count > 1).to_stream().group_by_key().count(()).to_stream().to("out");
        });
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("apples", 1), ("apples", 1), ("pears", 1)]);
        driver.commit().expect("the commit succeeds");
        assert_eq!(written(&driver.output_topic("out")), [(text("apples"), 1_u64)]);
    }
}
