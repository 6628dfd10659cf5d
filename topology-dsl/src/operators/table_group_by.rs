//! `group_by` of a table: its changes under new keys.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{Change, RecordField};

use super::newest_only::NewestOnly;
use crate::grouped::KGroupedTable;
use crate::logical::{Grouping, Operation, OperationKind};
use crate::table::KTable;

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// Groups the rows by a new key. The closure makes the group's key and the value to aggregate; a null in either leaves
    /// the row out. It must always give the same result for the same row: the row's old value is taken out of its old group
    /// by the same closure.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const PER_SHELF: StoreName<String, u64> = StoreName::new("products-per-shelf");
    ///
    /// let builder = StreamsBuilder::new();
    /// let shelves = builder.table::<String, String>("shelf-of-product");
    /// shelves.group_by(|sku, shelf| (shelf, sku.clone())).count(PER_SHELF);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let shelves = driver.input_topic::<String, String>("shelf-of-product");
    /// shelves.pipe_input("apples", "fruit")?;
    /// shelves.pipe_input("cider", "fruit")?;
    /// shelves.pipe_input("cider", "drinks")?;
    /// let per_shelf = driver.key_value_store(PER_SHELF)?;
    /// assert_eq!(per_shelf.get(&"fruit".into())?.map(|row| row.value), Some(1));
    /// assert_eq!(per_shelf.get(&"drinks".into())?.map(|row| row.value), Some(1));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "groupBy")]
    pub fn group_by<K2, V2>(
        &self,
        selector: impl Fn(&K, V) -> (K2, V2) + Send + Sync + 'static,
    ) -> KGroupedTable<K2::NonNull, V2::NonNull>
    where
        K2: RecordField<NonNull: PartialEq>,
        V2: RecordField,
    {
        let selector = Arc::new(selector);
        let mut graph = self.graph.borrow_mut();
        let table = graph.declare(Operation {
            kind: OperationKind::TableGrouping,
            parents: vec![self.id],
            name: None,
            store: None,
            write: Box::new(move |place| {
                let (selector, newest_only) = (Arc::clone(&selector), NewestOnly::of(place));
                place.add_processor(move |_| {
                    Ok(Regroup { selector: Arc::clone(&selector), newest_only, types: PhantomData })
                })
            }),
        });
        let grouping = graph.group(Grouping { name: None, key_selection: Some(table) });
        KGroupedTable { graph: Rc::clone(&self.graph), table, grouping, types: PhantomData }
    }
}

struct Regroup<K, V, K2, V2, F> {
    selector: Arc<F>,
    newest_only: NewestOnly,
    types: PhantomData<(K, V, K2, V2)>,
}

impl<K, V, K2, V2, F> Regroup<K, V, K2, V2, F>
where
    K2: RecordField,
    V2: RecordField,
    F: Fn(&K, V) -> (K2, V2),
{
    fn select(&self, key: &K, value: Option<V>) -> Option<(K2::NonNull, V2::NonNull)> {
        let (key, value) = (self.selector)(key, value?);
        Some((key.into_non_null()?, value.into_non_null()?))
    }
}

impl<K, V, K2, V2, F> Processor for Regroup<K, V, K2, V2, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    K2: RecordField<NonNull: PartialEq>,
    V2: RecordField,
    F: Fn(&K, V) -> (K2, V2) + 'static,
{
    type KeyIn = K;
    type ValueIn = Change<V>;
    type KeyOut = K2::NonNull;
    type ValueOut = Change<V2::NonNull>;

    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        context: &mut ProcessorContext<'_, K2::NonNull, Change<V2::NonNull>>,
    ) -> Result<(), Failure> {
        // Not counted as dropped, as in Kafka Streams.
        if self.newest_only.leaves_out(context.task()) {
            return Ok(());
        }
        let Record { key, value: change, timestamp, headers } = record;
        let old = self.select(&key, change.old);
        let new = self.select(&key, change.new);
        let (old, new) = match (old, new) {
            // Within one group a change is one record, so that no reader sees the group without the row (KIP-904).
            (Some((old_key, old)), Some((new_key, new))) if old_key == new_key => {
                let value = Change { old: Some(old), new: Some(new) };
                return context.forward(Record { key: new_key, value, timestamp, headers });
            }
            different => different,
        };
        if let Some((key, old)) = old {
            let value = Change { old: Some(old), new: None };
            context.forward(Record { key, value, timestamp, headers: headers.clone() })?;
        }
        if let Some((key, new)) = new {
            let value = Change { old: None, new: Some(new) };
            context.forward(Record { key, value, timestamp, headers })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{
        driver, driver_without_commits, pipe_all, pipe_at, text, written, written_at,
    };
    use crate::{StoreName, StoreOptions};

    const TOTALS: StoreName<String, i64> = StoreName::new("totals");

    /// Orders `customer:cents` by id, summed up by customer, without caching.
    fn totals(builder: &crate::StreamsBuilder) {
        let orders = builder.table::<String, String>("orders");
        let by_customer = orders.group_by(|_, order| {
            let (customer, cents) = order.split_once(':').unwrap_or(("", ""));
            ((!customer.is_empty()).then(|| customer.to_string()), cents.parse::<i64>().ok())
        });
        let totals = by_customer.aggregate(
            TOTALS.without_caching(),
            || 0,
            |_, cents, sum| sum + cents,
            |_, cents, sum| sum - cents,
        );
        totals.to_stream().to("totals");
    }

    #[test]
    fn a_row_that_moves_is_subtracted_from_its_old_group_then_added_to_the_new_one() {
        let driver = driver(totals);
        pipe_all(
            &driver.input_topic::<String, String>("orders"),
            [("1", "ann:5"), ("2", "ann:7"), ("1", "bob:5")],
        );
        let expected = [(text("ann"), 5_i64), (text("ann"), 12), (text("ann"), 7), (text("bob"), 5)];
        assert_eq!(written(&driver.output_topic("totals")), expected);
    }

    #[test]
    fn a_row_that_stays_in_its_group_is_one_change() {
        let driver = driver(totals);
        pipe_all(&driver.input_topic::<String, String>("orders"), [("1", "ann:5"), ("1", "ann:9")]);
        assert_eq!(written(&driver.output_topic("totals")), [(text("ann"), 5_i64), (text("ann"), 9)]);
    }

    #[test]
    fn a_deleted_row_is_subtracted_and_a_null_selection_leaves_the_row_out() {
        let driver = driver(totals);
        let orders = driver.input_topic::<String, Option<String>>("orders");
        pipe_all(&orders, [("1", Some(text("ann:5"))), ("2", Some(text(":5"))), ("3", Some(text("ann:x")))]);
        pipe_all(&orders, [("1", None::<String>)]);
        assert_eq!(written(&driver.output_topic("totals")), [(text("ann"), 5_i64), (text("ann"), 0)]);
    }

    #[test]
    fn a_group_has_the_latest_event_time_of_its_changes() {
        let driver = driver(totals);
        let orders = driver.input_topic::<String, String>("orders");
        pipe_at(&orders, "1", "ann:5", 100);
        pipe_at(&orders, "2", "ann:7", 50);
        let expected = [(text("ann"), 5_i64, 100), (text("ann"), 12, 100)];
        assert_eq!(written_at(&driver.output_topic("totals")), expected);
    }

    #[test]
    fn changes_of_a_caching_table_are_subtracted_from_what_was_committed() {
        let driver = driver_without_commits(|builder| {
            let counts = builder.stream::<String, i64>("orders").group_by_key().count(());
            counts
                .group_by(|_, count| (text("all"), count))
                .reduce((), |a, b| a + b, |a, b| a - b)
                .to_stream()
                .to("out");
        });
        let orders = driver.input_topic::<String, i64>("orders");
        for records in [vec![("apples", 1), ("apples", 1)], vec![("apples", 1), ("pears", 1), ("apples", 1)]]
        {
            pipe_all(&orders, records);
            driver.commit().expect("the commit succeeds");
        }
        driver.commit().expect("the commit succeeds");
        let last = written(&driver.output_topic::<String, u64>("out")).pop();
        assert_eq!(last, Some((text("all"), 5)));
    }
}
