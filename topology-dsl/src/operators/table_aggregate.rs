//! `aggregate` of a grouped table.

use std::convert::Infallible;

use millstream_processor::HasSerde;

use super::aggregate::{AggregateResult, aggregating};
use crate::grouped::KGroupedTable;
use crate::options::StoreFor;
use crate::table::KTable;

impl<K: HasSerde, V: HasSerde> KGroupedTable<K, V> {
    /// Aggregates the rows of each group: `adder` puts a row's new value in, `subtractor` takes its old value out. Both get the
    /// group's key, the value and the group's row so far, which begins as what `initializer` makes. If they return an
    /// `Option`, `None` deletes the group's row.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const VALUE: StoreName<String, i64> = StoreName::new("order-value-per-customer");
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.table::<String, i64>("value-of-order");
    /// orders
    ///     .group_by(|order_id, cents| (order_id.split('/').next().unwrap_or_default().to_string(), cents))
    ///     .aggregate(VALUE, || 0, |_customer, cents, sum| sum + cents, |_customer, cents, sum| sum - cents);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.input_topic::<String, i64>("value-of-order");
    /// orders.pipe_input("ann/1", 300)?;
    /// orders.pipe_input("ann/2", 200)?;
    /// orders.pipe_input("ann/1", 100)?;
    /// let row = driver.key_value_store(VALUE)?.get(&"ann".into())?;
    /// assert_eq!(row.map(|row| row.value), Some(300));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn aggregate<A: HasSerde, R: AggregateResult<A>>(
        &self,
        store: impl StoreFor<K, A>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        adder: impl Fn(&K, V, A) -> R + Send + Sync + 'static,
        subtractor: impl Fn(&K, V, A) -> R + Send + Sync + 'static,
    ) -> KTable<K, A> {
        let add = move |key: &K, new, row| Ok::<_, Infallible>(adder(key, new, row));
        let subtract = move |key: &K, old, row| subtractor(key, old, row).into_row();
        self.declare_aggregation("KTABLE-AGGREGATE-", store.into(), aggregating(initializer, add), subtract)
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn none_deletes_the_group() {
        let driver = driver(|builder| {
            let shelves = builder.table::<String, String>("shelf-of-product");
            let sizes = shelves.group_by(|sku, shelf| (shelf, sku.clone())).aggregate(
                (),
                || 0_i64,
                |_, _, size| Some(size + 1),
                |_, _, size| (size > 1).then_some(size - 1),
            );
            sizes.to_stream().to("sizes");
        });
        let shelves = driver.input_topic::<String, String>("shelf-of-product");
        pipe_all(&shelves, [("apples", "fruit"), ("apples", "drinks")]);
        let expected = [(text("fruit"), Some(1)), (text("fruit"), None), (text("drinks"), Some(1))];
        assert_eq!(written(&driver.output_topic::<String, Option<i64>>("sizes")), expected);
    }
}
