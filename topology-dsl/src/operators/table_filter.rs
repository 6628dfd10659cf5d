//! `filter` of a table.

use std::marker::PhantomData;

use super::table_view::RowFunction;
use crate::table::KTable;

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// The rows for which the closure says `true`. A row that stops matching is deleted downstream.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const SHORT: StoreName<String, i64> = StoreName::new("short-of-stock");
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, i64>("stock").filter(|_sku, on_hand| *on_hand < 10).materialized(SHORT);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let stock = driver.input_topic::<String, i64>("stock");
    /// stock.pipe_input("apples", 3)?;
    /// assert!(driver.key_value_store(SHORT)?.get(&"apples".into())?.is_some());
    /// stock.pipe_input("apples", 30)?;
    /// assert!(driver.key_value_store(SHORT)?.get(&"apples".into())?.is_none());
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn filter(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> KTable<K, V> {
        self.view("KTABLE-FILTER-", Keep { predicate, types: PhantomData })
    }

    /// The rows for which the closure says `false`.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, i64>("stock").filter_not(|_sku, on_hand| *on_hand == 0).to_stream().to("in-stock");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "filterNot")]
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> KTable<K, V> {
        self.filter(move |key, value| !predicate(key, value))
    }
}

struct Keep<K, V, F> {
    predicate: F,
    types: PhantomData<fn(K, V)>,
}

impl<K, V, F> RowFunction<K, V> for Keep<K, V, F>
where
    K: 'static,
    V: Clone + 'static,
    F: Fn(&K, &V) -> bool + Send + Sync + 'static,
{
    type Value = V;

    const IS_FILTER: bool = true;

    fn apply(&self, key: &K, value: V) -> Option<V> {
        (self.predicate)(key, &value).then_some(value)
    }

    fn look_through(&self, key: &K, value: &V, use_value: &mut dyn FnMut(Option<&V>)) {
        use_value((self.predicate)(key, value).then_some(value));
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, text, written};
    use crate::{StoreName, StoreOptions};

    const STOCK: StoreName<String, i64> = StoreName::new("stock");
    const SHORT: StoreName<String, i64> = StoreName::new("short");

    /// One row that never matches, and one that stops to.
    const CHANGES: [(&str, i64); 4] = [("pears", 50), ("apples", 3), ("apples", 30), ("apples", 40)];

    #[test]
    fn a_row_that_stops_matching_is_deleted_once_where_old_values_are_known() {
        let driver = driver(|builder| {
            let stock = builder.table::<String, i64>("stock").materialized(STOCK);
            stock.filter(|_, on_hand| *on_hand < 10).to_stream().to("short");
        });
        pipe_all(&driver.input_topic::<String, i64>("stock"), CHANGES);
        let expected = [(text("apples"), Some(3)), (text("apples"), None)];
        assert_eq!(written(&driver.output_topic::<String, Option<i64>>("short")), expected);
    }

    #[test]
    fn without_old_values_every_row_that_does_not_match_is_deleted_again() {
        let driver = driver(|builder| {
            let stock = builder.table::<String, i64>("stock");
            stock.filter(|_, on_hand| *on_hand < 10).to_stream().to("short");
        });
        pipe_all(&driver.input_topic::<String, i64>("stock"), CHANGES);
        let expected = [
            (text("pears"), None),
            (text("apples"), Some(3)),
            (text("apples"), None),
            (text("apples"), None),
        ];
        assert_eq!(written(&driver.output_topic::<String, Option<i64>>("short")), expected);
    }

    #[test]
    fn a_store_of_its_own_holds_the_matching_rows() {
        let driver = driver(|builder| {
            let stock = builder.table::<String, i64>("stock").materialized(STOCK);
            stock
                .filter(|_, on_hand| *on_hand < 10)
                .materialized(SHORT.without_caching())
                .to_stream()
                .to("short");
        });
        pipe_all(
            &driver.input_topic::<String, i64>("stock"),
            [("pears", 50), ("apples", 3), ("plums", 4), ("plums", 40)],
        );
        let short = driver.key_value_store(SHORT).expect("the filter has a store");
        let rows: Vec<String> =
            short.all().expect("it can be read").map(|row| row.expect("it decodes").0).collect();
        assert_eq!(rows, ["apples"]);
        let expected = [(text("apples"), Some(3)), (text("plums"), Some(4)), (text("plums"), None)];
        assert_eq!(written(&driver.output_topic::<String, Option<i64>>("short")), expected);
    }
    #[test]
    fn options_without_a_name_give_it_no_store_and_its_rows_are_found_all_the_same() {
        let driver = driver(|builder| {
            let stock = builder.table::<String, i64>("stock");
            let short = stock.filter(|_, on_hand| *on_hand < 10).materialized(().without_caching());
            let orders = builder.stream::<String, i64>("orders");
            orders.left_join(&short, |_, on_hand| on_hand.copied()).to("short-of-orders");
        });
        pipe_all(&driver.input_topic::<String, i64>("stock"), [("pears", 50), ("apples", 3)]);
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("pears", 1), ("apples", 1)]);
        let expected = [(text("pears"), None), (text("apples"), Some(3))];
        assert_eq!(written(&driver.output_topic::<String, Option<i64>>("short-of-orders")), expected);
    }
}
