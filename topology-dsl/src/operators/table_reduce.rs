//! `reduce` of a grouped table.

use millstream_processor::HasSerde;

use super::reduce::reducing;
use crate::grouped::KGroupedTable;
use crate::options::StoreFor;
use crate::table::KTable;

impl<K: HasSerde, V: HasSerde> KGroupedTable<K, V> {
    /// Combines the rows of each group: `adder` puts a row's new value in, `subtractor` takes its old value out. Both get the
    /// combined value first. The first value of a group is kept as it is.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const TOTAL: StoreName<String, i64> = StoreName::new("stock-of-all-shops");
    ///
    /// let builder = StreamsBuilder::new();
    /// let shops = builder.table::<String, i64>("stock-of-shop");
    /// shops.group_by(|_shop, on_hand| ("all".to_string(), on_hand)).reduce(TOTAL, |all, one| all + one, |all, one| all - one);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let shops = driver.input_topic::<String, i64>("stock-of-shop");
    /// shops.pipe_input("north", 10)?;
    /// shops.pipe_input("south", 5)?;
    /// shops.pipe_input("north", 7)?;
    /// let row = driver.key_value_store(TOTAL)?.get(&"all".into())?;
    /// assert_eq!(row.map(|row| row.value), Some(12));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn reduce(
        &self,
        store: impl StoreFor<K, V>,
        adder: impl Fn(V, V) -> V + Send + Sync + 'static,
        subtractor: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> KTable<K, V> {
        let subtract = move |_key: &K, old, current| Some(subtractor(current, old));
        self.declare_aggregation("KTABLE-REDUCE-", store.into(), reducing::<_, V>(adder), subtract)
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn the_first_value_of_a_group_is_kept_and_later_ones_are_added() {
        let driver = driver(|builder| {
            let shops = builder.table::<String, String>("notes");
            let all = shops.group_by(|_, note| (text("all"), note));
            all.reduce((), |all, note| format!("{all}+{note}"), |all, note| format!("{all}-{note}"))
                .to_stream()
                .to("out");
        });
        pipe_all(
            &driver.input_topic::<String, String>("notes"),
            [("north", "a"), ("south", "b"), ("north", "c")],
        );
        let values: Vec<String> =
            written(&driver.output_topic::<String, String>("out")).into_iter().map(|row| row.1).collect();
        assert_eq!(values, ["a", "a+b", "a+b-a+c"]);
    }
}
