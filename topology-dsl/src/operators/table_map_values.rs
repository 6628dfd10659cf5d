//! `map_values` of a table.

use std::marker::PhantomData;

use super::table_view::RowFunction;
use crate::table::KTable;

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// A new value for each row. Unless the table is kept in a store of its own, values are computed again whenever they
    /// are looked up, so the closure must always give the same result for the same row.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.table::<String, i64>("prices-in-cents");
    /// prices.map_values(|_sku, cents| format!("{}.{:02}", cents / 100, cents % 100)).to_stream().to("price-tags");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("prices-in-cents").pipe_input("apples", 205)?;
    /// let tags = driver.output_topic::<String, String>("price-tags");
    /// assert_eq!(tags.read_key_value()?, Some(("apples".into(), "2.05".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "mapValues")]
    pub fn map_values<V2: Clone + 'static>(
        &self,
        mapper: impl Fn(&K, V) -> V2 + Send + Sync + 'static,
    ) -> KTable<K, V2> {
        self.view("KTABLE-MAPVALUES-", Convert { mapper, types: PhantomData })
    }
}

struct Convert<K, V, V2, F> {
    mapper: F,
    types: PhantomData<fn(K, V) -> V2>,
}

impl<K, V, V2, F> RowFunction<K, V> for Convert<K, V, V2, F>
where
    K: 'static,
    V: Clone + 'static,
    V2: Clone + 'static,
    F: Fn(&K, V) -> V2 + Send + Sync + 'static,
{
    type Value = V2;

    const IS_FILTER: bool = false;

    fn apply(&self, key: &K, value: V) -> Option<V2> {
        Some((self.mapper)(key, value))
    }

    fn look_through(&self, key: &K, value: &V, use_value: &mut dyn FnMut(Option<&V2>)) {
        use_value(Some(&(self.mapper)(key, value.clone())));
    }
}

#[cfg(test)]
mod tests {
    use crate::StoreName;
    use crate::operators::test_support::{driver, pipe_all, text, written};

    const TAGS: StoreName<String, String> = StoreName::new("tags");

    #[test]
    fn a_deleted_row_is_deleted_without_asking_the_closure() {
        let driver = driver(|builder| {
            let prices = builder.table::<String, i64>("prices");
            prices
                .map_values(|sku, cents| format!("{sku}: {cents}"))
                .materialized(TAGS)
                .to_stream()
                .to("tags");
        });
        let prices = driver.input_topic::<String, Option<i64>>("prices");
        pipe_all(&prices, [("apples", Some(30)), ("apples", None)]);
        let expected = [(text("apples"), Some(text("apples: 30"))), (text("apples"), None)];
        assert_eq!(written(&driver.output_topic::<String, Option<String>>("tags")), expected);
        let tags = driver.key_value_store(TAGS).expect("the table has a store");
        assert_eq!(tags.get(&text("apples")).expect("it can be read"), None);
    }
}
