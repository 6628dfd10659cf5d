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
