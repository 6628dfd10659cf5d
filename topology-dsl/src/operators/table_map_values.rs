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
